//! Verification: anyone recomputes a receipt's gradient and compares every bit.

use crate::{
    cli::VerifyArgs,
    compute,
    engine::Engine,
    model,
    node::{Stopped, blocks::BlockStore},
    output::{self, Exit, say},
    paths,
};
use anyhow::{Context, Result, bail};
use r3mes_wgpu::{
    model::{config::Linear, transformer::Targets},
    protocol::{Receipt, verify},
    store::{Cid, StoreError},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Sequences a play.
const SEQUENCES: usize = 1;

/// Says ok, or exits with 4 and the reason.
pub(crate) fn run(args: VerifyArgs) -> Result<Exit> {
    let data_dir = paths::data_dir(args.data_dir.clone())?;
    let path = find(&args.receipt, &data_dir)?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let answer = match Receipt::from_json(&text) {
        Ok(receipt) => check(&args, &receipt, &path, &data_dir)?,
        Err(error) => Err(error.to_string()),
    };
    let (ok, reason) = (answer.is_ok(), answer.as_ref().err());
    if args.json {
        output::line(json!({ "event": "verified", "receipt": path.display().to_string(), "ok": ok, "reason": reason }));
    } else {
        say!("{}: {}", path.display(), reason.map_or("every bit is the same", |reason| reason));
    }
    Ok(if ok { Exit::Ok } else { Exit::Mismatch })
}

/// The inner error is the reason why the receipt is wrong; the outer one, why it could not be told.
fn check(args: &VerifyArgs, receipt: &Receipt, path: &Path, data_dir: &Path) -> Result<Result<(), String>> {
    let model = match model::load(args.model.as_deref(), data_dir) {
        Ok(model) => model,
        // altered or cut short; a file that can not be read is another matter
        Err(error) if error.is::<r3mes_wgpu::error::Error>() => return Ok(Err(format!("{error:#}"))),
        Err(error) => return Err(error),
    };
    let job = &receipt.task().job;
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let Some(linears) = job.targets.iter().map(linear).collect::<Option<Vec<_>>>() else {
        return Ok(Err(format!("the task adapts {}, not linears of this model", job.targets.join(", "))));
    };
    let targets = Targets { rank: job.rank as usize, linears };
    let blocks = blocks(path)?;
    let fetch = |cid: &Cid| -> Result<Vec<u8>, StoreError> { blocks.get(cid) };
    let compute = compute::choose(&args.compute)?;
    let engine = Engine::new(&model, &targets, &compute.backend, SEQUENCES)?;
    let recomputed = match engine.compute(receipt.task(), &fetch) {
        Ok(recomputed) => recomputed,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    Ok(verify(receipt, &fetch, &recomputed).map_err(|mismatch| mismatch.to_string()))
}

/// The blocks beside which a receipt lies.
pub(crate) fn blocks(receipt: &Path) -> Result<BlockStore> {
    let job = receipt.parent().and_then(Path::parent).context("a receipt lies beside its ledger")?;
    Ok(Stopped::open(job)?.blocks)
}

/// A file, or `<cid>.json` among the receipts of the data folder.
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
    bail!("{wanted} is no file, and no receipt in {} names it", data_dir.display())
}
