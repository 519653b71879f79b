//! The bytes that the ledger names and that are not here: a node that others submit to as well gets them from gateways,
//! those of other nodes or any that IPFS has, as soon as blocks name them.

use super::Node;
use crate::{client::sources::Sources, threads};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::{
    client::{Blocks, ClientError, FetchError, Host, Offline, Request, Response, Take},
    store::{Cid, StoreError},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Between two looks for what is lacking.
const IDLE: Duration = Duration::from_millis(50);
/// After the first attempt to get something that nobody had; doubled after each other.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Gets what is lacking, in a thread of its own that ends with the process.
pub(crate) fn start(node: Arc<Node>, gateways: &[String]) -> Result<()> {
    let host = Elsewhere(Sources::gateways(gateways)?);
    let fill = move || {
        let (mut tried, mut seen) = (Tried::new(), None);
        loop {
            let head = node.ledger().state().scalars().clone();
            // what the ledger names changes with these
            let names = Some((head.round, head.submissions));
            let now = Instant::now();
            if seen != names || tried.values().any(|(due, _)| *due <= now) {
                seen = names;
                if let Err(error) = fill(&node, &host, &mut tried) {
                    eprintln!("node: getting blocks: {error:#}");
                }
            }
            thread::sleep(IDLE);
        }
    };
    threads::start("fill", fill)
}

/// When something is to be asked for next, and how long to wait after that.
type Tried = BTreeMap<Cid, (Instant, Duration)>;

/// Asks for everything that is lacking and due.
fn fill(node: &Node, host: &Elsewhere, tried: &mut Tried) -> Result<()> {
    let lacking = node.keep()?;
    tried.retain(|root, _| lacking.contains(root));
    let mut came = false;
    for root in lacking {
        let now = Instant::now();
        if tried.get(&root).is_some_and(|(due, _)| *due > now) {
            continue;
        }
        let get = || -> Result<()> { node.blocks().put(&block_on(Blocks::of_root(host, &root))?.into_blocks()?) };
        match get() {
            Ok(()) => came = true,
            Err(error) => {
                let pause = tried.get(&root).map_or(PAUSE, |(_, pause)| (*pause * 2).min(LONGEST_PAUSE));
                if pause == LONGEST_PAUSE || !is_absent(&error) {
                    eprintln!("node: {root} is not to be had: {error:#}");
                }
                tried.insert(root, (now + pause, pause));
            }
        }
    }
    match came {
        true => node.keep().map(drop),
        false => Ok(()),
    }
}

/// Whether others may just not have it yet.
fn is_absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(FetchError::Client(error)) if is_passing(error))
}

fn is_passing(error: &ClientError) -> bool {
    matches!(error, ClientError::Store(StoreError::Missing(_)) | ClientError::Offline(_))
}

/// Gateways, and nothing else.
struct Elsewhere(Sources);

impl Host for Elsewhere {
    async fn request(&self, _request: Request<'_>) -> Result<Response, Offline> {
        Err(Offline("gateways alone are asked".to_owned()))
    }

    async fn gateway(&self, at: usize, path: &str) -> Option<Result<Response, Offline>> {
        self.0.ask(at, path)
    }

    async fn dag(&self, at: usize, path: &str, take: Take<'_>) -> Option<Result<u16, Offline>> {
        self.0.stream(at, path, take)
    }

    fn passed_over(&self, at: usize, why: &ClientError) {
        if !is_passing(why) {
            self.0.passed_over(at, why);
        }
    }

    async fn sleep(&self, milliseconds: u32) {
        thread::sleep(Duration::from_millis(milliseconds.into()));
    }
}
