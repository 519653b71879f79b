//! Mining: claim, compute, store, submit, be paid; again. For a node in this process, or by `--node` for another's: the
//! same loop, over HTTP.

use crate::{
    cli::{Limits, MineArgs, ReplicaArgs},
    client::{
        retry::{RetryPolicy, rest},
        sources::Sources,
        transport::{self, Remote},
    },
    compute::{self, Compute},
    interrupt::Interrupt,
    node::embedded::{self, Embedded},
    output::{self, Exit, say},
    paths, wallet,
};
use anyhow::{Context, Result};
use pollster::block_on;
use r3mes_wgpu::{
    agents::miner::{Accepted, Miner, MiningError, TaskStage},
    client::Client,
    protocol::{CHUNK_TOKENS, Receipt, UploadSize},
    training::worker::Worker,
    tx::{SessionKey, check_address},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Sequences that a miner plays at a time, as [`sequences`](r3mes_wgpu::compute::Backend::sequences) has it.
const SEQUENCES: usize = 4;
/// Between two looks for a chunk when the round has none left: here, and elsewhere.
const IDLE_HERE: Duration = Duration::from_millis(50);
const IDLE_ELSEWHERE: Duration = Duration::from_secs(2);

/// A miner and where it keeps things.
struct Work<'a> {
    miner: Miner<Remote>,
    receipts: Receipts,
    /// Ternary weights of the backbone.
    weights: u64,
    idle: Duration,
    args: &'a MineArgs,
}

/// Mines until a limit or Ctrl-C.
pub(crate) fn run(args: &MineArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    wallet::secrets::keep_out_of_dumps()?;
    match args.node.is_empty() {
        true => for_own(args, &interrupt),
        false => for_other(args, &interrupt),
    }
}

/// For a node in this process.
fn for_own(args: &MineArgs, interrupt: &Interrupt) -> Result<Exit> {
    let embedded = Embedded::prepare(&args.job, None)?;
    let key = wallet::session_key(&embedded.data_dir)?;
    let payout = payout(args, &key)?;
    let compute = compute::choose(&args.compute)?;
    let verifier = verifier(&compute, args.compute.threads);
    eprintln!("mining on {}, paid to {payout}", compute.name);
    eprintln!("a node in this process recomputes everything on {}", verifier.name);
    if args.dry_run {
        eprintln!("the ledger and the receipts would be in {}", embedded.job_dir.display());
        return Ok(Exit::Ok);
    }
    let worker = block_on(Worker::new(&embedded.model, &embedded.targets, &compute.backend, SEQUENCES))?;
    let (weights, job_dir) = (embedded.model.config.ternary_weights() as u64, embedded.job_dir.clone());
    let (node, address) = embedded.open(&verifier, &args.serve, &ReplicaArgs::default())?;
    eprintln!("to mine in a browser too: http://{address}/");
    let head = node.ledger().state().scalars().clone();
    if head.accepted_total > 0 {
        eprintln!("continuing: {} accepted, round {}", head.accepted_total, head.round);
    }
    let client = Client::new(Remote::node(&embedded::url(address))?.saving(job_dir.join("work.car")), key);
    let miner = Miner::new(client, worker, payout, compute.name).with_known_answers(compute.backend);
    let receipts = Receipts::open(&job_dir)?;
    Work { miner, receipts, weights, idle: IDLE_HERE, args }.mine(interrupt)
}

/// For nodes elsewhere. Those that do not answer are waited for.
fn for_other(args: &MineArgs, interrupt: &Interrupt) -> Result<Exit> {
    let data_dir = paths::data_dir(args.job.data_dir.clone())?;
    let remote = Remote::nodes_at(&args.node)?.saving(data_dir.join("work.car"));
    let key = match &args.wallet {
        Some(name) => wallet::unlock(&data_dir, name, args.passphrase_file.as_deref())?,
        None => wallet::session_key(&data_dir)?,
    };
    let payout = payout(args, &key)?;
    let (stores, sources) = (args.sources.stores()?, Sources::open(&args.sources.gateway, &data_dir)?);
    let mut client = Client::new(remote.with_sources(sources), key);
    if args.granter.is_some() {
        client = client.for_granter(payout.clone());
    }
    let Some((job, targets)) = transport::job(&client, interrupt)? else { return Ok(Exit::Interrupted) };
    let compute = compute::choose(&args.compute)?;
    eprintln!("mining on {} for {}, as {}, paid to {payout}", compute.name, args.node.join(" or "), client.address());
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
    Work { miner, receipts: Receipts::open(&data_dir)?, weights, idle: IDLE_ELSEWHERE, args }.mine(interrupt)
}

/// Who is paid.
fn payout(args: &MineArgs, key: &SessionKey) -> Result<String> {
    let payout = match (&args.granter, args.address.as_str()) {
        (Some(granter), _) => granter.clone(),
        (None, "local") => key.address().to_owned(),
        (None, given) => given.to_owned(),
    };
    check_address(&payout)?;
    Ok(payout)
}

/// What the node recomputes on: a real GPU where the miner has one, else the CPU by other references; never a software GPU.
pub(crate) fn verifier(miner: &Compute, threads: usize) -> Compute {
    if miner.real_gpu { miner.clone() } else { compute::second_cpu(threads) }
}

impl Work<'_> {
    fn mine(mut self, interrupt: &Interrupt) -> Result<Exit> {
        let (mut limits, mut retry, mut registered) = (self.args.limits(), RetryPolicy::new(interrupt), false);
        while limits.go_on() {
            if interrupt.asked() {
                return Ok(Exit::Interrupted);
            }
            let (mut start, mut seconds) = (Instant::now(), None);
            let stage = |stage: TaskStage| match stage {
                TaskStage::Claimed(..) => start = Instant::now(),
                TaskStage::Computed(receipt) => {
                    seconds = Some(start.elapsed().as_secs_f64());
                    self.receipts.keep(&receipt);
                }
                TaskStage::Found(receipt) => self.receipts.keep(&receipt),
                TaskStage::Stored | TaskStage::Submitted(_) => {}
            };
            let attempt = || -> Result<_, MiningError> {
                if !registered {
                    block_on(self.miner.register())?;
                    registered = true;
                }
                block_on(self.miner.work(stage))
            };
            match attempt() {
                Ok(Some(accepted)) => {
                    retry.renew();
                    limits.count();
                    self.tell(&accepted, seconds, &limits)?;
                }
                Ok(None) => {
                    retry.renew();
                    rest(self.idle, interrupt);
                }
                Err(error @ MiningError::Late(_)) => eprintln!("{error}"),
                Err(error) if retry.lasts(error.class(), self.miner.client().host()) => {
                    retry.wait(&error, self.miner.client().host());
                }
                Err(error @ MiningError::Unfit(_)) => return Err(anyhow::Error::new(error).context(Exit::NoGpu)),
                Err(error) => return Err(anyhow::Error::new(error).context(Exit::Refused)),
            }
        }
        Ok(Exit::Ok)
    }

    /// Tells of an accepted task.
    fn tell(&self, accepted: &Accepted, seconds: Option<f64>, limits: &Limits) -> Result<()> {
        let Accepted { receipt, gradient_root, transaction, round, loss, balance, bytes } = accepted;
        let (task, cid) = (receipt.task().cid(), receipt.artifact());
        let count = match self.args.node.is_empty() {
            false => limits.counted(),
            // those too that were settled while this process was away
            true => block_on(self.miner.client().job())?.accepted,
        };
        let rate = seconds.map(|seconds| CHUNK_TOKENS as f64 / seconds);
        // what was accepted is told of, whether a node answers this or not
        let escrow = block_on(self.miner.client().escrow()).unwrap_or(0);
        if self.args.json {
            output::line(json!({
                "event": "accepted", "task": task.to_string(), "cid": cid.to_string(),
                "gradient_digest": output::hex(gradient_root), "loss": loss, "tokens_per_second": rate,
                "round": round, "accepted": count, "balance": balance, "escrow": escrow,
                "transaction": transaction,
            }));
            return Ok(());
        }
        let loss = loss.map_or("void".to_owned(), |loss| format!("{loss:.4}"));
        let rate = rate.map_or("resumed".to_owned(), |rate| format!("{rate:6.0} tokens/s"));
        let coins = |micro: u64| micro as f64 / 1e6;
        let held = if escrow == 0 { String::new() } else { format!(" + {} in escrow", coins(escrow)) };
        let balance = coins(*balance);
        say!("accepted {count:5} · round {round:4} · loss {loss} · {rate} · balance {balance}{held} · {cid}");
        if limits.counted() == 1 {
            eprintln!("an artifact is {}", UploadSize::new(*bytes, self.weights));
        }
        Ok(())
    }
}

/// A folder of receipts, one a task.
struct Receipts(PathBuf);

impl Receipts {
    fn open(folder: &Path) -> Result<Self> {
        let receipts = folder.join("receipts");
        fs::create_dir_all(&receipts).with_context(|| format!("creating {}", receipts.display()))?;
        Ok(Self(receipts))
    }

    /// Before it is submitted: whatever happens then, the miner can show what it computed.
    fn keep(&self, receipt: &Receipt) {
        let path = self.0.join(format!("{}.json", receipt.artifact()));
        if let Err(error) = paths::write_whole(&path, receipt.to_json().as_bytes()) {
            eprintln!("{error:#}");
        }
    }
}
