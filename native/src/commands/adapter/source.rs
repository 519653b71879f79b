//! Reads an adapter from a SOURCE: a checkpoint, a PEFT folder, the folder of a job, or a node.

use crate::{
    client::agent::{NODE_REDIRECTS, agent},
    node::StoppedNode,
};
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
/// The file in which older versions of PEFT saved the tensors.
const PEFT_PICKLE: &str = "adapter_model.bin";
const CHECKPOINT: &str = "checkpoint.safetensors";
const LEDGER: &str = "ledger.redb";

/// The maximum size of a checkpoint file in bytes. It suffices for the largest PEFT adapter that the program reads,
/// with both of the optimizer's moments.
const MAX_CHECKPOINT_BYTES: u64 = 4 << 30;
/// The timeout of one HTTP request to a node.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An adapter, with what is known about the source that it was read from.
pub(super) struct LoadedAdapter {
    pub(super) adapter: LoraAdapter,
    /// The kind of the source, for messages: `a checkpoint`, for example.
    pub(super) kind: &'static str,
    /// The number of optimizer steps that the adapter has taken; `None` if the source contains no optimizer state.
    pub(super) steps: Option<u64>,
}

/// Reads the adapter that `source` names: an http(s) URL, a file or a folder.
pub(super) fn read(source: &str) -> Result<LoadedAdapter> {
    if source.starts_with("http://") || source.starts_with("https://") {
        let state =
            fetch(source.trim_end_matches('/')).with_context(|| format!("fetching the adapter from {source}"))?;
        return of_state(state, "a node's adapter");
    }
    let path = Path::new(source);
    if path.join(PEFT_CONFIG).is_file() {
        return Ok(LoadedAdapter { adapter: read_peft(path)?, kind: "a PEFT adapter", steps: None });
    }
    let folder = |name: &str| Some(path.join(name)).filter(|path| path.is_file());
    if let Some(file) = folder(CHECKPOINT).or_else(|| path.is_file().then(|| path.to_owned())) {
        let bytes = read_file(&file, MAX_CHECKPOINT_BYTES)?;
        ensure!(
            !bytes.starts_with(b"GGUF"),
            "{} is a GGUF file. LoRA adapters in this format are not read; pass the adapter in PEFT's format, as a \
             folder with {PEFT_CONFIG} and {PEFT_TENSORS}",
            file.display()
        );
        let (adapter, optimizer) = checkpoint::read(&bytes).with_context(|| file.display().to_string())?;
        return Ok(LoadedAdapter { adapter, kind: "a checkpoint", steps: Some(optimizer.steps()) });
    }
    let job = match folder(LEDGER) {
        Some(_) => path.to_owned(),
        None => only_job(path)?,
    };
    let StoppedNode { ledger, blocks } = StoppedNode::open(&job)?;
    let state = AdapterState::fetch(&ledger.state().adapter(), &|cid| blocks.get(cid));
    of_state(state.with_context(|| format!("reading the adapter in {}", job.display()))?, "a job's adapter")
}

fn of_state(state: AdapterState, kind: &'static str) -> Result<LoadedAdapter> {
    let steps = Some(Optimizer::from_bytes(&state.optimizer)?.steps());
    Ok(LoadedAdapter { adapter: state.adapter, kind, steps })
}

/// Reads the adapter in a PEFT folder.
pub(super) fn read_peft(dir: &Path) -> Result<LoraAdapter> {
    let config = read_file(&dir.join(PEFT_CONFIG), peft::MAX_CONFIG_BYTES as u64)?;
    let tensors = dir.join(PEFT_TENSORS);
    ensure!(
        tensors.exists() || !dir.join(PEFT_PICKLE).exists(),
        "{} has {PEFT_PICKLE} but no {PEFT_TENSORS}. {PEFT_PICKLE} is a pickle of PyTorch, which can execute code and \
         is therefore not read; save the adapter again with save_pretrained of PEFT",
        dir.display()
    );
    let tensors = read_file(&tensors, peft::MAX_TENSOR_BYTES as u64)?;
    peft::read(&config, &tensors).with_context(|| format!("reading the adapter in {}", dir.display()))
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let context = || format!("reading {}", path.display());
    let bytes = fs::metadata(path).with_context(context)?.len();
    ensure!(bytes <= limit, "{} has {bytes} bytes, more than the limit of {limit}", path.display());
    fs::read(path).with_context(context)
}

/// Returns the folder of the job in a data folder. Returns an error if there is no job, or more than one.
fn only_job(data_dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(data_dir).with_context(|| format!("reading {}", data_dir.display()))?;
    let mut jobs = Vec::new();
    for entry in entries {
        jobs.extend(Some(entry?.path()).filter(|job| job.join(LEDGER).is_file()));
    }
    match &jobs[..] {
        [job] => Ok(job.clone()),
        [] => bail!(
            "{} contains no checkpoint ({CHECKPOINT}), no PEFT adapter ({PEFT_CONFIG}) and no folder of a job",
            data_dir.display()
        ),
        several => {
            let names: Vec<_> = several.iter().filter_map(|job| job.to_str()).collect();
            bail!(
                "{} contains the folders of several jobs; pass one of these folders: {}",
                data_dir.display(),
                names.join(", ")
            )
        }
    }
}

/// Fetches a node's current adapter, and checks each block against its CID.
fn fetch(url: &str) -> Result<AdapterState> {
    let agent = agent(url, TIMEOUT, NODE_REDIRECTS)?;
    let get = |path: &str| -> Result<Vec<u8>> {
        let mut response = agent.get(format!("{url}{path}")).call()?;
        ensure!(response.status().is_success(), "{path}: the node responded with the status {}", response.status());
        Ok(response.body_mut().with_config().limit(MAX_BLOCK_BYTES as u64 + 1).read_to_vec()?)
    };
    let pools: Value = serde_json::from_slice(&get("/remes/remes/v1/task_pool/active")?)?;
    let root = pools["pools"][0]["adapter"].as_str().context("the node's response names no adapter")?;
    let block = |cid: &Cid| {
        let unavailable =
            |error: anyhow::Error| StoreError::Unavailable { cid: *cid, reason: format!("{error:#}").into() };
        get(&format!("/ipfs/{cid}?format=raw")).map_err(unavailable)
    };
    Ok(AdapterState::fetch(&Cid::try_from(root)?, &block)?)
}
