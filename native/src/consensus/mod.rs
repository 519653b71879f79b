//! The ABCI application of a replica: CometBFT 0.38 orders transactions and delivers blocks, and every replica executes
//! them on its own copy of the ledger. docs/NETWORK.md describes how to run replicas.
//!
//! | ABCI method | What the node does |
//! |---|---|
//! | `Info` | reports height and root of the ledger on disk |
//! | `CheckTx` | admits a transaction to the mempool if it pays the node's minimum fee |
//! | `PrepareProposal`, `ProcessProposal` | builds or accepts a block of transactions that pay and are in sequence |
//! | `FinalizeBlock` | executes a block in memory; the app hash is the root of the ledger |
//! | `Commit` | writes the block to disk in one transaction |
//! | `Query` | answers the paths of [`Ledger::query`](r3mes_wgpu::ledger::Ledger::query) |
//! | snapshot methods | serve and restore the ledger's rows, checked against the app hash that a light client verified |
//!
//! <https://docs.cometbft.com/v0.38/spec/abci/>

mod app;
mod comet_rpc;
mod restore;
mod snapshots;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use comet_rpc::CometRpc;

use crate::{node::Node, threads};
use anyhow::{Context, Result};
use app::AbciApp;
use clap::Args;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

/// Flags that make a node a replica, one of several nodes that CometBFT keeps in agreement.
#[derive(Args, Clone, Default)]
pub(crate) struct ReplicaArgs {
    /// Run as one replica of many: listen here for a CometBFT 0.38, which connects by ABCI and produces the blocks
    #[arg(long, value_name = "ADDRESS:PORT", requires = "consensus", env = "R3MES_ABCI")]
    pub(crate) abci: Option<SocketAddr>,
    /// With --abci: forward transactions to the RPC of that CometBFT, such as http://127.0.0.1:26657
    #[arg(long, value_name = "URL", requires = "abci", env = "R3MES_CONSENSUS")]
    pub(crate) consensus: Option<String>,
    /// With --abci: take a snapshot for new replicas every N blocks
    #[arg(long, value_name = "N", requires = "abci", default_value_t = 1000)]
    pub(crate) snapshot_blocks: u64,
    /// Fetch data that the ledger names and this node lacks from this trustless gateway, such as the URL of another
    /// replica or the gateway of a Kubo daemon; may be repeated
    #[arg(long, value_name = "URL", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
}

/// Listens for CometBFT's ABCI connections and answers their requests, in threads that run until the process ends.
/// Takes a snapshot every `snapshot_blocks` blocks. Returns the address that it listens on.
pub(crate) fn serve(node: Arc<Node>, listen: SocketAddr, snapshot_blocks: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening for ABCI on {listen}"))?;
    let address = listener.local_addr()?;
    let app = Arc::new(AbciApp::new(node, snapshot_blocks));
    threads::start("abci", move || socket::run(&listener, &app))?;
    Ok(address)
}
