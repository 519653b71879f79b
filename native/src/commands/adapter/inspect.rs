//! `adapter inspect`: reports the shape and size of an adapter, and how much smaller it is than the full weights of a
//! model.

use super::source;
use crate::{
    model,
    output::{self, say},
};
use anyhow::Result;
use clap::Args;
use r3mes_wgpu::{
    model::{config::ModelConfig, peft, transformer::Targets},
    numbers::lora::LoraAdapter,
    protocol::UploadSize,
};
use serde_json::json;
use std::path::PathBuf;

/// The size reduction that R3MES promises for an upload, in hundredths of a percent: an upload is at least 99.6 %
/// smaller than the model's full weights.
const PROMISED_BASIS_POINTS: u64 = 9960;

#[derive(Args)]
pub(super) struct InspectArgs {
    /// The adapter to inspect: a checkpoint of `train` or its folder, a PEFT folder, a data folder, or the URL of a
    /// node
    source: String,
    /// Check that the adapter fits the model in this folder, and print its size relative to the full weights of that
    /// model
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// The size of an adapter or a gradient, compared with the size of a model's full weights in bf16.
struct SizeComparison {
    /// The name of the model in the report: `this model`, for example.
    baseline: String,
    /// What would be sent instead of the full weights: `the adapter in f32` or `a gradient in int8`.
    sent: &'static str,
    size: UploadSize,
}

/// Reads the adapter and prints the report.
pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let source = source::read(&args.source)?;
    let adapter = &source.adapter;
    let layers = adapter
        .matrices
        .iter()
        .filter_map(|matrix| peft::parse_matrix_name(&matrix.name))
        .map(|place| place.0 + 1)
        .max();
    let layers = layers.unwrap_or(0);
    let targets = Targets::from_adapter(adapter);
    let mut rows = Vec::new();
    if let Some(dir) = &args.model {
        let config = model::read(dir)?.config;
        check_fits(adapter, &config)?;
        rows.extend(compare("this model", &config, &targets));
    }
    rows.extend(compare("BitNet b1.58 2B4T at this rank", &ModelConfig::BITNET_2B4T, &targets));
    let modules: Vec<_> = targets.linears.iter().map(|linear| peft::module_name(*linear)).collect();
    let largest = adapter.matrices.iter().flat_map(|matrix| &matrix.values).map(|value| value.unsigned_abs()).max();
    let largest = f64::from(largest.unwrap_or(0)) / f64::from(1 << 28);
    let bytes = adapter.size_bytes();
    if args.json {
        let rows = rows.iter().map(|row| {
            json!({
                "baseline": row.baseline, "baseline_bytes": row.size.full_weights_bytes, "sent": row.sent,
                "sent_bytes": row.size.artifact_bytes, "saved_basis_points": row.size.saved_basis_points(),
            })
        });
        output::line(json!({
            "event": "adapter", "kind": source.kind, "rank": adapter.rank, "alpha": adapter.alpha, "layers": layers,
            "target_modules": modules, "parameters": bytes / 4, "bytes": bytes, "size_mb": mb(bytes),
            "largest": largest, "steps": source.steps, "against_full_weights": rows.collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    say!("{}: {}", args.source, source.kind);
    say!("rank {}, alpha {}, {layers} layers, {}", adapter.rank, adapter.alpha, modules.join(" "));
    if let Some(steps) = source.steps {
        say!("{steps} optimizer steps");
    }
    say!("largest absolute parameter: {largest:.6}; the range is ±8");
    say!("{} parameters, {:.3} MB in f32 (1 MB = 2^20 B)", bytes / 4, mb(bytes));
    for SizeComparison { baseline, sent, size } in &rows {
        let (saved, full) = (size.saved_basis_points(), size.full_weights_bytes);
        let kept =
            if saved >= PROMISED_BASIS_POINTS { "at least the 99.6 % promised" } else { "below the 99.6 % promised" };
        say!(
            "{baseline}: {sent}, {:.3} MB, {}.{:02} % less than its {:.1} MB of full weights in bf16: {kept}",
            mb(size.artifact_bytes),
            saved / 100,
            saved % 100,
            mb(full)
        );
    }
    Ok(())
}

/// Returns an error unless the adapter fits the model. It fits if it adapts the same linear layers in every layer of
/// the model, with matrices of matching shapes.
pub(in crate::commands) fn check_fits(adapter: &LoraAdapter, config: &ModelConfig) -> Result<()> {
    Ok(adapter.check_shapes(&Targets::from_adapter(adapter).shapes(config))?)
}

/// Compares the size of a model's full weights (bf16) with the size of an adapter (f32), and with the size of a
/// gradient of this adapter (int8). `targets` contains the rank of the adapter and the linear layers that it adapts.
/// The manifest that a miner uploads with a gradient is not counted.
fn compare(baseline: &str, config: &ModelConfig, targets: &Targets) -> [SizeComparison; 2] {
    let features: usize = targets.shapes(config).iter().map(|(_, inputs, outputs)| inputs + outputs).sum();
    let parameters = (targets.rank * features) as u64;
    let row = |sent, bytes| SizeComparison {
        baseline: baseline.to_owned(),
        sent,
        size: UploadSize { artifact_bytes: bytes, full_weights_bytes: 2 * config.parameters() },
    };
    [row("the adapter in f32", 4 * parameters), row("a gradient in int8", parameters)]
}

/// Converts bytes to megabytes, each of 2^20 bytes.
fn mb(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
