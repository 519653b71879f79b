//! A miner in a web worker: runs the library's miner and driver in the browser.

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
    tx::{SessionKey, check_address},
};
use serde::Deserialize;
use std::cell::RefCell;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface MinerOptions {
  /** URL of the node. */
  node: string;
  /** The address that is paid; by default the session's own. */
  payout?: string;
  /** The account that granted a session to the key. It is the miner, and is paid. */
  granter?: string;
  /** auto: a GPU that is not a software GPU and computes the known answers, else the CPU. */
  backend: "auto" | "gpu" | "cpu";
  /** The session's secret key: 32 random bytes. */
  secret: Uint8Array;
  cache?: BlockCache;
}
"#;

/// The interface `MinerOptions` of the TypeScript above, without the cache.
#[derive(Deserialize)]
struct MinerOptions {
    node: String,
    payout: Option<String>,
    granter: Option<String>,
    backend: String,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
}

/// The number of sequences that one run computes at most.
/// [`sequences_per_run`](r3mes_wgpu::compute::Backend::sequences_per_run) may limit it further.
const SEQUENCES: usize = 1;
/// The time between two requests for a chunk while the round has none left, in milliseconds.
const IDLE_MS: u32 = 2000;

/// A miner for one node. A worker has at most one miner at a time.
#[wasm_bindgen]
pub struct Miner {
    inner: RefCell<Option<miner::Miner<BrowserHost>>>,
    address: String,
    control: Control,
    /// The number of runs that a task takes.
    runs: usize,
    /// Reward for an accepted task, in micro-units.
    reward: u64,
}

#[wasm_bindgen]
impl Miner {
    /// Opens the backend, fetches the model, and prepares the miner. `options` are `MinerOptions`. `on_event` is called
    /// with `MinerEvent`s. Rejects if the node does not respond or no backend is available.
    ///
    /// The name of an exception tells its cause: `Offline` and `Refused` mean the node, `Backend` the device, and
    /// `Error` the caller.
    pub async fn create(options: JsValue, on_event: Function) -> Result<Miner, JsValue> {
        let cache = PageCache::of(&options);
        let options: MinerOptions = serde_wasm_bindgen::from_value(options)?;
        let control = Control::new(EventSink::new(Some(on_event)));
        let events = control.events();
        let secret = options.secret.try_into().map_err(|_| JsError::new("a secret is 32 bytes"))?;
        let key = SessionKey::new(&secret).map_err(JsError::from)?;
        let address = key.address().to_owned();
        let given = |address: Option<String>| address.filter(|address| !address.is_empty());
        let granter = given(options.granter);
        let payout = granter.clone().or_else(|| given(options.payout)).unwrap_or_else(|| address.clone());
        check_address(&payout).map_err(JsError::from)?;

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

    /// The address of the session key.
    #[wasm_bindgen(getter)]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Mines until [`finish`](Self::finish) or [`stop`](Self::stop) is called, then resolves. Rejects if the backend
    /// fails or the node refuses.
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

    /// Pauses after the current slice.
    pub fn pause(&self) {
        self.control.pause();
    }

    /// Continues after a pause.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Completes the current task, then stops.
    pub fn finish(&self) {
        self.control.finish();
    }

    /// Stops after the current slice. After this call, no request is sent to the node.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Sets the share of the time during which the miner computes, from 0.05 to 1.
    #[wasm_bindgen(js_name = setIntensity)]
    pub fn set_intensity(&self, intensity: f64) {
        self.control.set_intensity(intensity.clamp(0.05, 1.0));
    }
}

impl Miner {
    /// Sends the page the event that corresponds to an event of the miner.
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
