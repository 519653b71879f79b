//! The node by itself: it settles what miners elsewhere submit.

use super::mine::verifier;
use crate::{
    cli::NodeArgs,
    compute, consensus,
    interrupt::Interrupt,
    node::{block_sync, embedded::Embedded},
    output::{self, Exit, say},
};
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// Serves until Ctrl-C.
pub(crate) fn run(args: &NodeArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let embedded = Embedded::prepare(&args.job, args.genesis.as_deref())?;
    let verifier = verifier(&compute::choose(&args.compute)?, args.compute.threads);
    let name = verifier.name.clone();
    let (node, address) = embedded.open(&verifier, &args.serve, &args.replica)?;
    if !args.replica.gateway.is_empty() {
        block_sync::start(node.clone(), &args.replica.gateway)?;
    }
    let snapshot_blocks = args.replica.snapshot_blocks;
    let abci = args.replica.abci.map(|listen| consensus::serve(node.clone(), listen, snapshot_blocks)).transpose()?;
    let head = node.ledger().state().scalars().clone();
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
    while !interrupt.asked() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Exit::Interrupted)
}
