//! `mine`: claims, computes and submits tasks until a limit is reached or Ctrl-C is pressed. It mines for a node in
//! this process or, with `--node`, for other nodes. In both cases it sends HTTP requests to the node.

mod flags;

pub(crate) use flags::MineArgs;

use crate::{
    client::{
        runtime::{ThreadRuntime, fail_over_advice, report_retry},
        sources::BlockSources,
        transport::{self, Remote},
    },
    compute::{self, Compute},
    consensus::ReplicaArgs,
    interrupt::Interrupt,
    node::Node,
    output::{self, Exit, note, say},
    paths,
    service::embedded::{self, Embedded},
    wallet,
};
use anyhow::{Context, Result};
use pollster::block_on;
use r3mes_wgpu::{
    agents::{
        driver::DriverState,
        miner::{self, AcceptedTask, Miner, MiningError, MiningEvent, TaskStage},
    },
    client::Client,
    protocol::{CHUNK_TOKENS, Receipt, UploadSize},
    training::worker::Worker,
    tx::{SessionKey, canonical_address},
};
use serde_json::json;
use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The number of sequences that the CPU or a software GPU computes together. A hardware GPU computes all sequences of a
/// chunk together: see [`sequences_per_run`](r3mes_wgpu::compute::Backend::sequences_per_run).
const SEQUENCES: usize = 4;
/// If the round has no chunk left, the miner waits this many milliseconds, and then asks the node in this process for a
/// chunk again.
const IDLE_EMBEDDED_MS: u32 = 50;
/// If the round has no chunk left, the miner waits this many milliseconds, and then asks the node given with `--node`
/// for a chunk again.
const IDLE_MS: u32 = 2000;

/// A miner, with everything that the command needs to print and save what the miner does.
struct Mining<'a> {
    miner: Miner<Remote>,
    /// The node in this process; `None` with `--node`.
    node: Option<Arc<Node>>,
    receipts: Receipts,
    /// The number of ternary weights in the backbone (the frozen model). The size of an artifact (an encoded gradient)
    /// is compared with the size of these weights in bf16.
    weights: u64,
    args: &'a MineArgs,
}

/// Mines until a limit is reached or Ctrl-C is pressed.
pub(crate) fn run(args: &MineArgs) -> Result<Exit> {
    args.log.start()?;
    let interrupt = Interrupt::listen();
    wallet::secrets::keep_out_of_dumps()?;
    match args.node.is_empty() {
        true => with_embedded_node(args, &interrupt),
        false => with_nodes(args, &interrupt),
    }
}

/// Mines for a node in this process.
fn with_embedded_node(args: &MineArgs, interrupt: &Interrupt) -> Result<Exit> {
    let operator = wallet::operator_key(&paths::data_dir(args.job.data_dir.clone())?, None, None)?;
    let embedded = Embedded::prepare(&args.job, None, &operator)?;
    let key = wallet::session_key(&embedded.data_dir)?;
    let payout = payout(args, &key)?;
    let compute = compute::choose(&args.compute)?;
    let verifier = verifier(&compute, args.compute.threads);
    note!("Mining on {}. Rewards go to {payout}.", compute.name);
    note!("The node in this process recomputes all gradients on {}.", verifier.name);
    if args.dry_run {
        note!("Without --dry-run, the ledger and the receipts would be stored in {}.", embedded.job_dir.display());
        return Ok(Exit::Ok);
    }
    let worker = block_on(Worker::new(&embedded.model, &embedded.targets, &compute.backend, SEQUENCES))?;
    let (weights, job_dir) = (embedded.model.config.ternary_weights() as u64, embedded.job_dir.clone());
    let (node, address) = embedded.open(operator, &verifier, &args.serve, &ReplicaArgs::default())?;
    note!("Open http://{address}/ to mine in a browser too.");
    let head = node.ledger().state().head().clone();
    if head.accepted_total > 0 {
        note!("Continuing at round {1} with {0} accepted tasks.", head.accepted_total, head.round);
    }
    let client = Client::new(Remote::node(&embedded::url(address))?.saving(job_dir.join("work.car")), key);
    let miner = Miner::new(client, worker, payout, compute.name).with_known_answers(compute.backend);
    let receipts = Receipts::open(&job_dir)?;
    Mining { miner, node: Some(node), receipts, weights, args }.run(interrupt, IDLE_EMBEDDED_MS)
}

/// Mines for the nodes given with `--node`. Retries until one of them responds.
fn with_nodes(args: &MineArgs, interrupt: &Interrupt) -> Result<Exit> {
    let data_dir = paths::data_dir(args.job.data_dir.clone())?;
    let remote = Remote::nodes_at(&args.node)?.saving(data_dir.join("work.car"));
    let key = match &args.wallet {
        Some(name) => wallet::unlock(&data_dir, name, args.passphrase_file.as_deref())?,
        None => wallet::session_key(&data_dir)?,
    };
    let payout = payout(args, &key)?;
    let (stores, sources) = (args.sources.stores()?, BlockSources::open(&args.sources.gateway, &data_dir)?);
    let mut client = Client::new(remote.with_sources(sources), key);
    if args.granter.is_some() {
        client = client.for_granter(payout.clone());
    }
    let Some((job, targets)) = transport::job(&client, interrupt)? else { return Ok(Exit::Interrupted) };
    let compute = compute::choose(&args.compute)?;
    let (nodes, address) = (args.node.join(" or "), client.address());
    note!("Mining on {} for {nodes} as {address}. Rewards go to {payout}.", compute.name);
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    let Some(model) = transport::model(&client, &job.model, &data_dir, interrupt)? else {
        return Ok(Exit::Interrupted);
    };
    let worker = block_on(Worker::new(&model, &targets, &compute.backend, SEQUENCES))?;
    let weights = model.config.ternary_weights() as u64;
    drop(model);
    let miner =
        Miner::new(client, worker, payout, compute.name).with_stores(stores).with_known_answers(compute.backend);
    let receipts = Receipts::open(&data_dir)?;
    Mining { miner, node: None, receipts, weights, args }.run(interrupt, IDLE_MS)
}

/// Returns the address that receives the rewards: the granter's address with `--granter`, the miner's own address with
/// `--address local`, otherwise the address given with `--address`.
fn payout(args: &MineArgs, key: &SessionKey) -> Result<String> {
    let payout = match (&args.granter, args.address.as_str()) {
        (Some(granter), _) => granter,
        (None, "local") => key.address(),
        (None, given) => given,
    };
    Ok(canonical_address(payout)?)
}

/// Returns the backend on which the node in this process recomputes gradients: the miner's backend if it is a hardware
/// GPU, otherwise the CPU with SIMD code that differs from the miner's.
pub(crate) fn verifier(miner: &Compute, threads: usize) -> Compute {
    if miner.real_gpu { miner.clone() } else { compute::second_cpu(threads) }
}

impl Mining<'_> {
    fn run(self, interrupt: &Interrupt, idle_ms: u32) -> Result<Exit> {
        let Self { mut miner, node, receipts, weights, args } = self;
        let limits = RefCell::new(args.limits());
        let runtime = ThreadRuntime::new(|| !limits.borrow().go_on()).with_interrupt(*interrupt);
        let on_event = |event: MiningEvent<'_>| match event {
            MiningEvent::Stage(TaskStage::Computed(receipt) | TaskStage::Restored(receipt)) => receipts.save(&receipt),
            MiningEvent::Accepted { task, seconds, escrow } => {
                limits.borrow_mut().count();
                let counted = limits.borrow().counted();
                // the count of the node in this process includes tasks of other miners and of earlier runs
                let count = node.as_ref().map_or(counted, |node| node.ledger().state().head().accepted_total);
                print_accepted(args, task, seconds, escrow, count);
                if counted == 1 && !args.json {
                    note!("An artifact takes {}.", UploadSize::new(task.bytes, weights));
                }
            }
            MiningEvent::ClaimLost(error) => note!("{error}. Continuing with another task."),
            MiningEvent::State(DriverState::Retrying { error, retry }) => {
                let is_nodes = matches!(error, MiningError::Client(_));
                let advice = if is_nodes { fail_over_advice(args.node.len() as u32) } else { "" };
                report_retry(error, retry, advice);
            }
            MiningEvent::Stage(_) | MiningEvent::State(_) => {}
        };
        match block_on(miner::mine(&mut miner, &runtime, idle_ms, on_event)) {
            Ok(()) if limits.borrow().go_on() => Ok(Exit::Interrupted),
            Ok(()) => Ok(Exit::Ok),
            Err(error @ MiningError::BackendFault(_)) => Err(anyhow::Error::new(error).context(Exit::NoGpu)),
            Err(error) => Err(anyhow::Error::new(error).context(Exit::Refused)),
        }
    }
}

/// Prints an accepted task. `seconds` is the time of the computation, or `None` if the gradient was restored from the
/// work file, which keeps a computed gradient until it is accepted. `escrow` is the total of the miner's rewards in
/// escrow, in micro-units. `count` is the number of tasks accepted so far.
fn print_accepted(args: &MineArgs, task: &AcceptedTask, seconds: Option<f64>, escrow: u64, count: u64) {
    let AcceptedTask { receipt, gradient_root, transaction, round, loss, void_reason, balance, .. } = task;
    let (task, cid) = (receipt.task().cid(), receipt.artifact());
    let rate = seconds.map(|seconds| CHUNK_TOKENS as f64 / seconds);
    if args.json {
        return output::line(json!({
            "event": "accepted", "task": task.to_string(), "cid": cid.to_string(),
            "gradient_digest": output::hex(gradient_root), "loss": loss, "void_reason": void_reason,
            "tokens_per_second": rate,
            "round": round, "accepted": count, "balance": balance, "escrow": escrow,
            "transaction": transaction,
        }));
    }
    if let Some(reason) = void_reason {
        note!("The gradient is void, so it does not train the adapter: {reason}.");
    }
    let loss = loss.map_or("void".to_owned(), |loss| format!("{loss:.4}"));
    let rate = rate.map_or("resumed".to_owned(), |rate| format!("{rate:6.0} tokens/s"));
    let coins = |micro: u64| micro as f64 / 1e6;
    let held = if escrow == 0 { String::new() } else { format!(" + {} in escrow", coins(escrow)) };
    let balance = coins(*balance);
    say!("accepted {count:5} · round {round:4} · loss {loss} · {rate} · balance {balance}{held} · {cid}");
}

/// The folder in which the miner keeps a receipt for each task.
struct Receipts(PathBuf);

impl Receipts {
    fn open(folder: &Path) -> Result<Self> {
        let receipts = folder.join("receipts");
        fs::create_dir_all(&receipts).with_context(|| format!("creating {}", receipts.display()))?;
        Ok(Self(receipts))
    }

    /// Saves a receipt before the gradient is submitted, so that the miner can always prove what it computed. If saving
    /// fails, only prints the error.
    fn save(&self, receipt: &Receipt) {
        let path = self.0.join(format!("{}.json", receipt.artifact()));
        if let Err(error) = paths::write_whole(&path, receipt.to_json().as_bytes()) {
            note!("{error:#}");
        }
    }
}
