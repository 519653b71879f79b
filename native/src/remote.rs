//! Mining for a node elsewhere: the same loop as the page's, over HTTP.

use super::{
    cli::MineArgs,
    compute,
    interrupt::Interrupt,
    mine::{Done, SEQUENCES},
    model,
    output::Exit,
    place,
    sources::{Sources, base},
    wallet::{self, secrets::Secret},
};
use anyhow::{Context, Result, bail, ensure};
use pollster::block_on;
use r3mes_wgpu::chain::{
    check_address,
    client::{Client, ClientError, Host, MAX_ANSWER_BYTES, Offline, Request, Response},
};
use r3mes_wgpu::mining::{Miner, MiningError, Stage};
use r3mes_wgpu::model::{config::Linear, transformer::Targets, weights::Model};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::{Worker, model_manifest};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long to wait for a chunk when the round has none left.
const IDLE: Duration = Duration::from_secs(2);
/// Longest wait between two attempts to reach the node.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A node by its URL, or a store.
pub(crate) struct Remote {
    url: String,
    agent: ureq::Agent,
    /// The work at hand; a store has none.
    saved: Option<PathBuf>,
    sources: Sources,
    /// What a service knows its customers by.
    token: Option<Secret>,
}

impl Remote {
    /// A node. Asks nothing yet.
    pub(crate) fn new(url: &str, saved: PathBuf) -> Result<Self> {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        let url = base("--node", url)?;
        Ok(Self { url, agent: config.new_agent(), saved: Some(saved), sources: Sources::default(), token: None })
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

/// Mines for the node at `url` until a limit or Ctrl-C. A node that does not answer is waited for.
pub(crate) fn run(args: &MineArgs, url: &str, interrupt: &Interrupt) -> Result<Exit> {
    let data_dir = place::data_dir(args.job.data_dir.clone())?;
    wallet::secrets::keep_out_of_dumps()?;
    let key = match &args.wallet {
        Some(name) => wallet::unlock(&data_dir, name, args.passphrase_file.as_deref())?,
        None => wallet::session_key(&data_dir)?,
    };
    let payout = match (&args.granter, args.address.as_str()) {
        (Some(granter), _) => granter.clone(),
        (None, "local") => key.address().to_owned(),
        (None, given) => given.to_owned(),
    };
    check_address(&payout)?;
    let (stores, sources) = (args.sources.stores()?, args.sources.sources(&data_dir)?);
    let mut client = Client::new(Remote::new(url, data_dir.join("work.car"))?.with_sources(sources), key);
    if args.granter.is_some() {
        client = client.for_granter(payout.clone());
    }
    let job = block_on(client.job()).context("asking the node for its job")?;
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let Some(linears) = job.targets.iter().map(linear).collect::<Option<Vec<_>>>() else {
        bail!("the node adapts {}, not linears of this model", job.targets.join(", "));
    };
    let targets = Targets { rank: job.rank as usize, linears };
    let compute = compute::choose(&args.compute)?;
    eprintln!("mining on {} for {url}, as {}, paid to {payout}", compute.name, client.address());
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    let model = download(&client, &job.model, &data_dir)?;
    let worker = block_on(Worker::new(&model, &targets, &compute.backend, SEQUENCES))?;
    drop(model);
    let mut miner = Miner::new(client, worker, payout, compute.name).with_stores(stores);
    let receipts = data_dir.join("receipts");
    fs::create_dir_all(&receipts).with_context(|| format!("creating {}", receipts.display()))?;

    let (mut limits, mut failures, mut registered) = (args.limits(), 0u32, false);
    while limits.go_on() {
        if interrupt.asked() {
            return Ok(Exit::Interrupted);
        }
        let (mut start, mut seconds) = (Instant::now(), None);
        let stage = |stage: Stage| match stage {
            Stage::Claimed(..) => start = Instant::now(),
            Stage::Computed(_) => seconds = Some(start.elapsed().as_secs_f64()),
            Stage::Found(_) | Stage::Stored => {}
        };
        let attempt = || -> Result<_, MiningError> {
            if !registered {
                block_on(miner.register())?;
                registered = true;
            }
            block_on(miner.work(stage))
        };
        match attempt() {
            Ok(Some(accepted)) => {
                failures = 0;
                limits.count();
                place::write_whole(
                    &receipts.join(format!("{}.json", accepted.receipt.artifact())),
                    accepted.receipt.to_json().as_bytes(),
                )?;
                Done {
                    receipt: &accepted.receipt,
                    gradient_root: accepted.gradient_root,
                    loss: accepted.loss,
                    seconds,
                    round: accepted.round,
                    accepted: limits.counted(),
                    balance: accepted.balance,
                    size: None,
                    transaction: Some(&accepted.transaction),
                }
                .tell(args.json);
            }
            Ok(None) => wait(IDLE, interrupt),
            Err(error) if error.is_temporary() => {
                failures += 1;
                let pause = backoff(failures);
                eprintln!("{error}; trying again in {:.0} s", pause.as_secs_f64());
                wait(pause, interrupt);
            }
            Err(error) => return Err(anyhow::Error::new(error).context(Exit::Refused)),
        }
    }
    Ok(Exit::Ok)
}

/// 1, 2, 4 … 60 seconds, each shortened at random by up to a half, so that miners do not return all at once.
fn backoff(failures: u32) -> Duration {
    let whole = Duration::from_secs(1 << (failures - 1).min(6)).min(MAX_BACKOFF);
    let mut random = [0; 1];
    // without randomness the whole wait is as good
    let share = getrandom::fill(&mut random).map_or(255, |()| random[0]);
    whole / 2 + whole * u32::from(share) / 510
}

/// Waits, or until Ctrl-C.
fn wait(pause: Duration, interrupt: &Interrupt) {
    let end = Instant::now() + pause;
    while Instant::now() < end && !interrupt.asked() {
        std::thread::sleep(Duration::from_millis(50).min(pause));
    }
}

/// The node's model, from the data folder if it is there, else from the node; checked by its manifest either way.
fn download(client: &Client<Remote>, cid: &str, data_dir: &Path) -> Result<Model> {
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
