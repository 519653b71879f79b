//! Verifies a receipt in the browser: recomputes the gradient, and compares every bit with the gradient in the artifact
//! whose CID the receipt states.

use super::{
    backend::{self, OpenBackend},
    check::hex,
    event_sink::EventSink,
    host::{BrowserHost, PageCache, YIELD_MS, node_exception, now, sleep},
    model,
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
  /** The URL of a node that has the data blocks of the receipt. It need not be trusted, because all data is checked. */
  node: string;
  /** The backend that recomputes the gradient; by default auto. */
  backend?: "auto" | "gpu" | "cpu";
  cache?: BlockCache;
}
export interface Verdict {
  /** Whether the receipt is valid: every bit of its gradient equals the recomputed one. */
  ok: boolean;
  /** Why the receipt is not valid: the first difference, or what is missing. */
  reason?: string;
  /** CID of the artifact. */
  cid: string;
  /** CID of the task. */
  task: string;
  /** The root hash of the recomputed gradient, in hexadecimal; missing if a check failed before the recomputation. */
  gradientDigest?: string;
  /** The recomputed mean loss in nats per token; missing if the result is void. */
  loss?: number;
  /** The backend that recomputed the gradient. */
  backend?: "gpu" | "cpu";
  /** How long the verification took, in seconds. */
  seconds: number;
}
/**
 * Fetches the data blocks of a receipt, recomputes its gradient, and compares the two gradients. The receipt is JSON
 * text or the parsed object.
 *
 * Rejects if there is no verdict: the receipt or an option is malformed; the node does not respond, trains another
 * model or sends bytes that do not match their CID; or no backend is available.
 */
export function verify(receipt: string | object, options: VerifyOptions, onEvent?: (event: ProgressEvent) => void): Promise<Verdict>;
"#;

/// The options of a verification: the Rust form of the TypeScript interface `VerifyOptions`, without the cache.
#[derive(Deserialize)]
struct VerifyOptions {
    node: String,
    backend: Option<String>,
}

/// The result of a verification: the Rust form of the TypeScript interface `Verdict`.
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

/// Verifies a receipt (JSON text, or the parsed object) and resolves to a `Verdict`. `options` is an object of the type
/// `VerifyOptions`. Rejects if there can be no verdict, for example because the node does not respond.
#[wasm_bindgen(skip_typescript)]
pub async fn verify(receipt: JsValue, options: JsValue, on_event: Option<Function>) -> Result<JsValue, JsValue> {
    let start = now();
    let receipt = read(&receipt)?;
    let cache = PageCache::of(&options);
    let options: VerifyOptions =
        serde_wasm_bindgen::from_value(options).map_err(|error| JsError::new(&format!("options: {error}")))?;
    let browser = BrowserHost::new(&options.node, cache, Default::default())?;
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
    verdict.reason = match recompute(&receipt, &browser, wanted, &EventSink::new(on_event), &mut verdict).await {
        Ok(()) => None,
        Err(VerifyError::Invalid(reason)) => Some(reason),
        Err(VerifyError::Exception(error)) => return Err(error),
    };
    verdict.ok = verdict.reason.is_none();
    verdict.seconds = (now() - start) / 1000.0;
    Ok(serde_wasm_bindgen::to_value(&verdict)?)
}

fn read(receipt: &JsValue) -> Result<Receipt, JsError> {
    let text = match receipt.as_string() {
        Some(text) => text,
        None if receipt.is_object() => JSON::stringify(receipt).map(String::from).unwrap_or_default(),
        None => return Err(JsError::new("receipt: neither JSON text nor an object")),
    };
    Receipt::from_json(&text).map_err(|error| JsError::new(&format!("receipt: {error}")))
}

/// Verifies a receipt, and stores in `verdict` what it finds. The cheap checks come first; nothing is recomputed for a
/// receipt that fails one of them. Returns `Ok` if the receipt is valid.
async fn recompute(
    receipt: &Receipt,
    browser: &BrowserHost,
    wanted: &str,
    events: &EventSink,
    verdict: &mut Verdict,
) -> Result<(), VerifyError> {
    let task = receipt.task();
    events.state("opening", "fetching the receipt's blocks");
    let blocks = Blocks::of_artifact(browser, &receipt.artifact()).await?;
    let claimed = open_receipt(receipt, &|cid| blocks.get(cid))?;
    let blocks = Blocks::of_task(browser, task).await?;
    let targets = model::targets(task.job.rank, &task.job.targets)?;
    let model = model::download(browser, &task.job.model.to_string()).await?;
    events.state("opening", "testing the backend's known answers");
    let OpenBackend { backend, kind, .. } = backend::open(wanted, events).await?;
    verdict.backend = Some(kind);
    let mut worker = Worker::new(&model, &targets, &backend, 1).await?;
    worker.set_yield_hook(YieldHook { clock: now, after_slice: yield_to_messages });
    events.state("mining", "recomputing");
    let recomputed = worker.compute(task, &|cid| blocks.get(cid)).await?;
    verdict.gradient_digest = Some(hex(&recomputed.gradient_root()));
    verdict.loss = recomputed.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
    Ok(compare(&claimed, &recomputed)?)
}

/// Why a verification did not find the receipt valid.
enum VerifyError {
    /// The receipt is invalid, for the given reason.
    Invalid(String),
    /// The verification could not be completed. It ends with the given exception.
    Exception(JsValue),
}

impl From<Mismatch> for VerifyError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Invalid(mismatch.to_string())
    }
}

impl From<FetchError> for VerifyError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Manifest(_) | FetchError::Client(ClientError::Store(StoreError::Missing(_))) => {
                Self::Invalid(error.to_string())
            }
            error => Self::Exception(node_exception(&error.into())),
        }
    }
}

impl From<WorkerError> for VerifyError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Work(_) => Self::Invalid(error.to_string()),
            error => Self::Exception(node_exception(&error.into())),
        }
    }
}

impl From<JsValue> for VerifyError {
    fn from(error: JsValue) -> Self {
        Self::Exception(error)
    }
}

impl From<JsError> for VerifyError {
    fn from(error: JsError) -> Self {
        Self::Exception(error.into())
    }
}

thread_local! {
    /// How long the worker has computed since it last handled messages, in milliseconds.
    static WORKED_MS: Cell<f64> = const { Cell::new(0.0) };
}

/// The function that runs after each slice of work of a verification. It lets the worker handle messages, so that the
/// page can pause a miner in the same worker.
fn yield_to_messages(slice: Slice) -> Pin<Box<dyn Future<Output = bool>>> {
    Box::pin(async move {
        let worked_ms = WORKED_MS.get() + slice.worked_ms;
        WORKED_MS.set(worked_ms);
        if worked_ms >= YIELD_MS {
            WORKED_MS.set(0.0);
            sleep(0).await;
        }
        true
    })
}
