//! The node that lives in this process: its ledger, its face, and the operator's roles, which recompute what miners
//! submit and add up rounds.

use super::{
    Node, Setup, Terms,
    operator::{self, Operator},
};
use crate::{
    cli::{JobArgs, ReplicaArgs, ServeArgs},
    client::{sources::Sources, transport::Remote},
    compute::Compute,
    consensus::Engine,
    engine, model, node, paths, server, wallet,
};
use anyhow::{Context, Result, bail};
use r3mes_wgpu::{
    client::Client,
    dispute::{judge::DisputeContext, prover::AdapterLayout},
    ledger::{Genesis, LedgerParams, PROPOSER, VALIDATOR, fee_pool},
    model::{transformer::Targets, weights::Model},
    protocol::CHUNK_TOKENS,
    training::{optimizer::Settings, worker::Worker},
    tx::SessionKey,
};
use sha2::{Digest, Sha256};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Accepted tasks of a round: what one optimizer step averages.
pub(crate) const QUOTA: u32 = 4;
/// The operator's first coins and stake, in micro-units. Worth nothing outside this process.
pub(crate) const OPERATOR_COINS: u64 = 1_000_000_000_000;
pub(crate) const OPERATOR_STAKE: u64 = 1_000_000;
pub(crate) const OPERATOR_ROLES: [u32; 2] = [VALIDATOR, PROPOSER];
/// What signatures are bound to.
pub(crate) const CHAIN_ID: &str = "r3mes-local-1";
/// Where the page's files are unless said otherwise.
const PAGE: &str = "dist";

/// All that a node is made of, before it is opened.
pub(crate) struct Embedded {
    pub(crate) model: Model,
    pub(crate) targets: Targets,
    pub(crate) job_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    model_dir: PathBuf,
    setup: Setup,
    packing: AdapterLayout,
    operator: Zeroizing<[u8; 32]>,
}

impl Embedded {
    /// Reads model and text; for a network of this process alone, or for that of the genesis in a file.
    pub(crate) fn prepare(args: &JobArgs, genesis: Option<&Path>) -> Result<Self> {
        let Some(path) = genesis else {
            let data_dir = paths::data_dir(args.data_dir.clone())?;
            let operator = SessionKey::new(&*wallet::operator_secret(&data_dir)?)?.address().to_owned();
            let seed = Sha256::digest("r3mes-wgpu embedded genesis 1").into();
            return Self::of(
                args,
                Terms {
                    chain_id: CHAIN_ID.to_owned(),
                    params: LedgerParams::EMBEDDED,
                    rank: args.rank as u32,
                    seed,
                    quota: QUOTA,
                    accounts: vec![(operator.clone(), OPERATOR_COINS), (fee_pool(), OPERATOR_COINS)],
                    nodes: vec![(operator, OPERATOR_STAKE, OPERATOR_ROLES.to_vec())],
                },
            );
        };
        let read = || -> Result<Self> {
            let given = Genesis::from_json(&std::fs::read(path)?)?;
            let embedded = Self::of(args, Terms::of(&given))?;
            if let Some(what) = node::difference(&given, embedded.setup.genesis()) {
                bail!("its {what} is not what the model and the text given here make");
            }
            Ok(embedded)
        };
        read().with_context(|| format!("the genesis {}", path.display()))
    }

    /// Reads model and text, for a network of these terms.
    pub(crate) fn of(args: &JobArgs, terms: Terms) -> Result<Self> {
        let data_dir = paths::data_dir(args.data_dir.clone())?;
        let model_dir = model::dir(args.model.as_deref(), &data_dir)?;
        let model = model::read(&model_dir)?;
        let targets = model::targets(terms.rank as usize);
        let settings = Settings { learning_rate: 0.002, ..Settings::ADAMW };
        let (job, adapter) = engine::job(&model, &targets, settings, terms.seed)?;
        let chunks = model::chunks(args, &model_dir, &model)?;
        eprintln!(
            "model {} · {} ternary weights · {} chunks of {CHUNK_TOKENS} tokens",
            job.model,
            model.config.ternary_weights(),
            chunks.len()
        );
        let operator = wallet::operator_secret(&data_dir)?;
        let (ground, packing) = DisputeContext::for_job(&model, &targets, &job.matrices, job.transport);
        let packed = packing.root(&adapter.adapter, &job.matrices)?;
        let setup = Setup::new(terms, job, (ground, packed), &adapter, chunks)?;
        let job_dir = data_dir.join(setup.folder());
        Ok(Self { model, targets, job_dir, data_dir, model_dir, setup, packing, operator })
    }

    /// What its network starts from.
    pub(crate) fn genesis(&self) -> &Genesis {
        self.setup.genesis()
    }

    /// Opens the ledger, serves it, and takes on the operator's roles, recomputing on `verifier`; returns the node and its
    /// address. Where the port is taken and nobody asked for it by name, another is.
    pub(crate) fn open(
        self,
        verifier: &Compute,
        args: &ServeArgs,
        replica: &ReplicaArgs,
    ) -> Result<(Arc<Node>, SocketAddr)> {
        let worker =
            pollster::block_on(Worker::new(&self.model, &self.targets, &verifier.backend, operator::SEQUENCES))?;
        std::fs::create_dir_all(&self.job_dir).with_context(|| format!("creating {}", self.job_dir.display()))?;
        let node = Arc::new(Node::open(&self.job_dir, self.setup, args.min_fee)?);
        let engine = replica.consensus.as_deref().map(Engine::new).transpose()?;
        let serve = |listen| {
            let settings = server::Settings {
                listen,
                model: self.model_dir.clone(),
                page: args.page.clone().unwrap_or_else(|| Path::new(PAGE).to_owned()),
                origins: args.allow_origin.clone(),
                engine: engine.clone(),
            };
            server::serve(node.clone(), settings)
        };
        let address = match args.listen {
            Some(listen) => serve(listen)?,
            None => serve(SocketAddr::from(([127, 0, 0, 1], 7717)))
                .or_else(|_| serve(SocketAddr::from(([127, 0, 0, 1], 0))))?,
        };
        let remote = Remote::node(&url(address))?.with_sources(Sources::gateways(&replica.gateway)?);
        let client = Client::new(remote, SessionKey::new(&self.operator)?);
        let operator = Operator::new(client, worker)?.proposing(self.packing)?;
        operator.challenging(self.model, self.targets, verifier.backend.clone()).start()?;
        Ok((node, address))
    }
}

/// Where this process reaches its own node.
pub(crate) fn url(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() && address.is_ipv4() => "127.0.0.1".to_owned(),
        ip if ip.is_unspecified() => "[::1]".to_owned(),
        ip if address.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}", address.port())
}
