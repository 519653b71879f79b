//! The JavaScript class `Miner`: runs the library's miner in a Web Worker of the browser.

use super::{
    backend::{self, OpenBackend},
    control::{Control, yield_to_page},
    event_sink::EventSink,
    host::{BrowserHost, PageCache, exception, node_exception, now},
    model,
};
use js_sys::Function;
use r3mes_wgpu::{
    agents::{
        driver::DriverState,
        miner::{self, MiningEvent, TaskStage, mine},
    },
    client::{Client, Retry},
    compute::YieldHook,
    protocol::CHUNK_TOKENS,
    training::worker::Worker,
    tx::{SessionKey, canonical_address},
};
use serde::Deserialize;
use std::cell::RefCell;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface MinerOptions {
  /** The URL of the node. */
  node: string;
  /** The address that receives the rewards; by default the address of the session key. */
  payout?: string;
  /** The account that has granted a session to the session key. It counts as the miner, and receives the rewards. */
  granter?: string;
  /** auto: the GPU if it is not a software GPU and reproduces all known answers, otherwise the CPU. */
  backend: "auto" | "gpu" | "cpu";
  /** The session's secret key: 32 random bytes. */
  secret: Uint8Array;
  cache?: BlockCache;
}
"#;

/// The options of a miner: the Rust form of the TypeScript interface `MinerOptions`, without the cache.
#[derive(Deserialize)]
struct MinerOptions {
    node: String,
    payout: Option<String>,
    granter: Option<String>,
    backend: String,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
}

/// The number of sequences that one run computes on the CPU or on a software GPU. A run on a hardware GPU computes all
/// sequences of a chunk (see [`sequences_per_run`](r3mes_wgpu::compute::Backend::sequences_per_run)).
const SEQUENCES: usize = 1;
/// The time between two attempts to claim a chunk while all chunks of the round are claimed, in milliseconds.
const IDLE_MS: u32 = 2000;

/// A miner for one node. A Web Worker has at most one miner at a time.
#[wasm_bindgen]
pub struct Miner {
    inner: RefCell<Option<miner::Miner<BrowserHost>>>,
    address: String,
    control: Control,
    /// The number of runs into which a task is divided. Each run computes a batch of sequences.
    runs: usize,
    /// The reward for an accepted task, in micro-units.
    reward: u64,
}

#[wasm_bindgen]
impl Miner {
    /// Creates a miner: fetches the job and the model from the node, and opens the backend. `options` is an object of
    /// the type `MinerOptions`. `on_event` is called with each `MinerEvent`. Rejects if the node does not respond, or
    /// if no backend is available.
    ///
    /// The name of an exception says what failed: `Offline` (the node does not respond), `Refused` (the node refuses a
    /// request or sends invalid data), `Backend` (the device fails), or `Error` (an option is wrong).
    pub async fn create(options: JsValue, on_event: Function) -> Result<Miner, JsValue> {
        let cache = PageCache::of(&options);
        let options: MinerOptions = serde_wasm_bindgen::from_value(options)?;
        let control = Control::new(EventSink::new(Some(on_event)));
        let events = control.events();
        let secret = options.secret.try_into().map_err(|_| JsError::new("the secret must have 32 bytes"))?;
        let key = SessionKey::new(&secret).map_err(JsError::from)?;
        let address = key.address().to_owned();
        let given = |address: Option<String>| address.filter(|address| !address.is_empty());
        let canonical = |address: String| canonical_address(&address).map_err(JsError::from);
        let granter = given(options.granter).map(canonical).transpose()?;
        let payout = granter.clone().or_else(|| given(options.payout)).unwrap_or_else(|| address.clone());
        let payout = canonical(payout)?;

        events.state("opening", "requesting the node's job");
        let mut client = Client::new(BrowserHost::new(&options.node, cache, control.stop_flag())?, key);
        if let Some(granter) = granter {
            client = client.for_granter(granter);
        }
        let job = client.job().await.map_err(|error| node_exception(&error.into()))?;
        let targets = model::targets(job.rank, &job.targets)?;
        events.state("opening", "fetching the model");
        let model = model::download(client.host(), &job.model).await?;
        events.state("opening", "testing the backend's known answers");
        let OpenBackend { backend, class, .. } = backend::open(&options.backend, events).await?;
        let worker = Worker::new(&model, &targets, &backend, SEQUENCES).await;
        let mut worker = worker.map_err(|error| exception("Backend", &error))?;
        worker.set_yield_hook(YieldHook { clock: now, after_slice: yield_to_page });
        let sequences = backend.sequences_per_run(SEQUENCES).min(CHUNK_TOKENS.div_ceil(model.config.context));
        let runs = CHUNK_TOKENS.div_ceil(sequences * model.config.context);
        let inner = RefCell::new(Some(miner::Miner::new(client, worker, payout, class).with_known_answers(backend)));
        Ok(Self { inner, address, control, runs, reward: job.reward })
    }

    /// The address of the session key, which signs the miner's transactions.
    #[wasm_bindgen(getter)]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Mines, and resolves when mining has ended after a call of [`finish`](Self::finish) or [`stop`](Self::stop).
    /// Rejects if the backend fails, or if the node refuses a request.
    pub async fn start(&self) -> Result<(), JsValue> {
        let idle = self.inner.borrow_mut().take();
        let mut miner = idle.ok_or_else(|| JsError::new("the miner is running already"))?;
        self.control.begin();
        let result = mine(&mut miner, &self.control, IDLE_MS, |event| self.report(event)).await;
        *self.inner.borrow_mut() = Some(miner);
        let events = self.control.events();
        match result {
            _ if self.control.is_stopped() => events.state("stopped", "stopped"),
            Ok(()) => events.state("stopped", "finished"),
            Err(error) => {
                events.rejected(&error);
                return Err(node_exception(&error));
            }
        }
        Ok(())
    }

    /// Pauses mining after the current slice of work.
    pub fn pause(&self) {
        self.control.pause();
    }

    /// Continues mining after a pause.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Ends mining after the current task has been completed.
    pub fn finish(&self) {
        self.control.finish();
    }

    /// Ends mining after the current slice of work. After this call, no request is sent to the node.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Sets the share of the time during which the miner computes. A value outside of 0.05 to 1 is moved to the nearest
    /// limit.
    #[wasm_bindgen(js_name = setIntensity)]
    pub fn set_intensity(&self, intensity: f64) {
        self.control.set_intensity(intensity.clamp(0.05, 1.0));
    }
}

impl Miner {
    /// Converts an event of the library's miner to a `MinerEvent`, and sends it to the page.
    fn report(&self, event: MiningEvent<'_>) {
        let events = self.control.events();
        match event {
            MiningEvent::Stage(stage) => {
                if let TaskStage::Claimed { .. } = stage {
                    self.control.begin_task(self.runs);
                }
                events.stage(&stage);
            }
            MiningEvent::Accepted { task, seconds, escrow } => events.accepted(task, seconds, self.reward, escrow),
            MiningEvent::ClaimLost(error) => events.rejected(error),
            MiningEvent::State(DriverState::Working) => events.state("mining", ""),
            MiningEvent::State(DriverState::Idle) => {
                events.state("waiting", "other miners have claimed the rest of this round");
            }
            MiningEvent::State(DriverState::Retrying { error, retry }) => {
                let seconds = match retry {
                    Retry::NextNode => 0.0,
                    Retry::After(milliseconds) => f64::from(milliseconds) / 1000.0,
                };
                events.state("offline", &format!("{error}. Retrying in {seconds:.0} s."));
            }
        }
    }
}
