//! Mining: claim, compute, store, submit, be paid; again.

use super::{
    cli::MineArgs,
    compute::{self, Compute},
    engine::{self, Engine},
    interrupt::Interrupt,
    model,
    node::{Genesis, Node, Setup},
    output::{self, Exit, say},
    place,
};
use anyhow::{Context, Result, bail};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::training::{optimizer::Settings, step::nats};
use r3mes_wgpu::work::{Artifact, CHUNK_TOKENS, Receipt, Task, UploadSize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Accepted tasks of a round: what one optimizer step averages.
const QUOTA: u32 = 4;
/// Micro-units that an accepted gradient earns. Worth nothing outside this process.
const REWARD: u64 = 1_000_000;
/// Seconds that a claim holds.
const CLAIM_LIFETIME: u64 = 3600;
/// Rounds whose artifacts stay.
const RETENTION: u64 = 8;
/// Sequences that the miner plays at a time, and the node when it recomputes: the bits are the same.
const SEQUENCES: [usize; 2] = [4, 2];

struct Miner {
    node: Node<Engine>,
    engine: Engine,
    receipts: PathBuf,
    args: MineArgs,
    backbone_weights: u64,
}

/// Mines until a limit or Ctrl-C.
pub(crate) fn run(args: MineArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let data_dir = place::data_dir(args.job.data_dir.clone())?;
    let model = model::load(args.job.model.as_deref(), &data_dir)?;
    let targets = model::targets(args.job.rank);
    let seed = Sha256::digest("r3mes-wgpu embedded genesis 1").into();
    let settings = Settings { learning_rate: 0.002, ..Settings::ADAMW };
    let (job, adapter) = engine::job(&model, &targets, settings, seed)?;
    let chunks = model::chunks(&args.job, &model)?;
    eprintln!(
        "model {} · {} ternary weights · {} chunks of {CHUNK_TOKENS} tokens",
        job.model,
        model.config.ternary_weights(),
        chunks.len()
    );
    let quota = QUOTA.min(chunks.len() as u32);
    let genesis =
        Genesis { job, seed, quota, reward: REWARD, claim_lifetime: CLAIM_LIFETIME, retention_rounds: RETENTION };
    let setup = Setup::new(genesis, adapter, chunks.into_iter())?;
    let job_dir = data_dir.join(setup.folder()?);
    let receipts = job_dir.join("receipts");

    let miner = compute::choose(&args.compute)?;
    let verifier = verifier(&miner, args.compute.threads);
    eprintln!("mining on {} for the address {}", miner.name, args.address);
    eprintln!("a node in this process recomputes everything on {}", verifier.name);
    if args.dry_run {
        eprintln!("the ledger and the receipts would be in {}", job_dir.display());
        return Ok(Exit::Ok);
    }
    fs::create_dir_all(&receipts).with_context(|| format!("creating {}", receipts.display()))?;
    let engine = Engine::new(&model, &targets, &miner.backend, SEQUENCES[0])?;
    let recompute = Engine::new(&model, &targets, &verifier.backend, SEQUENCES[1])?;
    let node = Node::open(&job_dir.join("ledger.redb"), setup, recompute)?;
    let backbone_weights = model.config.ternary_weights() as u64;
    Miner { node, engine, receipts, args, backbone_weights }.mine(&interrupt)
}

/// What the node recomputes on: a real GPU where the miner has one, else the CPU by other twins; never a software GPU.
fn verifier(miner: &Compute, threads: usize) -> Compute {
    if miner.real_gpu { miner.clone() } else { compute::second_cpu(threads) }
}

impl Miner {
    fn mine(&self, interrupt: &Interrupt) -> Result<Exit> {
        let status = self.node.status()?;
        if status.accepted_total > 0 {
            eprintln!("continuing: {} accepted, round {}", status.accepted_total, status.round);
        }
        let start = Instant::now();
        let limit = self.args.time_limit.map(Duration::from_secs);
        let mut accepted = 0;
        while self.args.max_tasks.is_none_or(|max| accepted < max) && limit.is_none_or(|limit| start.elapsed() < limit)
        {
            if interrupt.asked() {
                return Ok(Exit::Interrupted);
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let Some(task) = self.node.claim(&self.args.address, now)? else {
                bail!("the node has no task: every claim of the round is held by another address");
            };
            self.work(&task)?;
            accepted += 1;
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
        save(&self.receipts, &receipt)?;
        let acceptance = match self.node.submit(&receipt)? {
            Ok(acceptance) => acceptance,
            Err(rejection) => return Err(anyhow::Error::new(rejection).context(Exit::Refused)),
        };
        let loss = artifact.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
        self.report(
            task,
            &artifact,
            dag.root,
            loss,
            CHUNK_TOKENS as f64 / seconds,
            acceptance.balance,
            acceptance.round,
        )?;
        let size = UploadSize::new(&dag, self.backbone_weights);
        if !self.args.json && acceptance.balance == REWARD {
            eprintln!("an artifact is {size}");
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one for each thing that is said")]
    fn report(
        &self,
        task: &Task,
        artifact: &Artifact,
        cid: Cid,
        loss: Option<f64>,
        tokens_per_second: f64,
        balance: u64,
        round: u64,
    ) -> Result<()> {
        let digest = output::hex(&artifact.gradient_root());
        let total = self.node.status()?.accepted_total;
        if self.args.json {
            output::line(json!({
                "event": "accepted", "task": task.cid().to_string(), "cid": cid.to_string(),
                "gradient_digest": digest, "loss": loss, "tokens_per_second": tokens_per_second,
                "round": round, "accepted": total, "balance": balance,
            }));
        } else {
            let loss = loss.map_or("void".to_owned(), |loss| format!("{loss:.4}"));
            let balance = balance as f64 / 1e6;
            say!(
                "accepted {total:5} · round {round:4} · loss {loss} · {tokens_per_second:6.0} tokens/s · balance {balance} · {cid}"
            );
        }
        Ok(())
    }
}

/// Keeps a receipt as JSON under its artifact's CID.
fn save(dir: &Path, receipt: &Receipt) -> Result<()> {
    place::write_whole(&dir.join(format!("{}.json", receipt.artifact())), receipt.to_json().as_bytes())
}
