//! The events by which a miner informs the page of its progress.

use super::{check::hex, event_sink::EventSink};
use r3mes_wgpu::{
    agents::miner::{AcceptedTask, MiningError, TaskStage},
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

/// An event of a miner: the Rust form of the TypeScript type `MinerEvent`, without the events of `ProgressEvent`.
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

impl EventSink {
    /// Sends the event which says that the current task has reached a stage, such as `claimed` or `computed`.
    pub(crate) fn stage(&self, stage: &TaskStage) {
        let fields =
            |receipt: &Receipt| (receipt.artifact().to_string(), receipt.task().cid().to_string(), receipt.to_json());
        self.send(&match stage {
            TaskStage::Claimed { task, round } => MinerEvent::Claimed {
                task: task.cid().to_string(),
                chunk: task.chunk.to_string(),
                seed: hex(&task.seed),
                round: *round,
            },
            TaskStage::Computed(receipt) => {
                let (cid, task, receipt) = fields(receipt);
                MinerEvent::Computed { cid, task, receipt }
            }
            TaskStage::Restored(receipt) => {
                let (cid, task, receipt) = fields(receipt);
                MinerEvent::Found { cid, task, receipt }
            }
            TaskStage::Stored => MinerEvent::Stored,
            TaskStage::Submitted(id) => MinerEvent::Submitted { id: *id },
        });
    }

    /// Sends an `accepted` event. `seconds` is the computing time of the task, or `None` if its gradient was computed
    /// earlier and then found in the page's cache. `reward` is the reward for the task, and `escrow` is the
    /// total of the miner's rewards in escrow, both in micro-units.
    pub(crate) fn accepted(&self, task: &AcceptedTask, seconds: Option<f64>, reward: u64, escrow: u64) {
        self.send(&MinerEvent::Accepted {
            cid: task.receipt.artifact().to_string(),
            transaction: task.transaction.clone(),
            gradient_digest: hex(&task.gradient_root),
            round: task.round,
            loss: task.loss,
            tokens: CHUNK_TOKENS,
            seconds,
            reward,
            balance: task.balance,
            escrow,
            receipt: task.receipt.to_json(),
            memory_bytes: memory_bytes(),
        });
    }

    /// Sends a `rejected` event if `error` means that a transaction failed, that the claim was lost, or that the
    /// gradient was rejected. Sends nothing for any other error.
    pub(crate) fn rejected(&self, error: &MiningError) {
        let (transaction, code, reason) = match error {
            MiningError::Client(ClientError::Failed { hash, code, log }) => (hash.clone(), *code, log.clone()),
            MiningError::ClaimLost(reason) => (String::new(), code::TAKEN, reason.clone()),
            MiningError::Rejected { .. } => (String::new(), code::REJECTED, error.to_string()),
            _ => return,
        };
        self.send(&MinerEvent::Rejected { transaction, code, reason });
    }
}

/// Returns the size of the engine's WebAssembly memory in bytes. This memory can grow, but never shrinks.
fn memory_bytes() -> f64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    f64::from(buffer.byte_length())
}
