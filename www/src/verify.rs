//! Verification: this browser recomputes the gradient of anybody's receipt and compares every bit.

use super::{
    backend::{self, Opened},
    check::hex,
    host::{BlockCache, Browser, LOOK_MS, blame, now, sleep},
    model,
    tell::Tell,
};
use js_sys::{Function, JSON};
use r3mes_wgpu::{
    client::{Blocks, ClientError, FetchError},
    compute::{Slice, YieldHook},
    protocol::{Mismatch, Receipt, compare, open_receipt},
    store::StoreError,
    training::{
        step::nats,
        worker::{Worker, WorkerError},
    },
};
use serde::{Deserialize, Serialize};
use std::{cell::Cell, pin::Pin};
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface VerifyOptions {
  /** URL of a node that has the receipt's blocks. It need not be trusted: all that it sends is checked. */
  node: string;
  /** auto if left out. */
  backend?: "auto" | "gpu" | "cpu";
  cache?: BlockCache;
}
export interface Verdict {
  /** Whether the receipt holds: every bit of the gradient is the one recomputed. */
  ok: boolean;
  /** Why not: the first thing that differs, or what is missing. */
  reason?: string;
  /** Of the artifact. */
  cid: string;
  /** CID of the task. */
  task: string;
  /** Root over the matrices as recomputed; left out where a receipt fails before that. */
  gradientDigest?: string;
  /** Mean loss in nats as recomputed; left out for a void. */
  loss?: number;
  backend?: "gpu" | "cpu";
  seconds: number;
}
/**
 * Gets what a receipt (JSON text, or what it parses to) names, recomputes its gradient, and compares.
 *
 * Rejects where that can not be told: the receipt or an option is malformed, the node does not answer, trains another
 * model or sends other bytes than a CID names, nothing here can compute.
 */
export function verify(receipt: string | object, options: VerifyOptions, tell?: (event: ProgressEvent) => void): Promise<Verdict>;
"#;

/// `VerifyOptions` of the TypeScript above, but for what is no plain data.
#[derive(Deserialize)]
struct VerifyOptions {
    node: String,
    backend: Option<String>,
}

/// `Verdict` of the TypeScript above.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    ok: bool,
    reason: Option<String>,
    cid: String,
    task: String,
    gradient_digest: Option<String>,
    loss: Option<f64>,
    backend: Option<&'static str>,
    seconds: f64,
}

/// `verify` of the TypeScript above.
#[wasm_bindgen(skip_typescript)]
pub async fn verify(receipt: JsValue, options: JsValue, tell: Option<Function>) -> Result<JsValue, JsValue> {
    let start = now();
    let receipt = read(&receipt)?;
    let cache = BlockCache::of(&options);
    let options: VerifyOptions =
        serde_wasm_bindgen::from_value(options).map_err(|error| JsError::new(&format!("options: {error}")))?;
    let browser = Browser::new(&options.node, cache, Default::default())?;
    let wanted = options.backend.as_deref().unwrap_or("auto");
    let mut verdict = Verdict {
        ok: false,
        reason: None,
        cid: receipt.artifact().to_string(),
        task: receipt.task().cid().to_string(),
        gradient_digest: None,
        loss: None,
        backend: None,
        seconds: 0.0,
    };
    verdict.reason = match recompute(&receipt, &browser, wanted, &Tell::new(tell), &mut verdict).await {
        Ok(()) => None,
        Err(Failure::Receipt(reason)) => Some(reason),
        Err(Failure::Untold(error)) => return Err(error),
    };
    verdict.ok = verdict.reason.is_none();
    verdict.seconds = (now() - start) / 1000.0;
    Ok(serde_wasm_bindgen::to_value(&verdict)?)
}

fn read(receipt: &JsValue) -> Result<Receipt, JsError> {
    let text = match receipt.as_string() {
        Some(text) => text,
        None if receipt.is_object() => JSON::stringify(receipt).map(String::from).unwrap_or_default(),
        None => return Err(JsError::new("receipt: neither JSON text nor what it parses to")),
    };
    Receipt::from_json(&text).map_err(|error| JsError::new(&format!("receipt: {error}")))
}

/// The cheap checks first: nothing is recomputed for a receipt that contradicts itself.
async fn recompute(
    receipt: &Receipt,
    browser: &Browser,
    wanted: &str,
    tell: &Tell,
    verdict: &mut Verdict,
) -> Result<(), Failure> {
    let task = receipt.task();
    tell.state("opening", "getting what the receipt names");
    let blocks = Blocks::of_artifact(browser, &receipt.artifact()).await?;
    let claimed = open_receipt(receipt, &|cid| blocks.get(cid))?;
    let blocks = Blocks::of_task(browser, task).await?;
    let targets = model::targets(task.job.rank, &task.job.targets)?;
    let model = model::download(browser, &task.job.model.to_string()).await?;
    tell.state("opening", "asking the backend the known answers");
    let Opened { backend, kind, .. } = backend::open(wanted, tell).await?;
    verdict.backend = Some(kind);
    let mut worker = Worker::new(&model, &targets, &backend, 1).await?;
    worker.set_yield_hook(YieldHook { clock: now, after_slice: look });
    tell.state("mining", "recomputing");
    let recomputed = worker.compute(task, &|cid| blocks.get(cid)).await?;
    verdict.gradient_digest = Some(hex(&recomputed.gradient_root()));
    verdict.loss = recomputed.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
    Ok(compare(&claimed, &recomputed)?)
}

/// Why a receipt is not found to hold.
enum Failure {
    /// It is the receipt that is wrong: the reason.
    Receipt(String),
    /// Anything else: it can not be told.
    Untold(JsValue),
}

impl From<Mismatch> for Failure {
    fn from(mismatch: Mismatch) -> Self {
        Self::Receipt(mismatch.to_string())
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Manifest(_) | FetchError::Client(ClientError::Store(StoreError::Missing(_))) => {
                Self::Receipt(error.to_string())
            }
            error => Self::Untold(blame(&error.into())),
        }
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Work(_) => Self::Receipt(error.to_string()),
            error => Self::Untold(blame(&error.into())),
        }
    }
}

impl From<JsValue> for Failure {
    fn from(error: JsValue) -> Self {
        Self::Untold(error)
    }
}

impl From<JsError> for Failure {
    fn from(error: JsError) -> Self {
        Self::Untold(error.into())
    }
}

thread_local! {
    /// Milliseconds worked since other messages to this worker were let in.
    static WORKED: Cell<f64> = const { Cell::new(0.0) };
}

/// Lets messages in between slices, so that a miner in the same worker still hears of a pause.
fn look(slice: Slice) -> Pin<Box<dyn Future<Output = bool>>> {
    Box::pin(async move {
        let worked = WORKED.get() + slice.worked_ms;
        WORKED.set(worked);
        if worked >= LOOK_MS {
            WORKED.set(0.0);
            sleep(0).await;
        }
        true
    })
}
