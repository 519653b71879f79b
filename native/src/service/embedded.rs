//! A node that runs in this process: its ledger, its HTTP server and its operator. The operator recomputes miners'
//! gradients and aggregates rounds.

use super::operator;
use crate::{
    client::{sources::BlockSources, transport::Remote},
    compute::Compute,
    consensus::{CometRpc, ReplicaArgs, ValidatorKey},
    job,
    model::{self, JobArgs},
    node::{self, GenesisTerms, Node, Setup},
    output::note,
    paths,
    server::{self, ServeArgs},
};
use anyhow::{Context, Result, bail};
use r3mes_wgpu::{
    agents::Operator,
    client::Client,
    dispute::{judge::DisputeContext, prover::AdapterLayout},
    ledger::{Genesis, LedgerParams, PROPOSER, VALIDATOR},
    model::{transformer::Targets, weights::Model},
    protocol::CHUNK_TOKENS,
    training::{optimizer::Settings, worker::Worker},
    tx::SessionKey,
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The default number of gradients that must be accepted to complete a round. The round's optimizer step uses their
/// average.
pub(crate) const QUOTA: u32 = 4;
/// The initial balance of the operator in micro-units. These coins have no value outside this process.
pub(crate) const OPERATOR_COINS: u64 = 1_000_000_000_000;
pub(crate) const OPERATOR_STAKE: u64 = 1_000_000;
pub(crate) const OPERATOR_ROLES: [u32; 2] = [VALIDATOR, PROPOSER];
/// The chain ID of a node without a genesis file. Every signature covers the chain ID, so a signature is valid on one
/// chain only.
pub(crate) const CHAIN_ID: &str = "r3mes-local-1";
/// The default folder of the mining page, relative to the current directory.
const PAGE: &str = "dist";

/// A node that is prepared but not yet open: its model, its genesis and its folders.
pub(crate) struct Embedded {
    pub(crate) model: Model,
    pub(crate) targets: Targets,
    pub(crate) job_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    model_dir: PathBuf,
    setup: Setup,
    layout: AdapterLayout,
}

impl Embedded {
    /// Reads the model and the training text. If `genesis` is `None`, builds a genesis in which `operator` is the only
    /// operator. Otherwise, `genesis` is the path of a genesis file. Returns an error if this file was made for another
    /// model or another text.
    pub(crate) fn prepare(args: &JobArgs, genesis: Option<&Path>, operator: &SessionKey) -> Result<Self> {
        let Some(path) = genesis else {
            let operator = operator.address().to_owned();
            let seed = Sha256::digest("r3mes-wgpu embedded genesis 1").into();
            return Self::of(
                args,
                GenesisTerms {
                    chain_id: CHAIN_ID.to_owned(),
                    params: LedgerParams::EMBEDDED,
                    rank: args.rank as u32,
                    seed,
                    quota: QUOTA,
                    accounts: vec![(operator.clone(), OPERATOR_COINS)],
                    nodes: vec![(operator, OPERATOR_STAKE, OPERATOR_ROLES.to_vec())],
                    consensus_keys: BTreeMap::new(),
                },
            );
        };
        let read = || -> Result<Self> {
            let given = Genesis::from_json(&std::fs::read(path)?)?;
            let embedded = Self::of(args, GenesisTerms::of(&given))?;
            if let Some(what) = node::difference(&given, embedded.setup.genesis()) {
                bail!(
                    "this genesis differs in the {what} from a genesis of the given model and training text; pass the \
                     model and the text for which it was made"
                );
            }
            Ok(embedded)
        };
        read().with_context(|| format!("genesis file {}", path.display()))
    }

    /// Reads the model and the training text. Builds a genesis from them and from `terms` (chain ID, rules, accounts
    /// and so on).
    pub(crate) fn of(args: &JobArgs, terms: GenesisTerms) -> Result<Self> {
        let data_dir = paths::data_dir(args.data_dir.clone())?;
        let model_dir = model::dir(args.model.as_deref(), &data_dir)?;
        let model = model::read(&model_dir)?;
        let targets = model::targets(terms.rank as usize);
        let settings = Settings { learning_rate: 0.002, ..Settings::ADAMW };
        let (job, adapter) = job::create(&model, &targets, settings, terms.seed)?;
        let chunks = model::chunks(args, &model_dir, &model)?;
        note!(
            "Model {} with {} ternary weights, and {} chunks of {CHUNK_TOKENS} tokens.",
            job.model,
            model.config.ternary_weights(),
            chunks.len()
        );
        let (context, layout) = DisputeContext::for_job(&model, &targets, &job.matrices, job.transport);
        let layout_root = layout.root(&adapter.adapter, &job.matrices)?;
        let setup = Setup::new(terms, job, (context, layout_root), &adapter, chunks)?;
        let job_dir = data_dir.join(setup.folder());
        Ok(Self { model, targets, job_dir, data_dir, model_dir, setup, layout })
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.setup.genesis()
    }

    /// Opens the ledger, and starts the HTTP server and the operator. The operator recomputes gradients on the backend
    /// of `verifier`. Returns the node and the address on which it listens. If `args` does not state an address and the
    /// default port is in use, the system chooses a port.
    pub(crate) fn open(
        self,
        operator: SessionKey,
        verifier: &Compute,
        args: &ServeArgs,
        replica: &ReplicaArgs,
    ) -> Result<(Arc<Node>, SocketAddr)> {
        let worker =
            pollster::block_on(Worker::new(&self.model, &self.targets, &verifier.backend, operator::SEQUENCES))?;
        std::fs::create_dir_all(&self.job_dir).with_context(|| format!("creating {}", self.job_dir.display()))?;
        let node = Arc::new(Node::open(&self.job_dir, self.setup, args.min_fee)?);
        let engine = replica.consensus.as_deref().map(CometRpc::new).transpose()?;
        let serve = |listen| {
            let settings = server::ServerSettings {
                listen,
                folder: self.data_dir.clone(),
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
        let remote = Remote::node(&url(address))?.with_sources(BlockSources::gateways(&replica.gateway)?);
        let client = Client::new(remote, operator);
        let operator = Operator::new(client, worker)?.with_proposer(self.layout)?;
        let validator_key = engine.map(|engine| ValidatorKey::new(node.clone(), engine));
        let operator = operator.with_challenger(self.model, self.targets, verifier.backend.clone());
        operator::start(operator, validator_key)?;
        Ok((node, address))
    }
}

/// Returns the URL at which this process reaches its own node. `address` is the address on which the node listens. If
/// this address stands for all interfaces, as 0.0.0.0 does, the URL contains the loopback address.
pub(crate) fn url(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() && address.is_ipv4() => "127.0.0.1".to_owned(),
        ip if ip.is_unspecified() => "[::1]".to_owned(),
        ip if address.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}", address.port())
}
