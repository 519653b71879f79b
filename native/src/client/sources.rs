//! The places, besides the node, from which blocks are fetched and in which they are stored: gateways, Kubo daemons, a
//! pinning service, and a cache on disk.

#[cfg(test)]
mod tests;

use super::{agent::agent, transport::Remote};
use crate::{
    blocks::{BlockStore, Quota},
    output::note,
    wallet::secrets,
};
use anyhow::{Result, ensure};
use clap::Args;
use r3mes_wgpu::{
    client::{
        BlockCache, BlockSource, ChunkSink, ClientError, NoResponse, Response,
        blocks::CAR_CONTENT_TYPE,
        stores::{Kubo, PinningService, Stores},
    },
    store::{Block, Cid, MAX_BLOCK_BYTES, StoreError},
};
use std::{
    cell::{Cell, RefCell},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// The timeout of one request to a gateway. If a CAR (an archive of many blocks) takes longer, the download is cut off,
/// and the missing blocks are requested one by one.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of redirects that are followed for one request to a gateway. Redirects are harmless, because
/// every block is checked against its CID.
const REDIRECTS: u32 = 3;
/// The maximum size of the block cache on disk, in bytes: enough for a large adapter.
const CACHE_BYTES: u64 = 2 << 30;
/// The size in bytes of the buffer into which a response body is read piece by piece.
const READ_BYTES: usize = 64 << 10;
/// The size in bytes at which a batch of blocks is written to the cache. Blocks are collected in batches because every
/// write waits for the disk.
const BATCH_BYTES: usize = 16 << 20;

/// The flags of `mine` that name stores and gateways in addition to the node.
#[derive(Args, Clone)]
pub(crate) struct SourceArgs {
    /// With --node: before submitting an artifact, also store it in the Kubo daemon at this RPC address, such as
    /// http://127.0.0.1:5001; may be repeated
    #[arg(long, value_name = "URL", requires = "node", env = "R3MES_IPFS", value_delimiter = ',')]
    pub(crate) ipfs: Vec<String>,
    /// With --node: fetch a block from this trustless IPFS gateway if the node lacks it; may be repeated
    #[arg(long, value_name = "URL", requires = "node", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
    /// With --ipfs: before submitting an artifact, also pin it with the service at this URL (IPFS Pinning Service API)
    #[arg(long, value_name = "URL", requires = "ipfs")]
    pub(crate) pin_service: Option<String>,
    /// Read the pinning service's access token from this file [default: the environment variable R3MES_PIN_TOKEN]
    #[arg(long, value_name = "FILE", requires = "pin_service")]
    pub(crate) pin_token_file: Option<PathBuf>,
}

impl SourceArgs {
    /// Returns the stores that must hold an artifact before the artifact is submitted.
    pub(crate) fn stores(&self) -> Result<Stores<Remote>> {
        let kubo = |url: &String| Ok(Kubo::new(url.clone(), Remote::store("--ipfs", url, None)?));
        let kubos = self.ipfs.iter().map(kubo).collect::<Result<_>>()?;
        let service = self.pin_service.as_ref().map(|url| -> Result<_> {
            let token = secrets::token(self.pin_token_file.as_deref())?;
            Ok(PinningService::new(url.clone(), Remote::store("--pin-service", url, Some(token))?))
        });
        Ok(Stores::new(kubos, service.transpose()?))
    }
}

/// Checks that the value of a flag is an http(s) URL, and returns it without a trailing slash.
pub(crate) fn base_url(flag: &str, url: &str) -> Result<String> {
    ensure!(url.starts_with("http://") || url.starts_with("https://"), "{flag} {url}: not an http(s) URL");
    Ok(url.trim_end_matches('/').to_owned())
}

/// The gateways from which a connection fetches blocks, in the order in which it tries them, and a cache of blocks.
#[derive(Default)]
pub(crate) struct BlockSources {
    gateways: Vec<Gateway>,
    /// If true, nothing is printed when a gateway lacks a block or does not respond.
    ignores_absence: bool,
    cache: Option<BlockStore>,
    /// The batch of blocks that are collected for the cache but not written yet.
    unwritten: RefCell<Vec<Block>>,
}

/// An HTTP server that delivers blocks by CID. It need not be trusted, because every block is checked against its CID.
struct Gateway {
    url: String,
    agent: ureq::Agent,
    /// Whether the gateway has returned bytes that do not match the requested CID. If so, it is not used again.
    is_wrong: Cell<bool>,
}

impl Gateway {
    fn new(url: &str, timeout: Duration) -> Result<Self> {
        let url = base_url("--gateway", url)?;
        Ok(Self { agent: agent(&url, timeout, REDIRECTS)?, url, is_wrong: Cell::new(false) })
    }

    fn block(&self, path: &str) -> Result<Response, NoResponse> {
        let mut response = self.get(path, "application/vnd.ipld.raw")?;
        let status = response.status().as_u16();
        // reading one byte more than the largest block shows that a response is too large
        let body = response.body_mut().with_config().limit(MAX_BLOCK_BYTES as u64 + 1).read_to_vec();
        Ok(Response { status, body: body.map_err(|error| self.no_response(&error))? })
    }

    /// Requests a CAR (an archive of blocks). Stops reading when `sink` returns `Break`, because waiting for the end of
    /// the response could take long: the gateway may follow links to blocks that are not needed, and search for these
    /// blocks. For example, an artifact links to its task, but the task is not a part of the artifact.
    fn car(&self, path: &str, sink: ChunkSink<'_>) -> Result<u16, NoResponse> {
        let mut response = self.get(path, CAR_CONTENT_TYPE)?;
        if response.status().is_success() {
            read_chunks(response.body_mut(), sink);
        }
        Ok(response.status().as_u16())
    }

    fn get(&self, path: &str, accept: &str) -> Result<ureq::http::Response<ureq::Body>, NoResponse> {
        if self.is_wrong.get() {
            return Err(NoResponse(format!("the gateway {} returned wrong bytes and is no longer used", self.url)));
        }
        let request = self.agent.get(format!("{}{path}", self.url)).header("accept", accept);
        request.call().map_err(|error| self.no_response(&error))
    }

    fn no_response(&self, error: &ureq::Error) -> NoResponse {
        NoResponse(format!("{}: {error}", self.url))
    }
}

/// Passes a response body to `sink` in pieces as they arrive. Stops when `sink` returns `Break`, or when the body or
/// the connection ends.
pub(crate) fn read_chunks(body: &mut ureq::Body, sink: ChunkSink<'_>) {
    let (mut reader, mut chunk) = (body.as_reader(), vec![0; READ_BYTES]);
    while let Ok(bytes @ 1..) = reader.read(&mut chunk) {
        if sink(&chunk[..bytes]).is_break() {
            break;
        }
    }
}

impl BlockSources {
    /// Creates block sources from the URLs of gateways, without a cache.
    pub(crate) fn gateways(urls: &[String]) -> Result<Self> {
        let gateways = urls.iter().map(|url| Gateway::new(url, TIMEOUT)).collect::<Result<_>>()?;
        Ok(Self { gateways, ignores_absence: false, cache: None, unwritten: RefCell::default() })
    }

    /// Suppresses the messages about gateways that lack a block or do not respond.
    pub(crate) fn ignoring_absence(mut self) -> Self {
        self.ignores_absence = true;
        self
    }

    /// Creates block sources from the URLs of gateways, with the cache in the data folder. If the cache cannot be
    /// opened, prints the reason and does without a cache.
    pub(crate) fn open(gateways: &[String], data_dir: &Path) -> Result<Self> {
        let cache = data_dir.join("cache.redb");
        let quota = Quota { unpinned_bytes: CACHE_BYTES, total_bytes: CACHE_BYTES };
        let cache = BlockStore::open(&cache, quota).inspect_err(|error| {
            note!("{error:#}. Continuing without a block cache.");
        });
        let mut sources = Self::gateways(gateways)?;
        sources.cache = cache.ok();
        Ok(sources)
    }

    fn write_cache(&self) {
        let unwritten = self.unwritten.take();
        if let Some(cache) = self.cache.as_ref().filter(|_| !unwritten.is_empty())
            && let Err(error) = cache.put(&unwritten)
        {
            note!("Writing the block cache failed: {error:#}");
        }
    }
}

impl BlockSource for BlockSources {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        self.gateways.get(gateway).map(|gateway| gateway.block(path))
    }

    async fn stream(&self, gateway: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        self.gateways.get(gateway).map(|gateway| gateway.car(path, sink))
    }

    /// Prints why a gateway failed. If the gateway returned wrong bytes, it is not used again.
    fn gateway_failed(&self, gateway: usize, reason: &ClientError) {
        let Some(gateway) = self.gateways.get(gateway) else { return };
        match reason {
            ClientError::Store(error) if !matches!(error, StoreError::Missing(_)) => {
                gateway.is_wrong.set(true);
                note!("Gateway {} returned wrong bytes: {error}. It is no longer used.", gateway.url);
            }
            _ if gateway.is_wrong.get() || self.ignores_absence && reason.is_absence() => {}
            _ => note!("Gateway {} failed: {reason}", gateway.url),
        }
    }
}

impl BlockCache for BlockSources {
    async fn load_block(&self, cid: &Cid) -> Option<Vec<u8>> {
        if let Some(block) = self.unwritten.borrow().iter().find(|block| block.cid() == *cid) {
            return Some(block.bytes().to_vec());
        }
        self.cache.as_ref()?.get(cid).ok()
    }

    /// Adds a block to the batch for the cache. Writes the batch once it has [`BATCH_BYTES`] bytes.
    async fn cache_block(&self, cid: &Cid, bytes: &[u8]) {
        if self.cache.is_some()
            && let Ok(block) = Block::check(*cid, bytes.to_vec())
        {
            self.unwritten.borrow_mut().push(block);
        }
        if self.unwritten.borrow().iter().map(|block| block.bytes().len()).sum::<usize>() >= BATCH_BYTES {
            self.write_cache();
        }
    }
}

impl Drop for BlockSources {
    fn drop(&mut self) {
        self.write_cache();
    }
}
