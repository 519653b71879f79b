//! Fetches missing data blocks: the chunks, adapters and artifacts whose CIDs are in the ledger, if this node has not
//! stored them. In a network of several nodes, a transaction can contain the CID of data that was stored on another
//! node. As soon as the transaction is in the chain, this node fetches the data from gateways, such as the other nodes.

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

/// Starts a thread that fetches missing data blocks from `gateways` until the process ends.
pub(crate) fn start(node: Arc<Node>, gateways: &[String]) -> Result<()> {
    let sources = BlockSources::gateways(gateways)?.ignoring_absence();
    let sync = move || {
        let (mut attempts, mut seen) = (Attempts::new(), None);
        loop {
            let head = node.ledger().state().head().clone();
            // the data that the ledger names changes only if the round or the number of submissions changes
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

/// The missing data whose last request failed. Each key is the CID of the data's root block. Each value is the time of
/// the next request, and the backoff that determines the delays between requests.
type Attempts = BTreeMap<Cid, (Instant, Backoff)>;

/// Requests the missing data blocks whose next request is due, and pins those that arrive.
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

/// Returns whether a fetch failed only because the gateways did not have a data block or did not respond. A later
/// attempt may then succeed, because a gateway may have received the block in the meantime.
fn is_absence(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(FetchError::Client(error)) if error.is_absence())
}
