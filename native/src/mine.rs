//! Mining: claim, compute, store, submit, be paid; again. By itself with a node in this process, by `--node` for
//! another's.

use super::{
    cli::MineArgs,
    compute::{self, Compute},
    embedded::{Embedded, REWARD},
    engine::Engine,
    http::now,
    interrupt::Interrupt,
    node::Node,
    output::{self, Exit, say},
    place, remote,
};
use anyhow::{Context, Result};
use r3mes_wgpu::training::step::nats;
use r3mes_wgpu::work::{CHUNK_TOKENS, Receipt, Task, UploadSize};
use serde_json::json;
use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Sequences that a miner plays at a time: the bits are the same for any number.
pub(crate) const SEQUENCES: usize = 4;
/// Between two looks for a chunk when the round has none left.
const IDLE: Duration = Duration::from_millis(200);

/// A miner beside its node.
struct Miner {
    node: Arc<Node<Engine>>,
    engine: Engine,
    receipts: PathBuf,
    args: MineArgs,
    backbone_weights: u64,
}

/// Mines until a limit or Ctrl-C.
pub(crate) fn run(args: MineArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    if let Some(url) = &args.node {
        return remote::run(&args, url, &interrupt);
    }
    let embedded = Embedded::prepare(&args.job)?;
    let miner = compute::choose(&args.compute)?;
    let verifier = verifier(&miner, args.compute.threads);
    eprintln!("mining on {} for the address {}", miner.name, args.address);
    eprintln!("a node in this process recomputes everything on {}", verifier.name);
    if args.dry_run {
        eprintln!("the ledger and the receipts would be in {}", embedded.job_dir.display());
        return Ok(Exit::Ok);
    }
    let receipts = embedded.job_dir.join("receipts");
    fs::create_dir_all(&receipts).with_context(|| format!("creating {}", receipts.display()))?;
    let engine = Engine::new(&embedded.model, &embedded.targets, &miner.backend, SEQUENCES)?;
    let backbone_weights = embedded.model.config.ternary_weights() as u64;
    let (node, address) = embedded.open(&verifier, &args.serve)?;
    eprintln!("to mine in a browser too: http://{address}/");
    Miner { node, engine, receipts, args, backbone_weights }.mine(&interrupt)
}

/// What the node recomputes on: a real GPU where the miner has one, else the CPU by other twins; never a software GPU.
pub(crate) fn verifier(miner: &Compute, threads: usize) -> Compute {
    if miner.real_gpu { miner.clone() } else { compute::second_cpu(threads) }
}

impl Miner {
    fn mine(&self, interrupt: &Interrupt) -> Result<Exit> {
        let status = self.node.status()?;
        if status.accepted_total > 0 {
            eprintln!("continuing: {} accepted, round {}", status.accepted_total, status.round);
        }
        let (mut limits, mut waiting) = (self.args.limits(), false);
        while limits.go_on() {
            if interrupt.asked() {
                return Ok(Exit::Interrupted);
            }
            match self.node.claim(&self.args.address, now())? {
                Some(task) => {
                    self.work(&task)?;
                    limits.count();
                    waiting = false;
                }
                None => {
                    if !waiting {
                        eprintln!("other miners hold the rest of this round; waiting for them");
                    }
                    waiting = true;
                    std::thread::sleep(IDLE);
                }
            }
        }
        Ok(Exit::Ok)
    }

    /// One task, from its claim to its reward.
    fn work(&self, task: &Task) -> Result<()> {
        let start = Instant::now();
        let artifact = self.engine.compute(task, &|cid| self.node.get_block(cid))?;
        let seconds = start.elapsed().as_secs_f64();
        let dag = artifact.dag()?;
        self.node.put_blocks(&dag.blocks)?;
        let receipt = Receipt::new(task.clone(), &artifact, Vec::new())?;
        place::write_whole(&self.receipts.join(format!("{}.json", receipt.artifact())), receipt.to_json().as_bytes())?;
        let acceptance = match self.node.submit(&receipt)? {
            Ok(acceptance) => acceptance,
            Err(rejection) => return Err(anyhow::Error::new(rejection).context(Exit::Refused)),
        };
        let loss = artifact.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
        Done {
            receipt: &receipt,
            gradient_root: artifact.gradient_root(),
            loss,
            seconds: Some(seconds),
            round: acceptance.round,
            accepted: self.node.status()?.accepted_total,
            balance: acceptance.balance,
            size: (acceptance.balance == REWARD).then(|| UploadSize::new(&dag, self.backbone_weights)),
            transaction: None,
        }
        .tell(self.args.json);
        Ok(())
    }
}

/// A task that was accepted, as it is told.
pub(crate) struct Done<'a> {
    pub(crate) receipt: &'a Receipt,
    /// Root over the gradient's matrices.
    pub(crate) gradient_root: [u8; 32],
    /// `None` for a void.
    pub(crate) loss: Option<f64>,
    /// Of computing alone; `None` where it was computed before.
    pub(crate) seconds: Option<f64>,
    pub(crate) round: u64,
    pub(crate) accepted: u64,
    pub(crate) balance: u64,
    /// Told once.
    pub(crate) size: Option<UploadSize>,
    /// Where a transaction carried it.
    pub(crate) transaction: Option<&'a str>,
}

impl Done<'_> {
    pub(crate) fn tell(&self, as_json: bool) {
        let (task, cid) = (self.receipt.task().cid(), self.receipt.artifact());
        let rate = self.seconds.map(|seconds| CHUNK_TOKENS as f64 / seconds);
        if as_json {
            output::line(json!({
                "event": "accepted", "task": task.to_string(), "cid": cid.to_string(),
                "gradient_digest": output::hex(&self.gradient_root), "loss": self.loss,
                "tokens_per_second": rate, "round": self.round, "accepted": self.accepted, "balance": self.balance,
                "transaction": self.transaction,
            }));
            return;
        }
        let loss = self.loss.map_or("void".to_owned(), |loss| format!("{loss:.4}"));
        let rate = rate.map_or("resumed".to_owned(), |rate| format!("{rate:6.0} tokens/s"));
        let (accepted, round, balance) = (self.accepted, self.round, self.balance as f64 / 1e6);
        say!("accepted {accepted:5} · round {round:4} · loss {loss} · {rate} · balance {balance} · {cid}");
        if let Some(size) = &self.size {
            eprintln!("an artifact is {size}");
        }
    }
}
