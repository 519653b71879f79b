//! `node`: runs a node for which others can mine. The node is the only one of its network (a sequencer), or one of
//! several replicas.

use super::mine::verifier;
use crate::{
    compute::{self, ComputeArgs},
    consensus::{self, ReplicaArgs},
    interrupt::Interrupt,
    log::LogArgs,
    model::JobArgs,
    node::block_sync,
    output::{self, Exit, say},
    paths,
    server::ServeArgs,
    service::embedded::Embedded,
    wallet,
};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::{path::PathBuf, thread, time::Duration};

/// The interval at which the command checks whether Ctrl-C was pressed.
const TICK: Duration = Duration::from_millis(50);

#[derive(Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    serve: ServeArgs,
    /// Run a node of the network with this genesis file, which `genesis` has printed [default: a network of this
    /// machine alone]
    #[arg(long, value_name = "FILE", conflicts_with = "rank", env = "R3MES_GENESIS")]
    genesis: Option<PathBuf>,
    /// Sign as the operator with the key of this wallet [default: the operator key in the data folder, which is not
    /// encrypted]
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
    /// Read the wallet's passphrase from this file [default: the environment variable R3MES_PASSPHRASE, otherwise a
    /// prompt]
    #[arg(long, value_name = "FILE", requires = "wallet")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// Print one JSON object on stdout as soon as the node accepts connections
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the node until Ctrl-C is pressed.
pub(crate) fn run(args: &NodeArgs) -> Result<Exit> {
    args.log.start()?;
    let interrupt = Interrupt::listen();
    wallet::secrets::keep_out_of_dumps()?;
    let data_dir = paths::data_dir(args.job.data_dir.clone())?;
    let operator = wallet::operator_key(&data_dir, args.wallet.as_deref(), args.passphrase_file.as_deref())?;
    let embedded = Embedded::prepare(&args.job, args.genesis.as_deref(), &operator)?;
    let verifier = verifier(&compute::choose(&args.compute)?, args.compute.threads);
    let name = verifier.name.clone();
    let (node, address) = embedded.open(operator, &verifier, &args.serve, &args.replica)?;
    if !args.replica.gateway.is_empty() {
        block_sync::start(node.clone(), &args.replica.gateway)?;
    }
    let snapshot_blocks = args.replica.snapshot_blocks;
    let abci = args.replica.abci.map(|listen| consensus::serve(node.clone(), listen, snapshot_blocks)).transpose()?;
    let head = node.ledger().state().head().clone();
    if args.json {
        output::line(json!({
            "event": "listening", "url": format!("http://{address}"), "round": head.round,
            "accepted": head.accepted_total, "verifier": name, "abci": abci,
        }));
    } else {
        if let Some(abci) = abci {
            say!("waiting for CometBFT at tcp://{abci}");
        }
        say!("http://{address}/ · {} accepted, round {} · recomputing on {name}", head.accepted_total, head.round);
    }
    while !interrupt.is_requested() {
        thread::sleep(TICK);
    }
    Ok(Exit::Interrupted)
}
