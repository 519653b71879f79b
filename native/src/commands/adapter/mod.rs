//! `adapter`: inspects and merges adapters, and exchanges them with PEFT.

mod inspect;
mod source;

pub(super) use inspect::check_fits;

use super::{
    train::{self, OptimizerKind},
    verify,
};
use crate::{
    model,
    output::{Exit, say},
    paths,
};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use r3mes_wgpu::{
    model::peft::{self, GradientPackage},
    numbers::lora::LoraAdapter,
    protocol::{Artifact, Receipt},
    store::Cid,
    training::{checkpoint, optimizer::Optimizer},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// SOURCE names an adapter. It is a checkpoint of `train` or the checkpoint's folder, a PEFT folder, the URL of a node,
/// or a data folder that no running miner uses. For a data folder with several jobs, pass the folder of one job in it.
#[derive(Args)]
pub(crate) struct AdapterArgs {
    #[command(subcommand)]
    action: AdapterCommand,
}

#[derive(Subcommand)]
enum AdapterCommand {
    /// Report the shape and size of an adapter, and how much smaller it is than the full weights of a model
    Inspect(inspect::InspectArgs),
    /// Merge adapters that were trained from the same initial adapter, by taking their weighted mean
    Merge(MergeArgs),
    /// Export an adapter to PEFT's format, or a miner's gradient as a GradientPackage of R3MES
    Export(ExportArgs),
    /// Convert a PEFT adapter to a checkpoint from which `train` can continue
    Import(AdapterImportArgs),
}

#[derive(Args)]
struct MergeArgs {
    /// The checkpoint file to write
    out: PathBuf,
    /// The adapters to merge, which must have the same rank, alpha and linear layers
    #[arg(required = true)]
    sources: Vec<String>,
    /// Weights of the adapters in the mean: one whole number for each adapter, in the same order [default: 1 each]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    weights: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// Write adapter_config.json and adapter_model.safetensors; SOURCE must be an adapter
    Peft,
    /// Write gradient_package.pb; SOURCE must be a receipt file, or the CID of an artifact whose receipt is in the data
    /// folder
    GradientPackage,
}

#[derive(Args)]
struct ExportArgs {
    /// An adapter or, with --format gradient-package, a receipt file or the CID of an artifact whose receipt is in the
    /// data folder
    source: String,
    /// Write the files to this folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Select the format to export to
    #[arg(long, value_enum, default_value_t = ExportFormat::Peft)]
    format: ExportFormat,
    /// Name this base model in the PEFT files: a folder, or a name on the Hugging Face Hub
    #[arg(long, value_name = "NAME", default_value = "")]
    base_model: String,
    /// Write this round to the field training_round_id of the gradient package, because a receipt contains no round
    #[arg(long, value_name = "N", default_value_t = 0)]
    round: u64,
    /// Look for receipts in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct AdapterImportArgs {
    /// The PEFT folder, with adapter_config.json and adapter_model.safetensors
    dir: PathBuf,
    /// Write the checkpoint to this file; `train --out DIR` continues from DIR/checkpoint.safetensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Check that the adapter fits the model in this folder
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Reads the adapter that `source` names: a file, a folder, or the URL of a node.
pub(crate) fn read(source: &str) -> Result<LoraAdapter> {
    Ok(source::read(source)?.adapter)
}

/// Runs a subcommand of `adapter`.
pub(crate) fn run(args: AdapterArgs) -> Result<Exit> {
    match args.action {
        AdapterCommand::Inspect(args) => inspect::run(&args)?,
        AdapterCommand::Merge(args) => merge(&args)?,
        AdapterCommand::Export(args) if args.format == ExportFormat::Peft => export(&args)?,
        AdapterCommand::Export(args) => export_gradient(&args)?,
        AdapterCommand::Import(args) => import(&args)?,
    }
    Ok(Exit::Ok)
}

fn merge(args: &MergeArgs) -> Result<()> {
    let weights = if args.weights.is_empty() { vec![1; args.sources.len()] } else { args.weights.clone() };
    let (found, expected) = (weights.len(), args.sources.len());
    ensure!(found == expected, "--weights has {found} numbers, but there are {expected} sources");
    let read = |(source, weight): (&String, u32)| Ok((source::read(source)?.adapter, weight));
    let adapters = args.sources.iter().zip(weights).map(read).collect::<Result<Vec<_>>>()?;
    save(&LoraAdapter::mean(&adapters)?, &args.out)?;
    say!("{}: the mean of {expected} adapters", args.out.display());
    Ok(())
}

fn import(args: &AdapterImportArgs) -> Result<()> {
    let adapter = source::read_peft(&args.dir)?;
    if let Some(dir) = &args.model {
        check_fits(&adapter, &model::read(dir)?.config)?;
    }
    save(&adapter, &args.out)?;
    say!("{}: rank {}, {} matrices", args.out.display(), adapter.rank, adapter.matrices.len());
    Ok(())
}

/// Writes the adapter to a new checkpoint file. The optimizer in the checkpoint has the default settings of `train` and
/// has taken no steps. Returns an error if the file already exists.
fn save(adapter: &LoraAdapter, path: &Path) -> Result<()> {
    ensure!(!path.exists(), "{} already exists", path.display());
    let optimizer = Optimizer::new(train::settings(OptimizerKind::Adamw, None), adapter)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    paths::write_whole(path, &checkpoint::write(adapter, &optimizer)?)
}

fn export(args: &ExportArgs) -> Result<()> {
    let (config, tensors) = peft::write(&source::read(&args.source)?.adapter, &args.base_model)?;
    write(&args.out, source::PEFT_CONFIG, &config)?;
    write(&args.out, source::PEFT_TENSORS, &tensors)
}

fn export_gradient(args: &ExportArgs) -> Result<()> {
    let path = match Path::new(&args.source) {
        file if file.is_file() => file.to_owned(),
        _ => verify::find(&args.source, &paths::data_dir(args.data_dir.clone())?)?,
    };
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let receipt = Receipt::from_json(&text).with_context(|| format!("{} is not a receipt", path.display()))?;
    let blocks = verify::blocks(&path)?;
    let artifact = Artifact::fetch(receipt.task(), &receipt.artifact(), &|cid: &Cid| blocks.get(cid))?;
    let package = GradientPackage::new(&receipt, &artifact, args.round)?;
    write(&args.out, "gradient_package.pb", &package.to_bytes())
}

/// Writes a new file to a folder, which is created if it does not exist. Returns an error if the file already exists.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    if path.exists() {
        bail!("{} already exists", path.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    paths::write_whole(&path, bytes)?;
    say!("{}: {} B", path.display(), bytes.len());
    Ok(())
}
