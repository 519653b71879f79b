//! The conformance check of a backend: tests whether the browser's CPU or GPU reproduces the known answers (expected
//! outputs of kernels) and the golden digests (expected hashes of training), and reports each result to the page.

use super::host::now;
use js_sys::Function;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::fastest,
        gpu::{self, Gpu, LoweringChoice, Options, TuneOutcome},
        known_answers,
    },
    error::Error,
    kernels::{self, Lowering, cases::cases},
    training::conformance::{GOLDEN, RUN_STEPS, run_digest, step_digest},
};
use serde::Serialize;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** The result of one test: of a kernel's known answers, or of a golden digest. */
export type CheckEvent =
  | { event: "kernel"; kernel: string; lowering: string; lowerings: string[]; refused: string[]; error?: string }
  | { event: "digest"; digest: "step" | "run"; steps: number; expected: string; found?: string; error?: string };
/**
 * Tests whether every kernel reproduces its known answers on a backend. If all do, tests the golden digests named in
 * `digests`, by default of one step and of a hundred steps ("run"). Resolves to whether all results were right. Rejects
 * if the browser does not offer the backend.
 */
export function check(
  backend: "cpu" | "gpu",
  onEvent: (event: CheckEvent) => void,
  digests?: ("step" | "run")[],
): Promise<boolean>;
"#;

/// The result of one test: the Rust form of the TypeScript type `CheckEvent`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum CheckEvent {
    Kernel {
        kernel: &'static str,
        lowering: &'static str,
        lowerings: Vec<String>,
        refused: Vec<String>,
        error: Option<String>,
    },
    Digest {
        digest: &'static str,
        steps: u32,
        expected: String,
        found: Option<String>,
        error: Option<String>,
    },
}

/// The seed from which the random test cases are derived. Any other value would serve as well.
const SEED: u64 = 1;

/// The number of sequences that are computed together in one run. The digests do not depend on it.
const SEQUENCES: usize = 3;

/// Tests whether every kernel reproduces its known answers (expected outputs) on a backend (`cpu` or `gpu`). If all do,
/// tests the golden digests (expected hashes) that `digests` lists: `step` (of one training step) or `run` (of a
/// hundred steps), by default both. Calls `on_event` with each result as a `CheckEvent`. Resolves to whether all
/// results were right.
#[wasm_bindgen(skip_typescript)]
pub async fn check(backend: &str, on_event: Function, digests: Option<Vec<String>>) -> Result<bool, JsError> {
    let digests = digests.unwrap_or_else(|| vec!["step".to_owned(), "run".to_owned()]);
    let mut check = Check { on_event, passed: true };
    let backend = match backend {
        "cpu" => check.cpu().await?,
        "gpu" => check.gpu().await?,
        other => return Err(JsError::new(&format!("the backend is {other:?}, but must be cpu or gpu"))),
    };
    for digest in &digests {
        if !check.passed {
            break;
        }
        match digest.as_str() {
            "step" => check.digest("step", 1, GOLDEN.step, step_digest(&backend, SEQUENCES).await)?,
            "run" => check.digest("run", RUN_STEPS as u32, GOLDEN.run, run_digest(&backend, SEQUENCES).await)?,
            other => return Err(JsError::new(&format!("the requested digest is {other:?}, but must be step or run"))),
        }
    }
    Ok(check.passed)
}

struct Check {
    on_event: Function,
    passed: bool,
}

impl Check {
    async fn cpu(&mut self) -> Result<Backend, JsError> {
        let backend = Backend::Cpu { threads: 1, kernels: fastest };
        for kernel in kernels::ALL {
            let mut outcome = Ok(());
            for case in cases(kernel, SEED) {
                outcome = outcome.and(known_answers::passes(&backend, &case).await);
            }
            self.kernel(kernel.name, "wasm", &[], outcome)?;
        }
        Ok(backend)
    }

    async fn gpu(&mut self) -> Result<Backend, JsError> {
        let devices = gpu::devices().await;
        let device = devices
            .first()
            .ok_or_else(|| JsError::new("this browser offers no GPU, because WebGPU is missing or disabled"))?;
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let mut choice = LoweringChoice::default();
        for kernel in kernels::ALL {
            match gpu::tune(&gpu, &[kernel], SEED).await {
                Ok(tuning) => {
                    for tuned in tuning.kernels {
                        self.kernel(kernel.name, tuned.chosen.name, &tuned.tried, Ok(()))?;
                        choice = choice.with(kernel, tuned.chosen);
                    }
                }
                Err(error) => self.kernel(kernel.name, "none", &[], Err(error))?,
            }
        }
        Ok(Backend::Gpu { gpu, choice })
    }

    fn kernel(
        &mut self,
        kernel: &'static str,
        lowering: &'static str,
        tried: &[(&'static Lowering, TuneOutcome)],
        outcome: Result<(), Error>,
    ) -> Result<(), JsError> {
        self.passed &= outcome.is_ok();
        let (passing, refused): (Vec<_>, Vec<_>) =
            tried.iter().partition(|(_, outcome)| matches!(outcome, TuneOutcome::Passes { .. }));
        let texts = |tried: Vec<&(&Lowering, TuneOutcome)>| {
            tried.into_iter().map(|(lowering, outcome)| format!("{} {outcome}", lowering.name)).collect()
        };
        self.send(CheckEvent::Kernel {
            kernel,
            lowering,
            lowerings: texts(passing),
            refused: texts(refused),
            error: outcome.err().map(|error| error.to_string()),
        })
    }

    fn digest(
        &mut self,
        digest: &'static str,
        steps: u32,
        expected: [u8; 32],
        found: Result<[u8; 32], Error>,
    ) -> Result<(), JsError> {
        self.passed &= found.as_ref().is_ok_and(|found| *found == expected);
        let (found, error) = match found {
            Ok(found) => (Some(hex(&found)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.send(CheckEvent::Digest { digest, steps, expected: hex(&expected), found, error })
    }

    fn send(&self, event: CheckEvent) -> Result<(), JsError> {
        let event = serde_wasm_bindgen::to_value(&event)?;
        self.on_event
            .call1(&JsValue::NULL, &event)
            .map_err(|_| JsError::new("the event listener threw an exception"))?;
        Ok(())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
