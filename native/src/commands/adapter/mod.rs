//! Adapters on disk: looked at, folded, and exchanged with PEFT.

mod inspect;
mod source;

use super::{train, verify};
use crate::{
    cli::OptimizerKind,
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

/// A SOURCE is a checkpoint of `train` or its folder, a PEFT adapter's folder, a data folder (or a job's folder in it)
/// that no running miner holds, or the URL of a node.
#[derive(Args)]
pub(crate) struct AdapterArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Say what an adapter is, how large, and how much less than full weights
    Inspect(inspect::InspectArgs),
    /// Fold adapters of one start into one: the weighted mean of each factor
    Merge(MergeArgs),
    /// Write an adapter for PEFT, or an accepted gradient as R3MES's GradientPackage
    Export(ExportArgs),
    /// Read a PEFT adapter into a checkpoint that `train` goes on from
    Import(ImportArgs),
}

#[derive(Args)]
struct MergeArgs {
    /// The checkpoint to write
    out: PathBuf,
    /// Adapters of the same rank, alpha and linears
    #[arg(required = true)]
    sources: Vec<String>,
    /// A whole number for each source [default: 1 each]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    weights: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// adapter_config.json and adapter_model.safetensors; SOURCE is an adapter
    Peft,
    /// gradient_package.pb; SOURCE is a receipt, or the CID of its artifact
    GradientPackage,
}

#[derive(Args)]
struct ExportArgs {
    /// An adapter; for gradient-package a receipt's file, or the CID of an artifact that a receipt in the data folder names
    source: String,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Peft)]
    format: Format,
    /// What PEFT finds the backbone by: a folder, or a name on the hub
    #[arg(long, value_name = "NAME", default_value = "")]
    base_model: String,
    /// The training_round_id of a gradient package: no receipt holds it
    #[arg(long, default_value_t = 0)]
    round: u64,
    /// Where receipts are looked for
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct ImportArgs {
    /// Folder with adapter_config.json and adapter_model.safetensors
    dir: PathBuf,
    /// The checkpoint to write; as DIR/checkpoint.safetensors, `train --out DIR` goes on from it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Check that the adapter fits this model
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// The adapter that a SOURCE names.
pub(crate) fn read(source: &str) -> Result<LoraAdapter> {
    Ok(source::read(source)?.adapter)
}

/// Does what was asked.
pub(crate) fn run(args: AdapterArgs) -> Result<Exit> {
    match args.action {
        Action::Inspect(args) => inspect::run(&args)?,
        Action::Merge(args) => merge(&args)?,
        Action::Export(args) if args.format == Format::Peft => export(&args)?,
        Action::Export(args) => export_gradient(&args)?,
        Action::Import(args) => import(&args)?,
    }
    Ok(Exit::Ok)
}

fn merge(args: &MergeArgs) -> Result<()> {
    let weights = if args.weights.is_empty() { vec![1; args.sources.len()] } else { args.weights.clone() };
    let (found, expected) = (weights.len(), args.sources.len());
    ensure!(found == expected, "--weights names {found}, there are {expected} adapters");
    let read = |(source, weight): (&String, u32)| Ok((source::read(source)?.adapter, weight));
    let adapters = args.sources.iter().zip(weights).map(read).collect::<Result<Vec<_>>>()?;
    save(&LoraAdapter::mean(&adapters)?, &args.out)?;
    say!("{}: the mean of {expected} adapters", args.out.display());
    Ok(())
}

fn import(args: &ImportArgs) -> Result<()> {
    let adapter = source::read_peft(&args.dir)?;
    if let Some(dir) = &args.model {
        inspect::check_fits(&adapter, &crate::model::read(dir)?.config)?;
    }
    save(&adapter, &args.out)?;
    say!("{}: rank {}, {} matrices", args.out.display(), adapter.rank, adapter.matrices.len());
    Ok(())
}

/// A new checkpoint, whose optimizer is at its first step with `train`'s settings.
fn save(adapter: &LoraAdapter, path: &Path) -> Result<()> {
    ensure!(!path.exists(), "{} is there already", path.display());
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
    let receipt = Receipt::from_json(&text).with_context(|| format!("{} is no receipt", path.display()))?;
    let blocks = verify::blocks(&path)?;
    let artifact = Artifact::fetch(receipt.task(), &receipt.artifact(), &|cid: &Cid| blocks.get(cid))?;
    let package = GradientPackage::new(&receipt, &artifact, args.round)?;
    write(&args.out, "gradient_package.pb", &package.to_bytes())
}

/// A new file in a folder, which is made if need be.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    if path.exists() {
        bail!("{} is there already", path.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    paths::write_whole(&path, bytes)?;
    say!("{}: {} B", path.display(), bytes.len());
    Ok(())
}
