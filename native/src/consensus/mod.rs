//! The ABCI application of a replica. CometBFT 0.38 orders the transactions and delivers blocks, and every replica
//! executes the blocks on its own copy of the ledger. docs/NETWORK.md describes how to run replicas.
//!
//! | ABCI method | What the node does |
//! |---|---|
//! | `Info` | reports the height and the root hash of the ledger on disk |
//! | `CheckTx` | admits a transaction to the mempool if it is valid and pays the node's minimum fee |
//! | `PrepareProposal` | builds a block of valid transactions |
//! | `ProcessProposal` | accepts a proposed block only if all its transactions are valid |
//! | `FinalizeBlock` | executes a block in memory and returns the ledger's root hash as the app hash |
//! | `Commit` | writes the executed block to disk in one database transaction |
//! | `Query` | answers a query with [`Ledger::query`](r3mes_wgpu::ledger::Ledger::query) |
//! | `ListSnapshots`, `LoadSnapshotChunk` | offers the ledger's rows to new replicas |
//! | `OfferSnapshot`, `ApplySnapshotChunk` | restores a ledger, and checks it against the app hash of the chain |
//!
//! <https://docs.cometbft.com/v0.38/spec/abci/>

mod app;
mod comet_rpc;
mod restore;
mod snapshots;
mod socket;
#[cfg(test)]
mod tests;
mod validator_key;

pub(crate) use comet_rpc::CometRpc;
pub(crate) use validator_key::ValidatorKey;

use crate::{node::Node, threads};
use anyhow::{Context, Result};
use app::AbciApp;
use clap::Args;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

/// Flags that make a node a replica: one of several nodes whose ledgers CometBFT keeps identical.
#[derive(Args, Clone, Default)]
pub(crate) struct ReplicaArgs {
    /// Run as a replica: listen on this address for the ABCI connections of a CometBFT 0.38 process, which produces the
    /// blocks
    #[arg(long, value_name = "ADDRESS:PORT", requires = "consensus", env = "R3MES_ABCI")]
    pub(crate) abci: Option<SocketAddr>,
    /// With --abci: forward transactions to the RPC that the connected CometBFT serves at this URL, such as
    /// http://127.0.0.1:26657
    #[arg(long, value_name = "URL", requires = "abci", env = "R3MES_CONSENSUS")]
    pub(crate) consensus: Option<String>,
    /// With --abci: every N blocks, take a snapshot of the ledger, from which new replicas can start
    #[arg(long, value_name = "N", requires = "abci", default_value_t = 1000)]
    pub(crate) snapshot_blocks: u64,
    /// Fetch missing data blocks from the trustless gateway at this URL, such as another replica or the gateway of a
    /// Kubo daemon; may be repeated
    #[arg(long, value_name = "URL", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
}

/// Starts threads that accept CometBFT's ABCI connections and answer their requests until the process ends. They also
/// take a snapshot of the ledger every `snapshot_blocks` blocks. Returns the address on which the node listens.
pub(crate) fn serve(node: Arc<Node>, listen: SocketAddr, snapshot_blocks: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening for ABCI connections on {listen}"))?;
    let address = listener.local_addr()?;
    let app = Arc::new(AbciApp::new(node, snapshot_blocks));
    threads::start("abci", move || socket::run(&listener, &app))?;
    Ok(address)
}
