//! The node that lives in this process: its ledger, its engine, its face.

use super::{
    cli::{JobArgs, ServeArgs},
    compute::Compute,
    engine::{self, Engine},
    http, model,
    node::{Genesis, Node, Setup},
    place,
};
use anyhow::{Context, Result};
use r3mes_wgpu::model::{transformer::Targets, weights::Model};
use r3mes_wgpu::training::optimizer::Settings;
use r3mes_wgpu::work::CHUNK_TOKENS;
use sha2::{Digest, Sha256};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Accepted tasks of a round: what one optimizer step averages.
const QUOTA: u32 = 4;
/// Micro-units that an accepted gradient earns. Worth nothing outside this process.
pub(crate) const REWARD: u64 = 1_000_000;
/// Seconds that a claim holds: as long as others may have to wait for a miner that left in the middle of a task.
const CLAIM_LIFETIME: u64 = 300;
/// Rounds whose artifacts stay.
const RETENTION: u64 = 8;
/// Sequences that the node plays at a time when it recomputes: the bits are the same for any number.
const SEQUENCES: usize = 2;
/// What signatures are bound to.
const CHAIN_ID: &str = "r3mes-local-1";
/// Where the page's files are unless said otherwise.
const PAGE: &str = "dist";

/// All that a node is made of, before it is opened.
pub(crate) struct Embedded {
    pub(crate) model: Model,
    pub(crate) targets: Targets,
    pub(crate) job_dir: PathBuf,
    model_dir: PathBuf,
    setup: Setup,
}

impl Embedded {
    /// Reads model and text.
    pub(crate) fn prepare(args: &JobArgs) -> Result<Self> {
        let data_dir = place::data_dir(args.data_dir.clone())?;
        let model_dir = model::dir(args.model.as_deref(), &data_dir)?;
        let model = model::read(&model_dir)?;
        let targets = model::targets(args.rank);
        let seed = Sha256::digest("r3mes-wgpu embedded genesis 1").into();
        let settings = Settings { learning_rate: 0.002, ..Settings::ADAMW };
        let (job, adapter) = engine::job(&model, &targets, settings, seed)?;
        let chunks = model::chunks(args, &model_dir, &model)?;
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
        Ok(Self { model, targets, job_dir, model_dir, setup })
    }

    /// Opens the ledger, with an engine of its own, and serves it; returns the node and its address. Where the port is
    /// taken and nobody asked for it by name, another is.
    pub(crate) fn open(self, verifier: &Compute, args: &ServeArgs) -> Result<(Arc<Node<Engine>>, SocketAddr)> {
        let engine = Engine::new(&self.model, &self.targets, &verifier.backend, SEQUENCES)?;
        std::fs::create_dir_all(&self.job_dir).with_context(|| format!("creating {}", self.job_dir.display()))?;
        let node = Arc::new(Node::open(&self.job_dir.join("ledger.redb"), self.setup, engine)?);
        let serve = |listen| {
            let settings = http::Settings {
                listen,
                chain_id: CHAIN_ID.to_owned(),
                model: self.model_dir.clone(),
                page: args.page.clone().unwrap_or_else(|| Path::new(PAGE).to_owned()),
                origins: args.allow_origin.clone(),
                min_fee: args.min_fee,
            };
            http::serve(node.clone(), settings)
        };
        let address = match args.listen {
            Some(listen) => serve(listen)?,
            None => serve(SocketAddr::from(([127, 0, 0, 1], 7717)))
                .or_else(|_| serve(SocketAddr::from(([127, 0, 0, 1], 0))))?,
        };
        Ok((node, address))
    }
}
