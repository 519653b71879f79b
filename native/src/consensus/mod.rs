//! A node that a consensus engine drives: CometBFT 0.38 orders transactions and hands over blocks by ABCI, and this node is
//! one of many that have the same ledger. docs/NETWORK.md says how to run them.
//!
//! | ABCI | here |
//! |---|---|
//! | `Info` | height and root of the ledger on disk |
//! | `CheckTx` | the node's admission, by its own least fee |
//! | `PrepareProposal`, `ProcessProposal` | a block is of transactions that can pay and are in order |
//! | `FinalizeBlock` | runs a block in memory; the root is the app hash |
//! | `Commit` | one durable transaction of the disk |
//! | `Query` | the questions of [`Ledger::query`](r3mes_wgpu::ledger::Ledger::query) |
//! | snapshots | the ledger's rows, checked against the app hash that a light client knows |
//!
//! <https://docs.cometbft.com/v0.38/spec/abci/>

mod app;
mod engine;
mod restoring;
mod server;
mod snapshots;
#[cfg(test)]
mod tests;

pub(crate) use engine::Engine;

use crate::{node::Node, threads};
use anyhow::{Context, Result};
use app::App;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

/// Listens for an engine and answers it in threads of its own, for as long as the process lives; returns where. Every
/// `snapshot_blocks` blocks a snapshot is taken.
pub(crate) fn serve(node: Arc<Node>, listen: SocketAddr, snapshot_blocks: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening for ABCI on {listen}"))?;
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(node, snapshot_blocks));
    threads::start("abci", move || server::run(&listener, &app))?;
    Ok(address)
}
