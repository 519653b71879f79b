//! The miner in a worker: the library's loop, with the browser around it.

use super::{
    backend::{self, Opened},
    control::{Control, IDLE_MS, rest},
    host::{BlockCache, Browser, blame, failure, now, sleep},
    model,
    tell::Tell,
};
use js_sys::{Function, Math};
use r3mes_wgpu::{
    agents::miner::{self, MiningError, TaskStage},
    client::Client,
    compute::YieldHook,
    protocol::CHUNK_TOKENS,
    training::worker::Worker,
    tx::{SessionKey, check_address, code},
};
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface MinerOptions {
  /** URL of the node. */
  node: string;
  /** The address that is paid; the session's own if left out. */
  payout?: string;
  /** The account that granted a session to the key: it mines, and is paid. */
  granter?: string;
  /** auto: the GPU, if it is a real one that gives the right answers, else the CPU. */
  backend: "auto" | "gpu" | "cpu";
  /** 32 random bytes: the session's key. */
  secret: Uint8Array;
  cache?: BlockCache;
}
"#;

/// `MinerOptions` of the TypeScript above, but for what is no plain data.
#[derive(Deserialize)]
struct MinerOptions {
    node: String,
    payout: Option<String>,
    granter: Option<String>,
    backend: String,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
}

/// Sequences that are played at a time, as [`sequences_per_run`](r3mes_wgpu::compute::Backend::sequences_per_run) has it.
const SEQUENCES: usize = 1;
/// Longest wait between two attempts to reach the node.
const MAX_BACKOFF_MS: f64 = 60_000.0;

/// A miner for one node. One lives in a worker at a time.
#[wasm_bindgen]
pub struct Miner {
    inner: RefCell<Option<miner::Miner<Browser>>>,
    address: String,
    control: Control,
    /// Of a task.
    plays: usize,
    reward: u64,
}

#[wasm_bindgen]
impl Miner {
    /// Opens the backend, gets the model, and is ready to start. `options`: `MinerOptions`; `tell` hears
    /// `MinerEvent`s. Rejects with the reason where the node does not answer or nothing here can compute.
    ///
    /// The name of an error says whose it is: `Offline` and `Refused` the node's, `Backend` the device's, `Error`
    /// the caller's.
    pub async fn create(options: JsValue, tell: Function) -> Result<Miner, JsValue> {
        let cache = BlockCache::of(&options);
        let options: MinerOptions = serde_wasm_bindgen::from_value(options)?;
        let control = Control::new(Tell::new(Some(tell)));
        let tell = control.tell();
        let secret = options.secret.try_into().map_err(|_| JsError::new("a secret is 32 bytes"))?;
        let key = SessionKey::new(&secret).map_err(JsError::from)?;
        let address = key.address().to_owned();
        let given = |address: Option<String>| address.filter(|address| !address.is_empty());
        let granter = given(options.granter);
        let payout = granter.clone().or_else(|| given(options.payout)).unwrap_or_else(|| address.clone());
        check_address(&payout).map_err(JsError::from)?;

        tell.state("opening", "asking the node for its job");
        let mut client = Client::new(Browser::new(&options.node, cache, control.stop_flag())?, key);
        if let Some(granter) = granter {
            client = client.for_granter(granter);
        }
        let job = client.job().await.map_err(|error| blame(&error.into()))?;
        let targets = model::targets(job.rank, &job.targets)?;
        tell.state("opening", "getting the model");
        let model = model::download(client.host(), &job.model).await?;
        tell.state("opening", "asking the backend the known answers");
        let Opened { backend, class, .. } = backend::open(&options.backend, tell).await?;
        let worker = Worker::new(&model, &targets, &backend, SEQUENCES).await;
        let mut worker = worker.map_err(|error| failure("Backend", &error))?;
        worker.set_yield_hook(YieldHook { clock: now, after_slice: rest });
        let sequences = backend.sequences_per_run(SEQUENCES).min(CHUNK_TOKENS.div_ceil(model.config.context));
        let plays = CHUNK_TOKENS.div_ceil(sequences * model.config.context);
        let inner = RefCell::new(Some(miner::Miner::new(client, worker, payout, class).with_known_answers(backend)));
        Ok(Self { inner, address, control, plays, reward: job.reward })
    }

    /// The session's address.
    #[wasm_bindgen(getter)]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Mines until [`finish`](Self::finish) or [`stop`](Self::stop); resolves then. Rejects where the backend fails or
    /// the node refuses.
    pub async fn start(&self) -> Result<(), JsValue> {
        let taken = self.inner.borrow_mut().take();
        let mut miner = taken.ok_or_else(|| JsError::new("it is mining already"))?;
        self.control.begin();
        let result = self.mine(&mut miner).await;
        *self.inner.borrow_mut() = Some(miner);
        match result {
            Err(_) if self.control.is_stopped() => self.tell().state("stopped", "stopped"),
            Err(error) => return Err(blame(&error)),
            Ok(()) => self.tell().state("stopped", "finished"),
        }
        Ok(())
    }

    /// Rests from the next slice on.
    pub fn pause(&self) {
        self.control.pause();
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Completes the task at hand, then stops.
    pub fn finish(&self) {
        self.control.finish();
    }

    /// Stops within a slice; nothing is asked of the node any more.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// The part of the time that is worked: 0.05 to 1.
    #[wasm_bindgen(js_name = setIntensity)]
    pub fn set_intensity(&self, intensity: f64) {
        self.control.set_duty(intensity.clamp(0.05, 1.0));
    }
}

impl Miner {
    fn tell(&self) -> &Tell {
        self.control.tell()
    }

    async fn mine(&self, miner: &mut miner::Miner<Browser>) -> Result<(), MiningError> {
        let (mut failures, mut registered) = (0, false);
        self.tell().state("mining", "");
        while self.control.goes_on() {
            self.control.wait_while_paused().await;
            match self.attempt(miner, &mut registered).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    self.tell().state("waiting", "other miners hold the rest of this round");
                    self.wait(f64::from(10 * IDLE_MS)).await;
                    self.tell().state("mining", "");
                }
                // the next task may fare better
                Err(error @ MiningError::Late(_)) => drop(self.tell().rejected(&error)),
                Err(error) if error.is_temporary() && !self.control.is_stopped() => {
                    failures += 1;
                    self.offline(&error, failures).await;
                }
                // a claim that ran out meanwhile: the next task may fare better
                Err(error) if self.tell().rejected(&error) == Some(code::TAKEN) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One task; false where there is none.
    async fn attempt(&self, miner: &mut miner::Miner<Browser>, registered: &mut bool) -> Result<bool, MiningError> {
        if !*registered {
            miner.register().await?;
            *registered = true;
        }
        let (start, seconds) = (Cell::new(now()), Cell::new(None));
        let accepted = miner
            .work(|stage| {
                match stage {
                    TaskStage::Claimed(..) => {
                        start.set(now());
                        self.control.expect(self.plays);
                    }
                    TaskStage::Computed(_) => seconds.set(Some((now() - start.get()) / 1000.0)),
                    _ => {}
                }
                self.tell().stage(&stage);
            })
            .await?;
        if let Some(accepted) = &accepted {
            // what was accepted is told of, whether a node answers this or not
            let escrow = miner.client().escrow().await.unwrap_or(0);
            self.tell().accepted(accepted, seconds.get(), self.reward, escrow);
        }
        Ok(accepted.is_some())
    }

    /// Waits for a node that does not answer: 1, 2, 4 … 60 seconds, shortened at random by up to a half.
    async fn offline(&self, error: &MiningError, failures: u32) {
        let whole = (1000.0 * f64::from(1u32 << (failures - 1).min(6))).min(MAX_BACKOFF_MS);
        let pause = whole * (0.5 + 0.5 * Math::random());
        self.tell().state("offline", &format!("{error}; trying again in {:.0} s", pause / 1000.0));
        self.wait(pause).await;
        self.tell().state("mining", "");
    }

    async fn wait(&self, milliseconds: f64) {
        let end = now() + milliseconds;
        while now() < end && self.control.goes_on() {
            sleep(IDLE_MS).await;
        }
    }
}
