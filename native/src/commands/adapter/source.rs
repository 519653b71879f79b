//! Where an adapter comes from: a checkpoint, a PEFT folder, a job's ledger, or a node.

use crate::node::Stopped;
use anyhow::{Context, Result, bail, ensure};
use r3mes_wgpu::{
    model::peft,
    numbers::lora::LoraAdapter,
    protocol::AdapterState,
    store::{Cid, MAX_BLOCK_BYTES, StoreError},
    training::{checkpoint, optimizer::Optimizer},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) const PEFT_CONFIG: &str = "adapter_config.json";
pub(super) const PEFT_TENSORS: &str = "adapter_model.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const LEDGER: &str = "ledger.redb";

/// Most bytes of a checkpoint: an adapter of PEFT's limit with two moments.
const MAX_CHECKPOINT_BYTES: u64 = 4 << 30;
/// How long one answer of a node may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An adapter, and what it was found as.
pub(super) struct Source {
    pub(super) adapter: LoraAdapter,
    /// For people.
    pub(super) kind: &'static str,
    /// Optimizer steps done, where an optimizer came along.
    pub(super) steps: Option<u64>,
}

/// Reads a source as the command line names it.
pub(super) fn read(source: &str) -> Result<Source> {
    if source.starts_with("http://") || source.starts_with("https://") {
        let state = fetch(source.trim_end_matches('/')).with_context(|| format!("the adapter of {source}"))?;
        return of_state(state, "a node's adapter");
    }
    let path = Path::new(source);
    if path.join(PEFT_CONFIG).is_file() {
        return Ok(Source { adapter: read_peft(path)?, kind: "a PEFT adapter", steps: None });
    }
    let folder = |name: &str| Some(path.join(name)).filter(|path| path.is_file());
    if let Some(file) = folder(CHECKPOINT).or_else(|| path.is_file().then(|| path.to_owned())) {
        let bytes = read_file(&file, MAX_CHECKPOINT_BYTES)?;
        let (adapter, optimizer) = checkpoint::read(&bytes).with_context(|| file.display().to_string())?;
        return Ok(Source { adapter, kind: "a checkpoint", steps: Some(optimizer.steps()) });
    }
    let job = match folder(LEDGER) {
        Some(_) => path.to_owned(),
        None => only_job(path)?,
    };
    let Stopped { ledger, blocks } = Stopped::open(&job)?;
    let state = AdapterState::fetch(&ledger.state().adapter(), &|cid| blocks.get(cid));
    of_state(state.with_context(|| format!("the adapter in {}", job.display()))?, "a job's adapter")
}

fn of_state(state: AdapterState, kind: &'static str) -> Result<Source> {
    let steps = Some(Optimizer::from_bytes(&state.optimizer)?.steps());
    Ok(Source { adapter: state.adapter, kind, steps })
}

/// Reads a PEFT folder.
pub(super) fn read_peft(dir: &Path) -> Result<LoraAdapter> {
    let config = read_file(&dir.join(PEFT_CONFIG), peft::MAX_CONFIG_BYTES as u64)?;
    let tensors = read_file(&dir.join(PEFT_TENSORS), peft::MAX_TENSOR_BYTES as u64)?;
    peft::read(&config, &tensors).with_context(|| format!("the adapter in {}", dir.display()))
}

fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let context = || format!("reading {}", path.display());
    let bytes = fs::metadata(path).with_context(context)?.len();
    ensure!(bytes <= most, "{} has {bytes} bytes, at most {most} are read", path.display());
    fs::read(path).with_context(context)
}

/// The folder of the one job of a data folder.
fn only_job(data_dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(data_dir).with_context(|| format!("reading {}", data_dir.display()))?;
    let mut jobs = Vec::new();
    for entry in entries {
        jobs.extend(Some(entry?.path()).filter(|job| job.join(LEDGER).is_file()));
    }
    match &jobs[..] {
        [job] => Ok(job.clone()),
        [] => bail!("{} holds no {CHECKPOINT}, no {PEFT_CONFIG} and no job", data_dir.display()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|job| job.to_str()).collect();
            bail!("{} holds several jobs; name one: {}", data_dir.display(), names.join(", "))
        }
    }
}

/// The adapter that a node improves, each block checked against its CID.
fn fetch(url: &str) -> Result<AdapterState> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().new_agent();
    let get = |path: &str| -> Result<Vec<u8>, ureq::Error> {
        let mut answer = agent.get(format!("{url}{path}")).call()?;
        answer.body_mut().with_config().limit(MAX_BLOCK_BYTES as u64 + 1).read_to_vec()
    };
    let pools: Value = serde_json::from_slice(&get("/remes/remes/v1/task_pool/active")?)?;
    let root = pools["pools"][0]["adapter"].as_str().context("the node names no adapter")?;
    let block = |cid: &Cid| {
        let unavailable = |error: ureq::Error| StoreError::Unavailable { cid: *cid, reason: error.to_string().into() };
        get(&format!("/ipfs/{cid}?format=raw")).map_err(unavailable)
    };
    Ok(AdapterState::fetch(&Cid::try_from(root)?, &block)?)
}
