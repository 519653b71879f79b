//! The command `verify`: recomputes the gradient of a receipt and compares it, bit for bit, with the gradient that the
//! miner submitted.

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

/// The number of sequences that a CPU or a software GPU computes in one run; a hardware GPU computes as many as it can.
/// The number does not affect the result.
const SEQUENCES: usize = 1;

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// A receipt file, or the CID of an artifact whose receipt is in the data folder
    receipt: String,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Use the model in this folder; it must be the model that the receipt's task names [default: the bundled model]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Look for models, ledgers and receipts in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Prints whether the gradient of the receipt was reproduced exactly. If it was not, prints the reason and returns
/// [`Exit::Mismatch`].
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

/// Recomputes the gradient of a receipt. Returns `Ok(Err(reason))` if the receipt is wrong, and `Err` if the receipt
/// could not be checked.
fn check(args: &VerifyArgs, receipt: &Receipt, path: &Path, data_dir: &Path) -> Result<Result<(), String>> {
    let model = match model::load(args.model.as_deref(), data_dir) {
        Ok(model) => model,
        // this error means that the model file was altered or cut short; every other error means that the file could
        // not be read
        Err(error) if error.is::<r3mes_wgpu::error::Error>() => return Ok(Err(format!("{error:#}"))),
        Err(error) => return Err(error),
    };
    let job = &receipt.task().job;
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let Some(linears) = job.targets.iter().map(linear).collect::<Option<Vec<_>>>() else {
        return Ok(Err(format!(
            "the task adapts {}, but not all of these are linear layers of this model",
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

/// Opens the block store that belongs to a receipt file. The store is in the job's folder, the parent of the folder
/// `receipts` that contains the file.
pub(crate) fn blocks(receipt: &Path) -> Result<BlockStore> {
    let job = receipt
        .parent()
        .and_then(Path::parent)
        .context("the receipt must be in a folder `receipts` next to the network's `ledger.redb`")?;
    Ok(StoppedNode::open(job)?.blocks)
}

/// Returns the path of a receipt file: `wanted` itself if it is a file, otherwise the file `<wanted>.json` in a folder
/// `receipts` of the data folder.
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
    bail!("{wanted} is neither a receipt file nor the CID of an artifact whose receipt is in {}", data_dir.display())
}
