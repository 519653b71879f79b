//! Check: known answers and golden digests on one backend of this browser, told as they come.

use super::host::now;
use js_sys::Function;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::fastest,
        gpu::{self, Gpu, LoweringChoice, Options},
        known_answers,
    },
    error::Error,
    kernels::{self, cases::cases},
    training::conformance::{GOLDEN, RUN_STEPS, run_digest, step_digest},
};
use serde::Serialize;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** One result of a check. */
export type CheckEvent =
  | { event: "kernel"; kernel: string; lowering: string; lowerings: string[]; error?: string }
  | { event: "digest"; digest: "step" | "run"; steps: number; expected: string; found?: string; error?: string };
/**
 * Asks the known answers of every kernel, then the golden step and the golden run; resolves to whether all were right.
 * Rejects if there is no such backend.
 */
export function check(backend: "cpu" | "gpu", tell: (event: CheckEvent) => void): Promise<boolean>;
"#;

/// `CheckEvent` of the TypeScript above.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum CheckEvent {
    Kernel { kernel: &'static str, lowering: &'static str, lowerings: Vec<String>, error: Option<String> },
    Digest { digest: &'static str, steps: u32, expected: String, found: Option<String>, error: Option<String> },
}

/// Seed of the random known answers: any will do.
const SEED: u64 = 1;

/// Sequences a play: any number gives the same digests.
const SEQUENCES: usize = 3;

/// `check` of the TypeScript above.
#[wasm_bindgen(skip_typescript)]
pub async fn check(backend: &str, tell: Function) -> Result<bool, JsError> {
    let mut check = Check { tell, right: true };
    let backend = match backend {
        "cpu" => check.cpu().await?,
        "gpu" => check.gpu().await?,
        other => return Err(JsError::new(&format!("no backend {other:?}: there are cpu and gpu"))),
    };
    if check.right {
        check.digest("step", 1, GOLDEN.step, step_digest(&backend, SEQUENCES).await)?;
        check.digest("run", RUN_STEPS as u32, GOLDEN.run, run_digest(&backend, SEQUENCES).await)?;
    }
    Ok(check.right)
}

struct Check {
    tell: Function,
    right: bool,
}

impl Check {
    async fn cpu(&mut self) -> Result<Backend, JsError> {
        let backend = Backend::Cpu { threads: 1, kernels: fastest };
        for kernel in kernels::ALL {
            let mut outcome = Ok(());
            for case in cases(kernel, SEED) {
                outcome = outcome.and(known_answers::passes(&backend, &case).await);
            }
            self.kernel(kernel.name, "wasm", vec!["wasm".to_owned()], outcome)?;
        }
        Ok(backend)
    }

    async fn gpu(&mut self) -> Result<Backend, JsError> {
        let devices = gpu::devices().await;
        let device = devices.first().ok_or_else(|| JsError::new("this browser offers no GPU: no WebGPU"))?;
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let mut choice = LoweringChoice::default();
        for kernel in kernels::ALL {
            match gpu::tune(&gpu, &[kernel], SEED).await {
                Ok(tuning) => {
                    for tuned in tuning.kernels {
                        let tried =
                            tuned.tried.iter().map(|(lowering, outcome)| format!("{} {outcome}", lowering.name));
                        self.kernel(kernel.name, tuned.chosen.name, tried.collect(), Ok(()))?;
                        choice = choice.with(kernel, tuned.chosen);
                    }
                }
                Err(error) => self.kernel(kernel.name, "none", Vec::new(), Err(error))?,
            }
        }
        Ok(Backend::Gpu { gpu, choice })
    }

    fn kernel(
        &mut self,
        kernel: &'static str,
        lowering: &'static str,
        lowerings: Vec<String>,
        outcome: Result<(), Error>,
    ) -> Result<(), JsError> {
        self.right &= outcome.is_ok();
        self.say(CheckEvent::Kernel {
            kernel,
            lowering,
            lowerings,
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
        self.right &= found.as_ref().is_ok_and(|found| *found == expected);
        let (found, error) = match found {
            Ok(found) => (Some(hex(&found)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.say(CheckEvent::Digest { digest, steps, expected: hex(&expected), found, error })
    }

    fn say(&self, event: CheckEvent) -> Result<(), JsError> {
        let event = serde_wasm_bindgen::to_value(&event)?;
        self.tell.call1(&JsValue::NULL, &event).map_err(|_| JsError::new("the listener threw"))?;
        Ok(())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
