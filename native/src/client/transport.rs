//! Nodes by their URLs, over HTTP.

use super::{
    retry::RetryPolicy,
    sources::{self, Sources, base},
};
use crate::{interrupt::Interrupt, model, output::Exit, paths, wallet::secrets::Secret};
use anyhow::{Context, Result, bail, ensure};
use pollster::block_on;
use r3mes_wgpu::{
    client::{
        Client, ClientError, Endpoints, Host, JobInfo, MAX_ANSWER_BYTES, Offline, Request, Response, Take, Unfit,
        gateway::CAR_KIND,
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

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Nodes of one chain, of which one is asked; or a store.
pub(crate) struct Remote {
    endpoints: Endpoints,
    agent: ureq::Agent,
    /// Where the work at hand is saved; nowhere for a store, or for those who have none.
    saved: Option<PathBuf>,
    sources: Sources,
    /// What a service knows its customers by.
    token: Option<Secret>,
}

impl Remote {
    /// Nodes, of which the first is asked as long as it is of use. Asks nothing yet.
    pub(crate) fn nodes_at(urls: &[String]) -> Result<Self> {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        let urls = urls.iter().map(|url| base("--node", url)).collect::<Result<Vec<_>>>()?;
        Ok(Self::new(urls, config, None))
    }

    /// A node. Asks nothing yet.
    pub(crate) fn node(url: &str) -> Result<Self> {
        Self::nodes_at(&[url.to_owned()])
    }

    /// A store. What it is told goes nowhere else: it can not redirect.
    pub(crate) fn store(flag: &str, url: &str, token: Option<Secret>) -> Result<Self> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Ok(Self::new(vec![base(flag, url)?], config, token))
    }

    fn new(urls: Vec<String>, config: ureq::config::Config, token: Option<Secret>) -> Self {
        let endpoints = Endpoints::new(urls);
        Self { endpoints, agent: config.new_agent(), saved: None, sources: Sources::default(), token }
    }

    /// The same, that saves the work at hand in this file.
    pub(crate) fn saving(self, path: PathBuf) -> Self {
        Self { saved: Some(path), ..self }
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

impl Remote {
    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u32 {
        self.endpoints.names().len() as u32
    }

    /// Looks at every node; says which are of no use now, and fails where some are of different chains.
    pub(crate) fn survey(&self) -> Result<()> {
        for unfit in block_on(self.endpoints.survey(async |at, request| self.ask(at, request))) {
            match unfit {
                Unfit::OtherChain { .. } => return Err(unfit.into()),
                unfit => eprintln!("{unfit}"),
            }
        }
        Ok(())
    }

    fn ask(&self, at: usize, request: Request<'_>) -> Result<Response, Offline> {
        let url = &self.endpoints.names()[at];
        let offline = |error: ureq::Error| Offline(format!("{url}: {error}"));
        let url = format!("{url}{}", request.path);
        let mut response = match request.body {
            None => self.authorized(self.agent.get(&url)).call(),
            Some((kind, bytes)) => self.authorized(self.agent.post(&url)).header("content-type", kind).send(bytes),
        }
        .map_err(offline)?;
        let status = response.status().as_u16();
        match response.body_mut().with_config().limit(MAX_ANSWER_BYTES as u64).read_to_vec() {
            Ok(body) => Ok(Response { status, body }),
            // it would be as long the next time
            Err(ureq::Error::BodyExceedsLimit(limit)) => {
                let body = format!("{url} gives more than the {limit} bytes that are read");
                Ok(Response { status: 413, body: body.into_bytes() })
            }
            Err(error) => Err(offline(error)),
        }
    }
}

impl Remote {
    fn stream(&self, at: usize, path: &str, take: Take<'_>) -> Result<u16, Offline> {
        let url = format!("{}{path}", self.endpoints.names()[at]);
        let request = self.authorized(self.agent.get(&url)).header("accept", CAR_KIND);
        let mut answer = request.call().map_err(|error| Offline(format!("{url}: {error}")))?;
        if answer.status().is_success() {
            let mut enough = false;
            // looks once more after enough: where that is the end, the connection serves again
            sources::pour(answer.body_mut(), &mut |bytes| {
                if enough {
                    return ControlFlow::Break(());
                }
                enough = take(bytes).is_break();
                ControlFlow::Continue(())
            });
        }
        Ok(answer.status().as_u16())
    }
}

impl Host for Remote {
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline> {
        self.endpoints.request(request, async |at, request| self.ask(at, request)).await
    }

    fn saw(&self, height: u64) {
        self.endpoints.saw(height);
    }

    fn another(&self) {
        self.endpoints.another();
    }

    async fn gateway(&self, at: usize, path: &str) -> Option<Result<Response, Offline>> {
        match at.checked_sub(1) {
            None => Some(self.request(Request { path, body: None }).await),
            Some(at) => self.sources.ask(at, path),
        }
    }

    async fn dag(&self, at: usize, path: &str, take: Take<'_>) -> Option<Result<u16, Offline>> {
        let Some(at) = at.checked_sub(1) else {
            let turn = self.endpoints.turn(async |at, request| self.ask(at, request)).await;
            return Some(turn.and_then(|at| self.stream(at, path, take)));
        };
        self.sources.stream(at, path, take)
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
        if let Err(error) = paths::write_whole(path, bytes) {
            eprintln!("{error:#}");
        }
    }
}

/// What is trained, and what of it is adapted; `None` after Ctrl-C. Nodes that do not answer are waited for.
pub(crate) fn job(client: &Client<Remote>, interrupt: &Interrupt) -> Result<Option<(JobInfo, Targets)>> {
    if client.host().nodes() > 1 {
        client.host().survey()?;
    }
    let job = RetryPolicy::new(interrupt).ask(client, || block_on(client.job()));
    let Some(job) = job.context("asking the node for its job")? else { return Ok(None) };
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let Some(linears) = job.targets.iter().map(linear).collect::<Option<Vec<_>>>() else {
        bail!("the node adapts {}, not linears of this model", job.targets.join(", "));
    };
    let targets = Targets { rank: job.rank as usize, linears };
    Ok(Some((job, targets)))
}

/// The model of this name, from the data folder if it is there, else from the node; checked by its manifest either way.
/// `None` after Ctrl-C.
pub(crate) fn model(
    client: &Client<Remote>,
    cid: &str,
    data_dir: &Path,
    interrupt: &Interrupt,
) -> Result<Option<Model>> {
    ensure!(cid.chars().all(|letter| letter.is_ascii_alphanumeric()), "the node names its model {cid:?}");
    let dir = data_dir.join("models").join(cid);
    let files = ["config.json", "model.safetensors"];
    let checked = |dir: &Path| -> Result<Option<Model>> {
        let model = model::read(dir)?;
        let found = model_manifest(&model)?.cid().to_string();
        ensure!(found == cid, "the model in {} is {found}, not {cid}", dir.display());
        Ok(Some(model))
    };
    if files.iter().all(|name| dir.join(name).exists()) {
        return checked(&dir);
    }
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let mut retry = RetryPolicy::new(interrupt);
    for name in files {
        let Some(bytes) = retry.ask(client, || block_on(client.model_file(name)))? else { return Ok(None) };
        paths::write_whole(&dir.join(name), &bytes)?;
    }
    checked(&dir).inspect_err(|_| {
        for name in files {
            // what is wrong is not kept; if it can not be removed, the next check says so
            let _ = fs::remove_file(dir.join(name));
        }
    })
}

/// A node that says no ends the program with its own code.
pub(crate) fn asked<T>(answer: Result<T, ClientError>) -> Result<T> {
    match answer {
        Err(error @ (ClientError::Refused { .. } | ClientError::Failed { .. })) => Err(error).context(Exit::Refused),
        answer => Ok(answer?),
    }
}
