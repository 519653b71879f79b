//! The miner in a worker: the library's loop, with the browser around it.

use super::{
    devices::DeviceCard,
    host::{BlockCache, Browser, Tell, now, sleep},
};
use js_sys::{Function, Math, Reflect};
use r3mes_wgpu::{
    backend::{
        Backend, Rest,
        cpu::fastest,
        gpu::{self, Gpu, Options},
    },
    chain::{SessionKey, check_address, client::Client},
    error::Error,
    kernels,
    mining::{self, MiningError, Stage},
    model::{config::Linear, file, transformer::Targets, weights::Model},
    work::{CHUNK_TOKENS, Worker, WorkerError, model_manifest},
};
use serde::{Deserialize, Serialize};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
};
use wasm_bindgen::prelude::{JsCast, JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Where blocks are kept between visits. What it returns is checked, so it need not be trusted. */
export interface BlockCache {
  get(name: string): Promise<Uint8Array | undefined>;
  put(name: string, bytes: Uint8Array): Promise<void>;
}
export interface MinerOptions {
  /** URL of the node. */
  node: string;
  /** The address that is paid; the session's own if left out. */
  payout?: string;
  /** auto: the GPU, if it is a real one that gives the right answers, else the CPU. */
  backend: "auto" | "gpu" | "cpu";
  /** 32 random bytes: the session's key. */
  secret: Uint8Array;
  cache?: BlockCache;
}
export type MinerEvent =
  | { event: "state"; state: "opening" | "mining" | "paused" | "waiting" | "offline" | "stopped"; reason: string }
  | { event: "backend"; backend: "gpu" | "cpu"; name: string; software: boolean; reason: string; lowerings: string[] }
  | { event: "stage"; stage: "claimed" | "computed" | "stored"; cid: string; receipt?: string }
  | {
      event: "accepted"; cid: string; transaction: string; gradientDigest: string; round: number; loss?: number;
      seconds: number; tokensPerSecond: number; balance: number; receipt: string;
    };
"#;

/// `MinerOptions` of the TypeScript above, but for what is no plain data.
#[derive(Deserialize)]
struct MinerOptions {
    node: String,
    payout: Option<String>,
    backend: String,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
}

/// `MinerEvent` of the TypeScript above.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum MinerEvent {
    State {
        state: &'static str,
        reason: String,
    },
    Backend {
        backend: &'static str,
        name: String,
        software: bool,
        reason: String,
        lowerings: Vec<String>,
    },
    Stage {
        stage: &'static str,
        cid: String,
        receipt: Option<String>,
    },
    Accepted {
        cid: String,
        transaction: String,
        gradient_digest: String,
        round: u64,
        loss: Option<f64>,
        seconds: f64,
        tokens_per_second: f64,
        balance: u64,
        receipt: String,
    },
}

/// Seed of the random known answers: any will do.
const SEED: u64 = 1;
/// Milliseconds of work on the CPU between two looks at the messages.
const LOOK_MS: f64 = 50.0;
/// Between two looks for a chunk, or at whether the pause is over.
const IDLE_MS: u32 = 200;
/// Longest wait between two attempts to reach the node.
const MAX_BACKOFF_MS: f64 = 60_000.0;

/// What the page may change at any time.
#[derive(Clone, Default)]
struct Control {
    paused: Rc<Cell<bool>>,
    finishing: Rc<Cell<bool>>,
    stopped: Rc<Cell<bool>>,
    /// The part of the time that is worked, 0..=1; 0 means all.
    duty: Rc<Cell<f64>>,
    /// Milliseconds worked since the messages were looked at.
    worked: Rc<Cell<f64>>,
}

thread_local! {
    /// Of the one miner of this worker: players know functions, not closures.
    static CONTROL: RefCell<Control> = RefCell::default();
}

/// After each slice: rests as long as the intensity asks, and for as long as the pause lasts.
fn rest(worked: f64) -> Pin<Box<dyn Future<Output = bool>>> {
    let control = CONTROL.with_borrow(Control::clone);
    Box::pin(async move {
        let worked = control.worked.get() + worked;
        control.worked.set(worked);
        if worked >= LOOK_MS || control.paused.get() || control.stopped.get() {
            control.worked.set(0.0);
            let duty = if control.duty.get() > 0.0 { control.duty.get() } else { 1.0 };
            sleep((worked * (1.0 / duty - 1.0)).min(10_000.0) as u32).await;
            while control.paused.get() && !control.stopped.get() {
                sleep(IDLE_MS).await;
            }
        }
        !control.stopped.get()
    })
}

/// A miner for one node. One lives in a worker at a time.
#[wasm_bindgen]
pub struct Miner {
    inner: RefCell<Option<mining::Miner<Browser>>>,
    address: String,
    control: Control,
    tell: Tell,
}

#[wasm_bindgen]
impl Miner {
    /// Opens the backend, gets the model, and is ready to start. `options`: `MinerOptions`; `tell` hears
    /// `MinerEvent`s. Rejects with the reason where the node does not answer or nothing here can compute.
    pub async fn create(options: JsValue, tell: Function) -> Result<Miner, JsError> {
        let cache = Reflect::get(&options, &"cache".into()).ok().filter(JsValue::is_object);
        let options: MinerOptions = serde_wasm_bindgen::from_value(options)?;
        let tell = Tell(tell);
        let control = Control::default();
        CONTROL.set(control.clone());
        let secret = options.secret.try_into().map_err(|_| JsError::new("a secret is 32 bytes"))?;
        let key = SessionKey::new(&secret)?;
        let address = key.address().to_owned();
        let payout = options.payout.filter(|payout| !payout.is_empty()).unwrap_or_else(|| address.clone());
        check_address(&payout)?;

        tell.state("opening", "asking the node for its job");
        let cache = cache.map(JsCast::unchecked_into::<BlockCache>);
        let client = Client::new(Browser::new(&options.node, cache, control.stopped.clone()), key);
        let job = client.job().await?;
        let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
        let linears: Option<Vec<_>> = job.targets.iter().map(linear).collect();
        let linears = linears.ok_or_else(|| JsError::new("the node adapts linears that this miner does not know"))?;
        let targets = Targets { rank: job.rank as usize, linears };
        tell.state("opening", "getting the model");
        let model = download(&client, &job.model).await?;
        tell.state("opening", "asking the GPU the known answers");
        let (backend, architecture) = open(&options.backend, &tell).await?;
        let mut worker = Worker::new(&model, &targets, &backend, 1).await?;
        worker.rest_by(Rest { clock: now, after: rest });
        let inner = RefCell::new(Some(mining::Miner::new(client, worker, payout, architecture)));
        Ok(Self { inner, address, control, tell })
    }

    /// The session's address.
    #[wasm_bindgen(getter)]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Mines until [`finish`](Self::finish) or [`stop`](Self::stop); resolves then. Rejects where the backend fails or
    /// the node refuses.
    pub async fn start(&self) -> Result<(), JsError> {
        let taken = self.inner.borrow_mut().take();
        let mut miner = taken.ok_or_else(|| JsError::new("it is mining already"))?;
        self.control.finishing.set(false);
        self.control.stopped.set(false);
        let result = self.mine(&mut miner).await;
        *self.inner.borrow_mut() = Some(miner);
        match result {
            Err(MiningError::Worker(WorkerError::Backend(Error::Stopped))) => self.tell.state("stopped", "stopped"),
            Err(_) if self.control.stopped.get() => self.tell.state("stopped", "stopped"),
            Err(error) => return Err(error.into()),
            Ok(()) => self.tell.state("stopped", "finished"),
        }
        Ok(())
    }

    /// Rests from the next slice on.
    pub fn pause(&self, reason: &str) {
        self.control.paused.set(true);
        self.tell.state("paused", reason);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.control.paused.set(false);
        self.tell.state("mining", "");
    }

    /// Completes the task at hand, then stops.
    pub fn finish(&self) {
        self.control.finishing.set(true);
        self.control.paused.set(false);
    }

    /// Stops within a slice; nothing is asked of the node any more.
    pub fn stop(&self) {
        self.control.stopped.set(true);
    }

    /// The part of the time that is worked: 0.05 to 1.
    #[wasm_bindgen(js_name = setIntensity)]
    pub fn set_intensity(&self, intensity: f64) {
        self.control.duty.set(intensity.clamp(0.05, 1.0));
    }
}

impl Miner {
    async fn mine(&self, miner: &mut mining::Miner<Browser>) -> Result<(), MiningError> {
        let (mut failures, mut registered) = (0, false);
        self.tell.state("mining", "");
        while !self.control.finishing.get() && !self.control.stopped.get() {
            if !registered {
                match miner.register().await {
                    Ok(()) => registered = true,
                    Err(error) => {
                        let error = MiningError::from(error);
                        failures += 1;
                        self.offline(error, failures).await?;
                        continue;
                    }
                }
            }
            let (start, computed) = (Cell::new(now()), Cell::new(0.0));
            let stage = |stage: Stage| self.tell.stage(&stage, &start, &computed);
            match miner.work(stage).await {
                Ok(Some(accepted)) => {
                    failures = 0;
                    self.tell.accepted(&accepted, (computed.get() - start.get()) / 1000.0);
                    self.tell.state("mining", "");
                }
                Ok(None) => {
                    self.tell.state("waiting", "other miners hold the rest of this round");
                    self.wait(f64::from(10 * IDLE_MS)).await;
                }
                Err(error) => {
                    failures += 1;
                    self.offline(error, failures).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits where the error is that nobody answers: 1, 2, 4 … 60 seconds, shortened at random by up to a half.
    async fn offline(&self, error: MiningError, failures: u32) -> Result<(), MiningError> {
        if !error.is_offline() || self.control.stopped.get() {
            return Err(error);
        }
        let whole = (1000.0 * f64::from(1u32 << (failures - 1).min(6))).min(MAX_BACKOFF_MS);
        let pause = whole * (0.5 + 0.5 * Math::random());
        self.tell.state("offline", &format!("{error}; trying again in {:.0} s", pause / 1000.0));
        self.wait(pause).await;
        self.tell.state("mining", "");
        Ok(())
    }

    async fn wait(&self, milliseconds: f64) {
        let end = now() + milliseconds;
        while now() < end && !self.control.stopped.get() && !self.control.finishing.get() {
            sleep(IDLE_MS).await;
        }
    }
}

/// The node's model, from the cache if it is there; checked by its manifest either way.
async fn download(client: &Client<Browser>, cid: &str) -> Result<Model, JsError> {
    let names = ["config.json", "model.safetensors"];
    let checked = |files: &[Vec<u8>]| -> Result<Model, JsError> {
        let model = file::read(&files[0], &files[1])?;
        let found = model_manifest(&model)?.cid().to_string();
        if found == cid { Ok(model) } else { Err(JsError::new(&format!("the node's model is {found}, not {cid}"))) }
    };
    let mut files = Vec::new();
    for name in names {
        files.extend(client.host().cached(&format!("{cid}.{name}")).await);
    }
    if files.len() == names.len()
        && let Ok(model) = checked(&files)
    {
        return Ok(model);
    }
    files.clear();
    for name in names {
        files.push(client.model_file(name).await?);
    }
    let model = checked(&files)?;
    for (name, bytes) in names.iter().zip(&files) {
        client.host().cache(&format!("{cid}.{name}"), bytes).await;
    }
    Ok(model)
}

/// The backend asked for, and its class for the node's statistics.
async fn open(wanted: &str, tell: &Tell) -> Result<(Backend, String), JsError> {
    let cpu = |reason: String| {
        tell.say(&MinerEvent::Backend {
            backend: "cpu",
            name: "CPU through WebAssembly".to_owned(),
            software: false,
            reason,
            lowerings: Vec::new(),
        });
        Ok((Backend::Cpu { threads: 1, choose: fastest }, "cpu wasm simd128".to_owned()))
    };
    if wanted == "cpu" {
        return cpu("chosen".to_owned());
    }
    let devices = gpu::devices().await;
    let Some(device) = devices.first() else {
        return match wanted {
            "gpu" => Err(JsError::new("this browser offers no GPU: WebGPU is missing or switched off")),
            _ => cpu("this browser offers no GPU: WebGPU is missing or switched off".to_owned()),
        };
    };
    let card = DeviceCard::new(device).await;
    if wanted == "auto" && card.software {
        return cpu(format!("{} is a software GPU, and slower than the CPU itself", card.name));
    }
    let opened = async {
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let tuning = gpu::tune(&gpu, kernels::ALL, SEED).await?;
        Ok::<_, Error>((gpu, tuning))
    };
    match opened.await {
        Ok((gpu, tuning)) => {
            let architecture = card.class();
            tell.say(&MinerEvent::Backend {
                backend: "gpu",
                name: card.name,
                software: card.software,
                reason: "it gives the known answers".to_owned(),
                lowerings: tuning.kernels.iter().map(ToString::to_string).collect(),
            });
            Ok((Backend::Gpu { gpu, choice: tuning.choice }, architecture))
        }
        Err(error) if wanted == "auto" => cpu(format!("{} is not used: {error}", card.name)),
        Err(error) => Err(error.into()),
    }
}

impl Tell {
    fn state(&self, state: &'static str, reason: &str) {
        self.say(&MinerEvent::State { state, reason: reason.to_owned() });
    }

    fn stage(&self, stage: &Stage, start: &Cell<f64>, computed: &Cell<f64>) {
        let (stage, cid, receipt) = match stage {
            Stage::Claimed(task) => {
                start.set(now());
                ("claimed", task.cid().to_string(), None)
            }
            Stage::Computed(receipt) => {
                computed.set(now());
                ("computed", receipt.artifact().to_string(), Some(receipt.to_json()))
            }
            Stage::Stored => ("stored", String::new(), None),
        };
        self.say(&MinerEvent::Stage { stage, cid, receipt });
    }

    fn accepted(&self, accepted: &mining::Accepted, seconds: f64) {
        self.say(&MinerEvent::Accepted {
            cid: accepted.receipt.artifact().to_string(),
            transaction: accepted.transaction.clone(),
            gradient_digest: accepted.gradient_root.iter().map(|byte| format!("{byte:02x}")).collect(),
            round: accepted.round,
            loss: accepted.loss,
            seconds,
            tokens_per_second: CHUNK_TOKENS as f64 / seconds,
            balance: accepted.balance,
            receipt: accepted.receipt.to_json(),
        });
    }
}
