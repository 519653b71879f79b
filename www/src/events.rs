//! Events: what the miner tells the page.

use super::{check::hex, tell::Tell};
use r3mes_wgpu::{
    agents::miner::{self, MiningError, TaskStage},
    client::ClientError,
    protocol::{CHUNK_TOKENS, Receipt},
    tx::code,
};
use serde::Serialize;
use wasm_bindgen::prelude::{JsCast, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export type MinerEvent =
  | ProgressEvent
  | { event: "claimed"; task: string; chunk: string; seed: string; round: number }
  | { event: "progress"; share: number }
  | { event: "computed" | "found"; cid: string; task: string; receipt: string }
  | { event: "stored" }
  | { event: "submitted"; id: number }
  | {
      event: "accepted"; cid: string; transaction: string; gradientDigest: string; round: number; loss?: number;
      tokens: number; seconds?: number; reward: number; balance: number; escrow: number; receipt: string;
      memoryBytes: number;
    }
  | { event: "rejected"; transaction: string; code: number; reason: string };
"#;

/// `MinerEvent` of the TypeScript above, but for what every long call tells.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum MinerEvent {
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
    Submitted {
        id: u64,
    },
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
        escrow: u64,
        receipt: String,
        memory_bytes: f64,
    },
    Rejected {
        transaction: String,
        code: u32,
        reason: String,
    },
}

impl Tell {
    pub(crate) fn stage(&self, stage: &TaskStage) {
        let named =
            |receipt: &Receipt| (receipt.artifact().to_string(), receipt.task().cid().to_string(), receipt.to_json());
        self.say(&match stage {
            TaskStage::Claimed(task, round) => MinerEvent::Claimed {
                task: task.cid().to_string(),
                chunk: task.chunk.to_string(),
                seed: hex(&task.seed),
                round: *round,
            },
            TaskStage::Computed(receipt) => {
                let (cid, task, receipt) = named(receipt);
                MinerEvent::Computed { cid, task, receipt }
            }
            TaskStage::Found(receipt) => {
                let (cid, task, receipt) = named(receipt);
                MinerEvent::Found { cid, task, receipt }
            }
            TaskStage::Stored => MinerEvent::Stored,
            TaskStage::Submitted(id) => MinerEvent::Submitted { id: *id },
        });
    }

    /// `seconds`: of computing alone; `None` where it was computed before. `escrow`: what is held back of all rewards.
    pub(crate) fn accepted(&self, accepted: &miner::Accepted, seconds: Option<f64>, reward: u64, escrow: u64) {
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
            escrow,
            receipt: accepted.receipt.to_json(),
            memory_bytes: memory_bytes(),
        });
    }

    /// Tells of a transaction that failed or a gradient that does not count, if that is what the error is; returns the
    /// code.
    pub(crate) fn rejected(&self, error: &MiningError) -> Option<u32> {
        let (transaction, code, reason) = match error {
            MiningError::Client(ClientError::Failed { hash, code, log }) => (hash.clone(), *code, log.clone()),
            MiningError::Late(reason) => (String::new(), code::TAKEN, reason.clone()),
            MiningError::Rejected { .. } => (String::new(), code::REJECTED, error.to_string()),
            _ => return None,
        };
        self.say(&MinerEvent::Rejected { transaction, code, reason });
        Some(code)
    }
}

/// All that the engine has taken for itself; it never gives any back.
fn memory_bytes() -> f64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    f64::from(buffer.byte_length())
}
