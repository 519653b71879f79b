//! HTTP connections to nodes and to stores.

use super::{
    agent::{NODE_REDIRECTS, agent},
    runtime::retry,
    sources::{self, BlockSources, base_url},
};
use crate::{
    interrupt::Interrupt,
    model,
    output::{Exit, note},
    paths,
    wallet::secrets::Secret,
};
use anyhow::{Context, Result, bail, ensure};
use pollster::block_on;
use r3mes_wgpu::{
    client::{
        BlockCache, BlockSource, ChunkSink, Client, ClientError, Connection, EndpointError, Endpoints, JobInfo,
        MAX_RESPONSE_BYTES, NoResponse, Request, Response, Timer, WorkFile, blocks::CAR_CONTENT_TYPE,
    },
    model::{config::Linear, manifest::model_manifest, transformer::Targets, weights::Model},
    store::Cid,
};
use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

/// The timeout of a request to a node or a store.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to one store, or to several nodes of the same chain, one of which is used at a time.
pub(crate) struct Remote {
    endpoints: Endpoints,
    /// The HTTP client of each endpoint.
    agents: Vec<ureq::Agent>,
    /// Path of the work file, which keeps a computed gradient until it is accepted; `None` if gradients are not kept.
    work_file: Option<PathBuf>,
    sources: BlockSources,
    /// The access token that is sent with every request, if a store demands one.
    token: Option<Secret>,
}

impl Remote {
    /// Creates a connection to nodes without sending anything yet. The first node is used until it fails.
    pub(crate) fn nodes_at(urls: &[String]) -> Result<Self> {
        let urls = urls.iter().map(|url| base_url("--node", url)).collect::<Result<Vec<_>>>()?;
        Self::new(urls, NODE_REDIRECTS, None)
    }

    /// Creates a connection to one node without sending anything yet.
    pub(crate) fn node(url: &str) -> Result<Self> {
        Self::nodes_at(&[url.to_owned()])
    }

    /// Creates a connection to the store at `url`. `flag` is the name of the command-line flag that contained the URL;
    /// error messages state it. The connection follows no redirects, so no other server receives the access token or
    /// the data blocks.
    pub(crate) fn store(flag: &str, url: &str, token: Option<Secret>) -> Result<Self> {
        Self::new(vec![base_url(flag, url)?], 0, token)
    }

    fn new(urls: Vec<String>, redirects: u32, token: Option<Secret>) -> Result<Self> {
        let agents = urls.iter().map(|url| agent(url, TIMEOUT, redirects)).collect::<Result<_>>()?;
        let endpoints = Endpoints::new(urls);
        Ok(Self { endpoints, agents, work_file: None, sources: BlockSources::default(), token })
    }

    /// Makes the connection keep each computed gradient in the work file at `path` until the gradient is accepted.
    pub(crate) fn saving(self, path: PathBuf) -> Self {
        Self { work_file: Some(path), ..self }
    }

    /// Makes the connection fetch blocks from the gateways and the cache in `sources` too.
    pub(crate) fn with_sources(self, sources: BlockSources) -> Self {
        Self { sources, ..self }
    }

    /// Sends a request to every node. Prints which nodes cannot be used now, and returns an error if the nodes belong
    /// to different chains.
    pub(crate) fn check_nodes(&self) -> Result<()> {
        for error in block_on(self.endpoints.check_all(async |node, request| self.send(node, request))) {
            match error {
                EndpointError::OtherChain { .. } => return Err(error.into()),
                error => note!("{error}"),
            }
        }
        Ok(())
    }

    fn send(&self, node: usize, request: Request<'_>) -> Result<Response, NoResponse> {
        let url = &self.endpoints.names()[node];
        let no_response = |error: ureq::Error| NoResponse(format!("{url}: {error}"));
        let url = format!("{url}{}", request.path);
        let mut response = match request.body {
            None => self.authorized(self.agents[node].get(&url)).call(),
            Some((kind, bytes)) => {
                self.authorized(self.agents[node].post(&url)).header("content-type", kind).send(bytes)
            }
        }
        .map_err(no_response)?;
        let status = response.status().as_u16();
        match response.body_mut().with_config().limit(MAX_RESPONSE_BYTES as u64).read_to_vec() {
            Ok(body) => Ok(Response { status, body }),
            // a retry would receive the same response, so this is reported as an error status
            Err(ureq::Error::BodyExceedsLimit(limit)) => {
                let body = format!("the response of {url} exceeds {limit} bytes");
                Ok(Response { status: 413, body: body.into_bytes() })
            }
            Err(error) => Err(no_response(error)),
        }
    }

    fn stream_car(&self, node: usize, path: &str, sink: ChunkSink<'_>) -> Result<u16, NoResponse> {
        let url = format!("{}{path}", self.endpoints.names()[node]);
        let request = self.authorized(self.agents[node].get(&url)).header("accept", CAR_CONTENT_TYPE);
        let mut response = request.call().map_err(|error| NoResponse(format!("{url}: {error}")))?;
        if response.status().is_success() {
            let mut is_complete = false;
            // reads once more after the last block, because a connection can be reused only after the body has ended
            sources::read_chunks(response.body_mut(), &mut |bytes| {
                if is_complete {
                    return ControlFlow::Break(());
                }
                is_complete = sink(bytes).is_break();
                ControlFlow::Continue(())
            });
        }
        Ok(response.status().as_u16())
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.text())),
            None => request,
        }
    }
}

impl Connection for Remote {
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse> {
        self.endpoints.request(request, async |node, request| self.send(node, request)).await
    }

    fn node_count(&self) -> u32 {
        self.endpoints.names().len() as u32
    }

    fn fail_over(&self) {
        self.endpoints.fail_over();
    }

    fn observe_height(&self, height: u64) {
        self.endpoints.observe_height(height);
    }
}

/// Makes a connection a source of blocks. The number `gateway` selects where a block is requested: 0 stands for the
/// node itself, and 1, 2 and so on stand for the gateways of [`BlockSources`].
impl BlockSource for Remote {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        match gateway.checked_sub(1) {
            None => Some(self.request(Request::get(path)).await),
            Some(gateway) => self.sources.get(gateway, path).await,
        }
    }

    async fn stream(&self, gateway: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        let Some(gateway) = gateway.checked_sub(1) else {
            let node = self.endpoints.current(async |node, request| self.send(node, request)).await;
            return Some(node.and_then(|node| self.stream_car(node, path, sink)));
        };
        self.sources.stream(gateway, path, sink).await
    }

    fn gateway_failed(&self, gateway: usize, reason: &ClientError) {
        if let Some(gateway) = gateway.checked_sub(1) {
            self.sources.gateway_failed(gateway, reason);
        }
    }
}

impl BlockCache for Remote {
    async fn load_block(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.sources.load_block(cid).await
    }

    async fn cache_block(&self, cid: &Cid, bytes: &[u8]) {
        self.sources.cache_block(cid, bytes).await;
    }
}

impl Timer for Remote {
    async fn sleep(&self, milliseconds: u32) {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
    }
}

impl WorkFile for Remote {
    async fn load_work(&self) -> Option<Vec<u8>> {
        fs::read(self.work_file.as_ref()?).ok()
    }

    async fn save_work(&self, bytes: &[u8]) {
        let Some(path) = &self.work_file else { return };
        if let Err(error) = paths::write_whole(path, bytes) {
            note!("{error:#}. The gradient is not saved; after a restart, the miner must compute it again.");
        }
    }
}

/// Returns the node's job, and the linear layers that the job adapts. Retries until a node responds, and returns `None`
/// after Ctrl-C.
pub(crate) fn job(client: &Client<Remote>, interrupt: &Interrupt) -> Result<Option<(JobInfo, Targets)>> {
    if client.host().node_count() > 1 {
        client.host().check_nodes()?;
    }
    let job = retry(client, interrupt, async || client.job().await);
    let Some(job) = job.context("requesting the node's job")? else { return Ok(None) };
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let Some(linears) = job.targets.iter().map(linear).collect::<Option<Vec<_>>>() else {
        bail!(
            "this program does not know all layers that the node's job adapts ({}); use a newer version of the program",
            job.targets.join(", ")
        );
    };
    let targets = Targets { rank: job.rank as usize, linears };
    Ok(Some((job, targets)))
}

/// Returns the model whose manifest has the CID `cid`. Reads the model from the data folder or, if it is not there,
/// downloads it from the node. Checks it against the CID in both cases. Returns `None` after Ctrl-C.
pub(crate) fn model(
    client: &Client<Remote>,
    cid: &str,
    data_dir: &Path,
    interrupt: &Interrupt,
) -> Result<Option<Model>> {
    ensure!(
        cid.chars().all(|letter| letter.is_ascii_alphanumeric()),
        "the CID of the node's model is malformed: {cid:?}"
    );
    let dir = data_dir.join("models").join(cid);
    let files = ["config.json", "model.safetensors"];
    let checked = |dir: &Path| -> Result<Option<Model>> {
        let model = model::read(dir)?;
        let found = model_manifest(&model)?.cid().to_string();
        ensure!(found == cid, "the model in {} has the CID {found}, not {cid}", dir.display());
        Ok(Some(model))
    };
    if files.iter().all(|name| dir.join(name).exists()) {
        return checked(&dir);
    }
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    for name in files {
        let bytes = retry(client, interrupt, async || client.model_file(name).await)?;
        let Some(bytes) = bytes else { return Ok(None) };
        paths::write_whole(&dir.join(name), &bytes)?;
    }
    checked(&dir).inspect_err(|_| {
        for name in files {
            // removes wrong files; if that fails, the next check finds them
            let _ = fs::remove_file(dir.join(name));
        }
    })
}

/// Returns the result of a request. If the node or the ledger refused the request, adds [`Exit::Refused`] to the error,
/// so that the program exits with the code for refusals.
pub(crate) fn exit_if_refused<T>(result: Result<T, ClientError>) -> Result<T> {
    match result {
        Err(error @ (ClientError::Refused { .. } | ClientError::Failed { .. })) => Err(error).context(Exit::Refused),
        result => Ok(result?),
    }
}
