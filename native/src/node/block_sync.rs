//! Fetches the data blocks that the ledger names and that this node lacks. In a network of several nodes they come from
//! gateways, such as those of the other nodes, as soon as blocks of the chain name them.

use super::Node;
use crate::{
    client::{runtime::random, sources::BlockSources},
    threads,
};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::{
    client::{Backoff, Blocks, FetchError},
    store::Cid,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tracing::warn;

/// The time between two checks for missing blocks.
const POLL: Duration = Duration::from_millis(50);

/// Starts a thread that fetches missing blocks from these gateways until the process ends.
pub(crate) fn start(node: Arc<Node>, gateways: &[String]) -> Result<()> {
    let sources = BlockSources::gateways(gateways)?.ignoring_absence();
    let sync = move || {
        let (mut attempts, mut seen) = (Attempts::new(), None);
        loop {
            let head = node.ledger().state().head().clone();
            // which blocks the ledger names can change only if one of these changes
            let names = Some((head.round, head.submissions));
            let now = Instant::now();
            if seen != names || attempts.values().any(|(due, _)| *due <= now) {
                seen = names;
                if let Err(error) = fetch_missing(&node, &sources, &mut attempts) {
                    warn!(error = %format_args!("{error:#}"), "block sync failed");
                }
            }
            thread::sleep(POLL);
        }
    };
    threads::start("block sync", sync)
}

/// Root of a missing block or DAG → when to request it next, and its backoff.
type Attempts = BTreeMap<Cid, (Instant, Backoff)>;

/// Requests all missing blocks whose next attempt is due.
fn fetch_missing(node: &Node, sources: &BlockSources, attempts: &mut Attempts) -> Result<()> {
    let missing = node.pin_ledger()?;
    attempts.retain(|root, _| missing.contains(root));
    let mut received = false;
    for root in missing {
        let now = Instant::now();
        if attempts.get(&root).is_some_and(|(due, _)| *due > now) {
            continue;
        }
        let fetch = || -> Result<()> { node.blocks().put(&block_on(Blocks::of_root(sources, &root))?.into_blocks()?) };
        match fetch() {
            Ok(()) => received = true,
            Err(error) => {
                let (due, backoff) = attempts.entry(root).or_insert((now, Backoff::default()));
                *due = now + Duration::from_millis(backoff.next_ms(random()).into());
                if backoff.is_longest() || !is_absence(&error) {
                    let error = format_args!("{error:#}");
                    warn!(%root, %error, "cannot fetch data that the ledger names; retrying");
                }
            }
        }
    }
    match received {
        true => node.pin_ledger().map(drop),
        false => Ok(()),
    }
}

/// Whether no gateway has the block. It may still be on its way to them.
fn is_absence(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(FetchError::Client(error)) if error.is_absence())
}
