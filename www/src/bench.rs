//! The measurements of the benchmark page: the time of matrix products of one shape, and of a whole training step, on
//! each backend that the browser offers.

#[path = "../../benches/products/mod.rs"]
mod products;

use super::{check::hex, devices::DeviceCard, event_sink::EventSink, host::now};
use js_sys::Function;
use products::Shape;
use r3mes_wgpu::{
    compute::{
        Backend, Executor,
        cpu::{fastest, scalar, simd::Level},
        gpu::{self, Device, Gpu, LoweringChoice, Options},
        known_answers,
        recording::Recording,
    },
    error::Error,
    kernels::{self, Kernel, cases::Case},
    model::config::ModelConfig,
    training::{
        conformance::digest,
        trial::{SMALL, Trial, WIDE},
    },
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface BenchOptions {
  /** The number of input rows of each matrix product, one for each token: a multiple of 64, at most 4096. */
  tokens: number;
  /** The number of rows, and of columns, of the weight matrix: a multiple of 64, at most 4096. */
  features: number;
  /** The model whose training step is timed: small has 3 million ternary weights, wide has 51 million. */
  step: "none" | "small" | "wide";
}
export type BenchEvent =
  | { event: "device"; name: string; software: boolean }
  | { event: "preparing"; what: string }
  | { event: "lowering"; kernel: string; lowering: string; lowerings: string[] }
  /** A matrix product or step to time; its result was correct. These events are numbered from 0 in their order. */
  | {
      event: "subject"; what: string; backend: "gpu" | "cpu"; by: string; tokens: number;
      operations?: number; digest?: string;
    }
  /** The time of one matrix product or of one step. `subject` is the number of its `subject` event. */
  | { event: "time"; subject: number; milliseconds: number };
"#;

/// What to benchmark: the Rust form of the TypeScript interface `BenchOptions`.
#[derive(Deserialize)]
struct BenchOptions {
    tokens: usize,
    features: usize,
    step: String,
}

/// An event of a benchmark: the Rust form of the TypeScript type `BenchEvent`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum BenchEvent<'a> {
    Device { name: &'a str, software: bool },
    Preparing { what: String },
    Lowering { kernel: &'static str, lowering: &'static str, lowerings: Vec<String> },
    Subject(SubjectCard),
    Time { subject: usize, milliseconds: f64 },
}

#[derive(Serialize)]
struct SubjectCard {
    what: &'static str,
    backend: &'static str,
    by: String,
    tokens: usize,
    /// The number of arithmetic operations (multiplications and additions) in a matrix product; `None` for a training
    /// step.
    operations: Option<f64>,
    /// The SHA-256 digest of the result of a training step, in hexadecimal; `None` for a matrix product.
    digest: Option<String>,
}

/// The seed from which the operands and the random test cases are derived. Any other value would serve as well.
const SEED: u64 = 1;
/// How many times one timed run on a GPU computes a matrix product. The time of the run is divided by this number,
/// which reduces the influence of the run's overhead on the measured time of one product.
const LAUNCHES: usize = 4;

/// The matrix products and training steps that a benchmark times. A Web Worker has at most one `Bench` at a time.
#[wasm_bindgen]
pub struct Bench {
    subjects: Vec<Subject>,
    events: EventSink,
}

enum Subject {
    Product { executor: Executor, launches: usize },
    Step(Box<Trial>),
}

#[wasm_bindgen]
impl Bench {
    /// Prepares the benchmark on each backend of the browser: the matrix products and, unless the option `step` is
    /// `none`, a training step. Checks the results of the products. The product of f32 matrices, with which the ternary
    /// products are compared in speed, is prepared only on the GPU. `options` is an object of the type `BenchOptions`.
    /// `on_event` is called with each `BenchEvent`. Rejects if an option is invalid or a result is wrong.
    pub async fn create(options: JsValue, on_event: Function) -> Result<Bench, JsError> {
        let options: BenchOptions = serde_wasm_bindgen::from_value(options)?;
        let config = match options.step.as_str() {
            "none" => None,
            "small" => Some(SMALL),
            "wide" => Some(WIDE),
            other => {
                return Err(JsError::new(&format!("the option `step` is {other:?}, but must be none, small or wide")));
            }
        };
        let BenchOptions { tokens, features, .. } = options;
        if ![tokens, features].iter().all(|size| (64..=4096).contains(size) && size.is_multiple_of(64)) {
            return Err(JsError::new("tokens and features must be multiples of 64, from 64 to 4096"));
        }
        let mut bench = Self { subjects: Vec::new(), events: EventSink::new(Some(on_event)) };
        let cases = Shape { tokens, features }.cases(SEED);
        if let Some(device) = device().await {
            let card = DeviceCard::new(&device).await;
            bench.events.send(&BenchEvent::Device { name: &card.name, software: card.software });
            bench.gpu_products(&device, &cases).await?;
        }
        // requests the device again, because a device can be opened only once
        if let (Some(device), Some(config)) = (device().await, &config) {
            bench.gpu_step(&device, config).await?;
        }
        bench.cpu_products(&cases[1..]).await?;
        if let Some(config) = &config {
            let backend = Backend::Cpu { threads: 1, kernels: fastest };
            bench.step(config, &backend, "cpu", Level::detect().name().to_owned()).await?;
        }
        Ok(bench)
    }

    /// Times each matrix product and training step once. `on_event` is called with a `time` event for each of them.
    pub async fn round(&mut self, on_event: Function) -> Result<(), JsError> {
        self.events = EventSink::new(Some(on_event));
        for (at, subject) in self.subjects.iter_mut().enumerate() {
            let milliseconds = subject.time().await?;
            self.events.send(&BenchEvent::Time { subject: at, milliseconds });
        }
        Ok(())
    }
}

/// Returns the GPU that the browser offers, or `None` if it offers none.
async fn device() -> Option<Device> {
    gpu::devices().await.into_iter().next()
}

impl Bench {
    /// Prepares every matrix product on the GPU, with each lowering (WGSL implementation) of its kernel. All dispatches
    /// (kernel launches) of a run go to the GPU in one submission.
    async fn gpu_products(&mut self, device: &Device, cases: &[(&'static str, Case)]) -> Result<(), Error> {
        let gpu = Gpu::open(device, Options { slice_ms: f64::INFINITY, ..Options::new(now) }).await?;
        for (what, case) in cases {
            for lowering in case.kernel.lowerings {
                let backend =
                    Backend::Gpu { gpu: gpu.clone(), choice: LoweringChoice::default().with(case.kernel, lowering) };
                self.product(what, case, &backend, "gpu", lowering.name, LAUNCHES).await?;
            }
        }
        Ok(())
    }

    async fn cpu_products(&mut self, cases: &[(&'static str, Case)]) -> Result<(), Error> {
        for (what, case) in cases {
            for (by, kernels) in [(Level::detect().name(), fastest as fn(&Kernel) -> _), ("scalar", scalar)] {
                self.product(what, case, &Backend::Cpu { threads: 1, kernels }, "cpu", by, 1).await?;
            }
        }
        Ok(())
    }

    async fn product(
        &mut self,
        what: &'static str,
        case: &Case,
        backend: &Backend,
        name: &'static str,
        by: &str,
        launches: usize,
    ) -> Result<(), Error> {
        self.events.send(&BenchEvent::Preparing { what: format!("{name}: {what}, {by}") });
        known_answers::passes(backend, case).await?;
        let (mut recording, ids) = Recording::single(case);
        for _ in 1..launches {
            recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
        }
        let mut executor = backend.executor(&Arc::new(recording)).await?;
        for (id, words) in ids.iter().zip(&case.inputs) {
            executor.write(*id, words).await?;
        }
        // this run lets a GPU executor measure how long a dispatch takes
        executor.run(0..launches).await?;
        self.subjects.push(Subject::Product { executor, launches });
        let [tokens, columns, rows] = [1, 2, 3].map(|at| case.params[at] as usize);
        let operations = Some(2.0 * (tokens * columns * rows) as f64);
        let (by, digest) = (by.to_owned(), None);
        self.events.send(&BenchEvent::Subject(SubjectCard { what, backend: name, by, tokens, operations, digest }));
        Ok(())
    }

    /// Prepares a training step on the GPU. Each kernel uses its fastest lowering (WGSL implementation) on this GPU.
    /// The step is submitted to the GPU in slices that each take about as long as one frame of the display.
    async fn gpu_step(&mut self, device: &Device, config: &ModelConfig) -> Result<(), Error> {
        self.events.send(&BenchEvent::Preparing { what: "gpu: timing of all lowerings".to_owned() });
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let several: Vec<_> = kernels::ALL.iter().copied().filter(|kernel| kernel.lowerings.len() > 1).collect();
        let tuning = gpu::tune(&gpu, &several, SEED).await?;
        for tuned in &tuning.kernels {
            let tried = tuned.tried.iter().map(|(lowering, outcome)| format!("{} {outcome}", lowering.name));
            self.events.send(&BenchEvent::Lowering {
                kernel: tuned.kernel.name,
                lowering: tuned.chosen.name,
                lowerings: tried.collect(),
            });
        }
        let by: Vec<_> = tuning.kernels.iter().map(|tuned| tuned.chosen.name).collect();
        self.step(config, &Backend::Gpu { gpu, choice: tuning.choice }, "gpu", by.join(", ")).await
    }

    /// Prepares a training step on a backend, and computes it once. The event that reports the step contains the digest
    /// of the result, so that the page can compare the backends.
    async fn step(
        &mut self,
        config: &ModelConfig,
        backend: &Backend,
        name: &'static str,
        by: String,
    ) -> Result<(), Error> {
        self.events.send(&BenchEvent::Preparing { what: format!("{name}: whole step") });
        let mut trial = Trial::new(config.clone(), backend).await?;
        let digest = Some(hex(&digest(&trial.step().await?)));
        let (what, tokens, operations) = ("whole step", trial.tokens(), None);
        self.subjects.push(Subject::Step(Box::new(trial)));
        self.events.send(&BenchEvent::Subject(SubjectCard { what, backend: name, by, tokens, operations, digest }));
        Ok(())
    }
}

impl Subject {
    /// Computes a matrix product `launches` times in a row, or a training step once. Returns the average time of the
    /// product, or the time of the step, in milliseconds.
    async fn time(&mut self) -> Result<f64, Error> {
        let start = now();
        match self {
            Self::Product { executor, launches } => {
                executor.run(0..*launches).await?;
                Ok((now() - start) / *launches as f64)
            }
            Self::Step(trial) => {
                trial.step().await?;
                Ok(now() - start)
            }
        }
    }
}
