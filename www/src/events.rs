//! Events: what the miner tells the page.

use super::host::message;
use js_sys::Function;
use r3mes_wgpu::{
    chain::client::ClientError,
    mining::{self, MiningError, Stage},
    work::{CHUNK_TOKENS, Receipt},
};
use serde::Serialize;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export type MinerEvent =
  | { event: "state"; state: "opening" | "mining" | "waiting" | "offline" | "stopped"; reason: string }
  | {
      event: "backend"; backend: "gpu" | "cpu"; name: string; class: string; software: boolean; reason: string;
      bufferBytes?: number; bindingBytes?: number; lowerings: string[];
    }
  | { event: "claimed"; task: string; chunk: string; seed: string; round: number }
  | { event: "progress"; share: number }
  | { event: "computed" | "found"; cid: string; task: string; receipt: string }
  | { event: "stored" }
  | {
      event: "accepted"; cid: string; transaction: string; gradientDigest: string; round: number; loss?: number;
      tokens: number; seconds?: number; reward: number; balance: number; receipt: string; memoryBytes: number;
    }
  | { event: "rejected"; transaction: string; code: number; reason: string };
"#;

/// `MinerEvent` of the TypeScript above.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum MinerEvent {
    State {
        state: &'static str,
        reason: String,
    },
    Backend {
        backend: &'static str,
        name: String,
        class: String,
        software: bool,
        reason: String,
        buffer_bytes: Option<f64>,
        binding_bytes: Option<f64>,
        lowerings: Vec<String>,
    },
    Claimed {
        task: String,
        chunk: String,
        seed: String,
        round: u64,
    },
    Progress {
        share: f64,
    },
    Computed {
        cid: String,
        task: String,
        receipt: String,
    },
    Found {
        cid: String,
        task: String,
        receipt: String,
    },
    Stored,
    Accepted {
        cid: String,
        transaction: String,
        gradient_digest: String,
        round: u64,
        loss: Option<f64>,
        tokens: usize,
        seconds: Option<f64>,
        reward: u64,
        balance: u64,
        receipt: String,
        memory_bytes: f64,
    },
    Rejected {
        transaction: String,
        code: u32,
        reason: String,
    },
}

/// The page's listener.
#[derive(Clone)]
pub(crate) struct Tell(pub(crate) Function);

impl Tell {
    /// A listener that throws is told so in the console, and mining goes on.
    pub(crate) fn say(&self, event: &MinerEvent) {
        let told = serde_wasm_bindgen::to_value(event).map_err(JsValue::from);
        if let Err(error) = told.and_then(|event| self.0.call1(&JsValue::NULL, &event)) {
            web_sys::console::error_1(&message(&error).into());
        }
    }

    pub(crate) fn state(&self, state: &'static str, reason: &str) {
        self.say(&MinerEvent::State { state, reason: reason.to_owned() });
    }

    pub(crate) fn stage(&self, stage: &Stage) {
        let named =
            |receipt: &Receipt| (receipt.artifact().to_string(), receipt.task().cid().to_string(), receipt.to_json());
        self.say(&match stage {
            Stage::Claimed(task, round) => MinerEvent::Claimed {
                task: task.cid().to_string(),
                chunk: task.chunk.to_string(),
                seed: hex(&task.seed),
                round: *round,
            },
            Stage::Computed(receipt) => {
                let (cid, task, receipt) = named(receipt);
                MinerEvent::Computed { cid, task, receipt }
            }
            Stage::Found(receipt) => {
                let (cid, task, receipt) = named(receipt);
                MinerEvent::Found { cid, task, receipt }
            }
            Stage::Stored => MinerEvent::Stored,
        });
    }

    /// `seconds`: of computing alone; `None` where it was computed before.
    pub(crate) fn accepted(&self, accepted: &mining::Accepted, seconds: Option<f64>, reward: u64) {
        self.say(&MinerEvent::Accepted {
            cid: accepted.receipt.artifact().to_string(),
            transaction: accepted.transaction.clone(),
            gradient_digest: hex(&accepted.gradient_root),
            round: accepted.round,
            loss: accepted.loss,
            tokens: CHUNK_TOKENS,
            seconds,
            reward,
            balance: accepted.balance,
            receipt: accepted.receipt.to_json(),
            memory_bytes: memory_bytes(),
        });
    }

    /// Tells of a transaction that failed, if that is what the error is; returns its code.
    pub(crate) fn rejected(&self, error: &MiningError) -> Option<u32> {
        let MiningError::Client(ClientError::Failed { hash, code, log }) = error else { return None };
        self.say(&MinerEvent::Rejected { transaction: hash.clone(), code: *code, reason: log.clone() });
        Some(*code)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All that the engine has taken for itself; it never gives any back.
fn memory_bytes() -> f64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::JsCast::unchecked_into(wasm_bindgen::memory());
    let buffer: js_sys::ArrayBuffer = wasm_bindgen::JsCast::unchecked_into(memory.buffer());
    f64::from(buffer.byte_length())
}
