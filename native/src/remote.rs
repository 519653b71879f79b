//! A node by its URL, over HTTP.

use super::{
    model, place,
    sources::{Sources, base},
    wallet::secrets::Secret,
};
use anyhow::{Context, Result, ensure};
use pollster::block_on;
use r3mes_wgpu::chain::client::{Client, ClientError, Host, MAX_ANSWER_BYTES, Offline, Request, Response};
use r3mes_wgpu::model::weights::Model;
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::model_manifest;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest wait between two attempts to reach the node.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A node by its URL, or a store.
pub(crate) struct Remote {
    url: String,
    agent: ureq::Agent,
    /// Where the work at hand is saved; nowhere for a store, or for those who have none.
    saved: Option<PathBuf>,
    sources: Sources,
    /// What a service knows its customers by.
    token: Option<Secret>,
}

impl Remote {
    /// A node. Asks nothing yet.
    pub(crate) fn new(url: &str, saved: PathBuf) -> Result<Self> {
        Ok(Self { saved: Some(saved), ..Self::for_role(url)? })
    }

    /// A node, for those who save nothing.
    pub(crate) fn for_role(url: &str) -> Result<Self> {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        let url = base("--node", url)?;
        Ok(Self { url, agent: config.new_agent(), saved: None, sources: Sources::default(), token: None })
    }

    /// A store. What it is told goes nowhere else: it can not redirect.
    pub(crate) fn store(flag: &str, url: &str, token: Option<Secret>) -> Result<Self> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        let url = base(flag, url)?;
        Ok(Self { url, agent: config.new_agent(), saved: None, sources: Sources::default(), token })
    }

    /// The same, with more places that blocks come from.
    pub(crate) fn with_sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.text())),
            None => request,
        }
    }
}

impl Host for Remote {
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline> {
        let offline = |error: ureq::Error| Offline(format!("{}: {error}", self.url));
        let url = format!("{}{}", self.url, request.path);
        let mut response = match request.body {
            None => self.authorized(self.agent.get(&url)).call(),
            Some((kind, bytes)) => self.authorized(self.agent.post(&url)).header("content-type", kind).send(bytes),
        }
        .map_err(offline)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES as u64).read_to_vec().map_err(offline)?;
        Ok(Response { status, body })
    }

    async fn gateway(&self, at: usize, path: &str) -> Option<Result<Response, Offline>> {
        match at.checked_sub(1) {
            None => Some(self.request(Request { path, body: None }).await),
            Some(at) => self.sources.ask(at, path),
        }
    }

    fn passed_over(&self, at: usize, why: &ClientError) {
        if let Some(at) = at.checked_sub(1) {
            self.sources.passed_over(at, why);
        }
    }

    async fn sleep(&self, milliseconds: u32) {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
    }

    async fn kept(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.sources.kept(cid)
    }

    async fn keep(&self, cid: &Cid, bytes: &[u8]) {
        self.sources.keep(cid, bytes);
    }

    async fn saved(&self) -> Option<Vec<u8>> {
        fs::read(self.saved.as_ref()?).ok()
    }

    async fn save(&self, bytes: &[u8]) {
        let Some(path) = &self.saved else { return };
        // without it, a restart computes the task again
        if let Err(error) = place::write_whole(path, bytes) {
            eprintln!("{error:#}");
        }
    }
}

/// 1, 2, 4 … 60 seconds, each shortened at random by up to a half, so that miners do not return all at once.
pub(crate) fn backoff(failures: u32) -> Duration {
    let whole = Duration::from_secs(1 << (failures - 1).min(6)).min(MAX_BACKOFF);
    let mut random = [0; 1];
    // without randomness the whole wait is as good
    let share = getrandom::fill(&mut random).map_or(255, |()| random[0]);
    whole / 2 + whole * u32::from(share) / 510
}

/// The node's model, from the data folder if it is there, else from the node; checked by its manifest either way.
pub(crate) fn download(client: &Client<Remote>, cid: &str, data_dir: &Path) -> Result<Model> {
    ensure!(cid.chars().all(|letter| letter.is_ascii_alphanumeric()), "the node names its model {cid:?}");
    let dir = data_dir.join("models").join(cid);
    let files = ["config.json", "model.safetensors"];
    let checked = |dir: &Path| -> Result<Model> {
        let model = model::read(dir)?;
        let found = model_manifest(&model)?.cid().to_string();
        ensure!(found == cid, "the model in {} is {found}, not {cid}", dir.display());
        Ok(model)
    };
    if files.iter().all(|name| dir.join(name).exists()) {
        return checked(&dir);
    }
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    for name in files {
        place::write_whole(&dir.join(name), &block_on(client.model_file(name))?)?;
    }
    checked(&dir).inspect_err(|_| {
        for name in files {
            // what is wrong is not kept; if it can not be removed, the next check says so
            let _ = fs::remove_file(dir.join(name));
        }
    })
}
