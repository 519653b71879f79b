//! Bench: one product's shape and one whole step, timed by everything in this browser that computes them.

#[path = "../../benches/products/mod.rs"]
mod products;

use super::{check::hex, devices::DeviceCard, host::now, tell::Tell};
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
  /** Rows of the product, a multiple of 64. */
  tokens: number;
  /** Rows and columns of its matrix, a multiple of 64. */
  features: number;
  /** The model whose whole step is timed: 3 or 51 M ternary weights. */
  step: "none" | "small" | "wide";
}
export type BenchEvent =
  | { event: "device"; name: string; software: boolean }
  | { event: "preparing"; what: string }
  | { event: "lowering"; kernel: string; lowering: string; lowerings: string[] }
  /** Something to time, whose answer was right; subjects are counted from 0 in the order told. */
  | {
      event: "subject"; what: string; backend: "gpu" | "cpu"; by: string; tokens: number;
      operations?: number; digest?: string;
    }
  | { event: "time"; subject: number; milliseconds: number };
"#;

/// `BenchOptions` of the TypeScript above.
#[derive(Deserialize)]
struct BenchOptions {
    tokens: usize,
    features: usize,
    step: String,
}

/// `BenchEvent` of the TypeScript above.
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
    /// Multiplications and additions of a product.
    operations: Option<f64>,
    /// Of a step.
    digest: Option<String>,
}

/// Of operands and of random known answers: any will do.
const SEED: u64 = 1;
/// Launches in one play on a GPU, so that the play's own cost does not count.
const LAUNCHES: usize = 4;

/// What is timed. One lives in a worker at a time.
#[wasm_bindgen]
pub struct Bench {
    subjects: Vec<Subject>,
    tell: Tell,
}

enum Subject {
    Product { executor: Executor, launches: usize },
    Step(Box<Trial>),
}

#[wasm_bindgen]
impl Bench {
    /// Opens the backends, checks every answer, and has everything ready to be timed. `options`: `BenchOptions`;
    /// `tell` hears `BenchEvent`s. Rejects where an answer is wrong.
    pub async fn create(options: JsValue, tell: Function) -> Result<Bench, JsError> {
        let options: BenchOptions = serde_wasm_bindgen::from_value(options)?;
        let config = match options.step.as_str() {
            "none" => None,
            "small" => Some(SMALL),
            "wide" => Some(WIDE),
            other => return Err(JsError::new(&format!("no step {other:?}: there are none, small and wide"))),
        };
        let BenchOptions { tokens, features, .. } = options;
        if ![tokens, features].iter().all(|size| (64..=4096).contains(size) && size.is_multiple_of(64)) {
            return Err(JsError::new("tokens and features are multiples of 64 up to 4096"));
        }
        let mut bench = Self { subjects: Vec::new(), tell: Tell::new(Some(tell)) };
        let cases = Shape { tokens, features }.cases(SEED);
        if let Some(device) = device().await {
            let card = DeviceCard::new(&device).await;
            bench.tell.say(&BenchEvent::Device { name: &card.name, software: card.software });
            bench.gpu_products(&device, &cases).await?;
        }
        // a browser opens what it lists once
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

    /// Runs each subject once; `tell` hears how long it took.
    pub async fn round(&mut self, tell: Function) -> Result<(), JsError> {
        self.tell = Tell::new(Some(tell));
        for (at, subject) in self.subjects.iter_mut().enumerate() {
            let milliseconds = subject.time().await?;
            self.tell.say(&BenchEvent::Time { subject: at, milliseconds });
        }
        Ok(())
    }
}

/// The GPU that the browser offers.
async fn device() -> Option<Device> {
    gpu::devices().await.into_iter().next()
}

impl Bench {
    /// Every lowering of every product, in one submission a play.
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
        self.tell.say(&BenchEvent::Preparing { what: format!("{name}: {what}, {by}") });
        known_answers::passes(backend, case).await?;
        let (mut recording, ids) = Recording::single(case);
        for _ in 1..launches {
            recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
        }
        let mut executor = backend.executor(&Arc::new(recording)).await?;
        for (id, words) in ids.iter().zip(&case.inputs) {
            executor.write(*id, words).await?;
        }
        // a GPU player now learns what a launch costs
        executor.run(0..launches).await?;
        self.subjects.push(Subject::Product { executor, launches });
        let [tokens, columns, rows] = [1, 2, 3].map(|at| case.params[at] as usize);
        let operations = Some(2.0 * (tokens * columns * rows) as f64);
        let (by, digest) = (by.to_owned(), None);
        self.tell.say(&BenchEvent::Subject(SubjectCard { what, backend: name, by, tokens, operations, digest }));
        Ok(())
    }

    /// In slices of one frame, by the lowerings that are fastest here.
    async fn gpu_step(&mut self, device: &Device, config: &ModelConfig) -> Result<(), Error> {
        self.tell.say(&BenchEvent::Preparing { what: "gpu: the lowerings, each timed".to_owned() });
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let several: Vec<_> = kernels::ALL.iter().copied().filter(|kernel| kernel.lowerings.len() > 1).collect();
        let tuning = gpu::tune(&gpu, &several, SEED).await?;
        for tuned in &tuning.kernels {
            let tried = tuned.tried.iter().map(|(lowering, outcome)| format!("{} {outcome}", lowering.name));
            self.tell.say(&BenchEvent::Lowering {
                kernel: tuned.kernel.name,
                lowering: tuned.chosen.name,
                lowerings: tried.collect(),
            });
        }
        let by: Vec<_> = tuning.kernels.iter().map(|tuned| tuned.chosen.name).collect();
        self.step(config, &Backend::Gpu { gpu, choice: tuning.choice }, "gpu", by.join(", ")).await
    }

    /// The digest of the first step is told, to be compared with the other backends'.
    async fn step(
        &mut self,
        config: &ModelConfig,
        backend: &Backend,
        name: &'static str,
        by: String,
    ) -> Result<(), Error> {
        self.tell.say(&BenchEvent::Preparing { what: format!("{name}: a whole step") });
        let mut trial = Trial::new(config.clone(), backend).await?;
        let digest = Some(hex(&digest(&trial.step().await?)));
        let (what, tokens, operations) = ("whole step", trial.tokens(), None);
        self.subjects.push(Subject::Step(Box::new(trial)));
        self.tell.say(&BenchEvent::Subject(SubjectCard { what, backend: name, by, tokens, operations, digest }));
        Ok(())
    }
}

impl Subject {
    /// Milliseconds of one launch, or of one step.
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
