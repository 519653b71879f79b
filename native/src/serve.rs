//! The node by itself: it settles what miners elsewhere submit.

use super::{
    cli::NodeArgs,
    compute,
    embedded::Embedded,
    interrupt::Interrupt,
    mine::verifier,
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
    let (node, address) = embedded.open(&verifier, &args.serve)?;
    let head = node.ledger().state().scalars().clone();
    if args.json {
        output::line(json!({
            "event": "listening", "url": format!("http://{address}"), "round": head.round,
            "accepted": head.accepted_total, "verifier": name,
        }));
    } else {
        say!("http://{address}/ · {} accepted, round {} · recomputing on {name}", head.accepted_total, head.round);
    }
    while !interrupt.asked() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Exit::Interrupted)
}
