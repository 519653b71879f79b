//! A whole step, timed: tokens per second of forward, backward and optimizer.

use super::{
    cli::BenchArgs,
    compute, engine, model,
    output::{self, Exit},
};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::model::{config::ModelConfig, generator::seeded, transformer::Step};
use r3mes_wgpu::training::{
    conformance::digest,
    optimizer::{Optimizer, Settings},
    step::Trainer,
};
use serde_json::json;
use std::{sync::Arc, time::Instant};

/// 50.9 M ternary weights: the shape that other trainers publish figures of.
const CONFIG: ModelConfig = ModelConfig {
    layers: 4,
    width: 1024,
    heads: 16,
    kv_heads: 16,
    head_dim: 64,
    ffn_width: 2816,
    vocab: 512,
    context: 128,
    rope_theta: 10_000,
    norm_epsilon: 1e-5,
    residual_fraction_bits: 16,
};
const RANK: usize = 8;
const SEED: [u8; 32] = [42; 32];

/// Times `--steps` steps of 128 tokens.
pub(crate) fn run(args: BenchArgs) -> Result<Exit> {
    let compute = compute::choose(&args.compute)?;
    let model = seeded(CONFIG, SEED)?;
    let targets = model::targets(RANK);
    let (job, state) = engine::job(&model, &targets, Settings::ADAMW, SEED)?;
    let exponents: Vec<_> = job.matrices.iter().map(|spec| spec.exponent).collect();
    let (mut adapter, mut optimizer) = (state.adapter, Optimizer::from_bytes(&state.optimizer)?);
    let step = Step::new(&model, &targets, 1);
    let recording = Arc::new(step.recording.clone());
    let planned: usize = recording.plan().slot_words.iter().map(|words| 4 * words).sum();
    let player = block_on(compute.backend.player(&recording))?;
    drop(model);
    let mut trainer = Trainer::new(step, player);
    let tokens: Vec<u32> = (0..CONFIG.context as u32).map(|i| i * i * 7 % 512).collect();

    let (mut seconds, mut first) = (Vec::new(), None);
    for number in 0..=u64::from(args.steps) {
        let start = Instant::now();
        block_on(trainer.load(&adapter, &exponents))?;
        let gradient = block_on(trainer.gradient(&tokens, &SEED, number))?;
        optimizer.step(&mut adapter, &gradient.matrices, gradient.supervised as u64)?;
        if number > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
        first.get_or_insert_with(|| output::hex(&digest(&gradient)));
    }
    seconds.sort_by(f64::total_cmp);
    let (best, median) =
        (seconds.first().copied().unwrap_or(0.0), seconds.get(seconds.len() / 2).copied().unwrap_or(0.0));
    let rate = |seconds: f64| tokens.len() as f64 / seconds;
    let (digest, resident) = (first.unwrap_or_default(), resident_bytes());
    if args.json {
        output::line(&json!({
            "backend": compute.name, "ternary_weights": CONFIG.ternary_weights(), "tokens": tokens.len(),
            "step_seconds_min": best, "step_seconds_median": median, "tokens_per_second": rate(best),
            "step_digest": digest, "planned_bytes": planned, "resident_bytes": resident,
        }));
    } else {
        println!("{}: {:.0} tokens/s at best, {:.0} in the middle", compute.name, rate(best), rate(median));
        println!("step {digest}");
        let resident = resident.map_or("not available".to_owned(), |bytes| format!("{bytes} B"));
        println!("memory: {planned} B planned, resident {resident}");
    }
    match args.expect {
        Some(expected) if expected != digest => Ok(Exit::Mismatch),
        _ => Ok(Exit::Ok),
    }
}

/// Resident memory of this process, where the system says.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
