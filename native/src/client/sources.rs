//! Where blocks come from and go to beside the node: gateways, Kubos, a pinning service, and a cache of one's own.

#[cfg(test)]
mod tests;

use super::transport::Remote;
use crate::{
    node::blocks::{BlockStore, Quota},
    wallet::secrets,
};
use anyhow::{Result, ensure};
use clap::Args;
use r3mes_wgpu::{
    client::{
        ClientError, Offline, Response, Take,
        gateway::CAR_KIND,
        stores::{Kubo, Pinning, Stores},
    },
    store::{Block, Cid, MAX_BLOCK_BYTES, StoreError},
};
use std::{
    cell::{Cell, RefCell},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a gateway may take for a block of a megabyte, or for as much of a DAG as comes by then.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Redirections of a gateway that are followed: what comes is checked, wherever it comes from.
const REDIRECTS: u32 = 3;
/// Most bytes of blocks that are kept for the next task: those of a large adapter.
const CACHE_BYTES: u64 = 2 << 30;
/// Most bytes that are read together.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of blocks that are written to the cache together: each writing waits for the disk.
const BATCH_BYTES: usize = 16 << 20;

/// Which of them.
#[derive(Args, Clone)]
pub(crate) struct SourceArgs {
    /// With --node: also put every artifact into the Kubo at this RPC address, like http://127.0.0.1:5001, before it is
    /// submitted; may be repeated
    #[arg(long, value_name = "URL", requires = "node", env = "R3MES_IPFS", value_delimiter = ',')]
    pub(crate) ipfs: Vec<String>,
    /// With --node: where the node lacks a block, ask this trustless gateway; may be repeated
    #[arg(long, value_name = "URL", requires = "node", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
    /// With --ipfs: also have every artifact pinned by this service (IPFS Pinning Service API) before it is submitted
    #[arg(long, value_name = "URL", requires = "ipfs")]
    pub(crate) pin_service: Option<String>,
    /// A file with the service's token [default: R3MES_PIN_TOKEN of the environment]
    #[arg(long, value_name = "FILE", requires = "pin_service")]
    pub(crate) pin_token_file: Option<PathBuf>,
}

impl SourceArgs {
    /// The stores that an artifact must be in before it is submitted.
    pub(crate) fn stores(&self) -> Result<Stores<Remote>> {
        let kubo = |url: &String| Ok(Kubo::new(url.clone(), Remote::store("--ipfs", url, None)?));
        let kubos = self.ipfs.iter().map(kubo).collect::<Result<_>>()?;
        let service = self.pin_service.as_ref().map(|url| -> Result<_> {
            let token = secrets::token(self.pin_token_file.as_deref())?;
            Ok(Pinning::new(url.clone(), Remote::store("--pin-service", url, Some(token))?))
        });
        Ok(Stores::new(kubos, service.transpose()?))
    }
}

/// That a flag's value is an http(s) URL; without a slash at its end.
pub(crate) fn base(flag: &str, url: &str) -> Result<String> {
    ensure!(url.starts_with("http://") || url.starts_with("https://"), "{flag} {url}: not an http(s) URL");
    Ok(url.trim_end_matches('/').to_owned())
}

/// Where blocks come from beside the node, or to one.
#[derive(Default)]
pub(crate) struct Sources {
    gateways: Vec<Gateway>,
    cache: Option<BlockStore>,
    /// On their way into the cache.
    waiting: RefCell<Vec<Block>>,
}

/// A gateway by its URL.
struct Gateway {
    url: String,
    agent: ureq::Agent,
    /// It gave other bytes than a name's: it is asked no more.
    lied: Cell<bool>,
}

impl Gateway {
    fn new(url: &str, timeout: Duration) -> Result<Self> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(REDIRECTS)
            .http_status_as_error(false)
            .build();
        Ok(Self { url: base("--gateway", url)?, agent: config.new_agent(), lied: Cell::new(false) })
    }

    fn ask(&self, path: &str) -> Result<Response, Offline> {
        let mut answer = self.get(path, "application/vnd.ipld.raw")?;
        let status = answer.status().as_u16();
        // one more than a block has is enough to refuse it
        let body = answer.body_mut().with_config().limit(MAX_BLOCK_BYTES as u64 + 1).read_to_vec();
        Ok(Response { status, body: body.map_err(|error| self.offline(&error))? })
    }

    /// Waits for nothing after enough: a gateway may look for what the manifest links beside its parts.
    fn stream(&self, path: &str, take: Take<'_>) -> Result<u16, Offline> {
        let mut answer = self.get(path, CAR_KIND)?;
        if answer.status().is_success() {
            pour(answer.body_mut(), take);
        }
        Ok(answer.status().as_u16())
    }

    fn get(&self, path: &str, kind: &str) -> Result<ureq::http::Response<ureq::Body>, Offline> {
        if self.lied.get() {
            return Err(Offline(format!("{}: it gave wrong bytes before", self.url)));
        }
        let request = self.agent.get(format!("{}{path}", self.url)).header("accept", kind);
        request.call().map_err(|error| self.offline(&error))
    }

    fn offline(&self, error: &ureq::Error) -> Offline {
        Offline(format!("{}: {error}", self.url))
    }
}

/// Gives away bytes as they come, until `take` breaks or they do.
pub(crate) fn pour(body: &mut ureq::Body, take: Take<'_>) {
    let (mut reader, mut piece) = (body.as_reader(), vec![0; PIECE_BYTES]);
    while let Ok(bytes @ 1..) = reader.read(&mut piece) {
        if take(&piece[..bytes]).is_break() {
            break;
        }
    }
}

impl Sources {
    /// Gateways alone.
    pub(crate) fn gateways(urls: &[String]) -> Result<Self> {
        let gateways = urls.iter().map(|url| Gateway::new(url, TIMEOUT)).collect::<Result<_>>()?;
        Ok(Self { gateways, cache: None, waiting: RefCell::default() })
    }

    /// Gateways, and the cache in the data folder.
    pub(crate) fn open(gateways: &[String], data_dir: &Path) -> Result<Self> {
        let cache = data_dir.join("cache.redb");
        let quota = Quota { loose_bytes: CACHE_BYTES, total_bytes: CACHE_BYTES };
        let cache = BlockStore::open(&cache, quota).inspect_err(|error| {
            eprintln!("{error:#}; going on without a cache");
        });
        let mut sources = Self::gateways(gateways)?;
        sources.cache = cache.ok();
        Ok(sources)
    }

    /// As [`Host::gateway`](r3mes_wgpu::client::Host::gateway), counted from the first after the node.
    pub(crate) fn ask(&self, at: usize, path: &str) -> Option<Result<Response, Offline>> {
        self.gateways.get(at).map(|gateway| gateway.ask(path))
    }

    /// As [`Host::dag`](r3mes_wgpu::client::Host::dag), counted so too.
    pub(crate) fn stream(&self, at: usize, path: &str, take: Take<'_>) -> Option<Result<u16, Offline>> {
        self.gateways.get(at).map(|gateway| gateway.stream(path, take))
    }

    /// Says why a gateway was passed over, once where it lied.
    pub(crate) fn passed_over(&self, at: usize, why: &ClientError) {
        let Some(gateway) = self.gateways.get(at) else { return };
        match why {
            ClientError::Store(error) if !matches!(error, StoreError::Missing(_)) => {
                gateway.lied.set(true);
                eprintln!("{}: {error}; it is asked no more", gateway.url);
            }
            _ if gateway.lied.get() => {}
            _ => eprintln!("{}: {why}", gateway.url),
        }
    }

    /// A block of the cache.
    pub(crate) fn kept(&self, cid: &Cid) -> Option<Vec<u8>> {
        if let Some(block) = self.waiting.borrow().iter().find(|block| block.cid() == *cid) {
            return Some(block.bytes().to_vec());
        }
        self.cache.as_ref()?.get(cid).ok()
    }

    /// Puts a checked block into the cache, soon.
    pub(crate) fn keep(&self, cid: &Cid, bytes: &[u8]) {
        if self.cache.is_some()
            && let Ok(block) = Block::check(*cid, bytes.to_vec())
        {
            self.waiting.borrow_mut().push(block);
        }
        if self.waiting.borrow().iter().map(|block| block.bytes().len()).sum::<usize>() >= BATCH_BYTES {
            self.write();
        }
    }

    fn write(&self) {
        let waiting = self.waiting.take();
        if let Some(cache) = self.cache.as_ref().filter(|_| !waiting.is_empty())
            && let Err(error) = cache.put(&waiting)
        {
            eprintln!("the cache of blocks: {error:#}");
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.write();
    }
}
