//! `verify`: recomputes the gradient of a receipt and compares every bit.

use crate::{
    blocks::BlockStore,
    compute::{self, ComputeArgs},
    model,
    node::StoppedNode,
    output::{self, Exit, say},
    paths,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use pollster::block_on;
use r3mes_wgpu::{
    model::{config::Linear, transformer::Targets},
    protocol::{Receipt, verify},
    store::{Cid, StoreError},
    training::worker::Worker,
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The number of sequences that are computed together. It does not affect the result.
const SEQUENCES: usize = 1;

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// A receipt file, or the CID of an artifact for which the data folder has a receipt
    receipt: String,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Use the model in this folder, which must be the model of the task [default: the bundled model]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Look for models, ledger and receipts in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Prints whether the receipt is right. If it is not, prints the reason and returns [`Exit::Mismatch`].
pub(crate) fn run(args: VerifyArgs) -> Result<Exit> {
    let data_dir = paths::data_dir(args.data_dir.clone())?;
    let path = find(&args.receipt, &data_dir)?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let verdict = match Receipt::from_json(&text) {
        Ok(receipt) => check(&args, &receipt, &path, &data_dir)?,
        Err(error) => Err(error.to_string()),
    };
    let (ok, reason) = (verdict.is_ok(), verdict.as_ref().err());
    if args.json {
        output::line(json!({ "event": "verified", "receipt": path.display().to_string(), "ok": ok, "reason": reason }));
    } else {
        say!("{}: {}", path.display(), reason.map_or("every bit matches", |reason| reason));
    }
    Ok(if ok { Exit::Ok } else { Exit::Mismatch })
}

/// Recomputes the gradient of a receipt. The inner error is the reason why the receipt is wrong; the outer one means
/// that it could not be checked.
fn check(args: &VerifyArgs, receipt: &Receipt, path: &Path, data_dir: &Path) -> Result<Result<(), String>> {
    let model = match model::load(args.model.as_deref(), data_dir) {
        Ok(model) => model,
        // the file was altered or cut short; other errors mean that it could not be read
        Err(error) if error.is::<r3mes_wgpu::error::Error>() => return Ok(Err(format!("{error:#}"))),
        Err(error) => return Err(error),
    };
    let job = &receipt.task().job;
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let Some(linears) = job.targets.iter().map(linear).collect::<Option<Vec<_>>>() else {
        return Ok(Err(format!(
            "the task adapts {}, which are not linear layers of this model",
            job.targets.join(", ")
        )));
    };
    let targets = Targets { rank: job.rank as usize, linears };
    let blocks = blocks(path)?;
    let fetch = |cid: &Cid| -> Result<Vec<u8>, StoreError> { blocks.get(cid) };
    let compute = compute::choose(&args.compute)?;
    let mut worker = block_on(Worker::new(&model, &targets, &compute.backend, SEQUENCES))?;
    let recomputed = match block_on(worker.compute(receipt.task(), &fetch)) {
        Ok(recomputed) => recomputed,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    Ok(verify(receipt, &fetch, &recomputed).map_err(|mismatch| mismatch.to_string()))
}

/// Opens the store with the data blocks of the job that a receipt file belongs to. The job's folder is the parent of
/// the folder `receipts` that contains the file.
pub(crate) fn blocks(receipt: &Path) -> Result<BlockStore> {
    let job = receipt
        .parent()
        .and_then(Path::parent)
        .context("the receipt must be in the folder `receipts` beside its ledger")?;
    Ok(StoppedNode::open(job)?.blocks)
}

/// Returns the path of a receipt: the file `wanted`, or `<wanted>.json` among the receipts of the data folder.
pub(crate) fn find(wanted: &str, data_dir: &Path) -> Result<PathBuf> {
    let file = PathBuf::from(wanted);
    if file.is_file() {
        return Ok(file);
    }
    let jobs = fs::read_dir(data_dir).with_context(|| format!("reading {}", data_dir.display()))?;
    for job in jobs {
        let receipt = job?.path().join("receipts").join(format!("{wanted}.json"));
        if receipt.is_file() {
            return Ok(receipt);
        }
    }
    bail!("{wanted} is not a file, and {} has no receipt of an artifact with this CID", data_dir.display())
}
