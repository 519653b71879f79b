//! Provides what the library needs from the browser: HTTP requests by `fetch`, timers, and the page's cache.

use js_sys::{Function, Promise, Reflect, Uint8Array, global};
use r3mes_wgpu::{
    agents::miner::MiningError,
    client::{
        BlockCache, BlockSource, ChunkSink, Classify, ClientError, Connection, MAX_RESPONSE_BYTES, NoResponse, Request,
        Response, Timer, WorkFile,
    },
    store::Cid,
    tx::code,
};
use std::{cell::Cell, ops::ControlFlow, rc::Rc};
use wasm_bindgen::prelude::{JsCast, JsError, JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, ReadableStreamDefaultReader, RequestInit};

/// The name of the work file in the page's cache. The work file stores a computed gradient until it is accepted.
const WORK_FILE: &str = "work.car";
/// The computing time after which the worker handles messages, in milliseconds.
pub(crate) const YIELD_MS: f64 = 50.0;
/// The time after which a request is aborted, in milliseconds.
const TIMEOUT_MS: u32 = 60_000;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/**
 * A cache that keeps data blocks from one visit to the next. It need not be trusted, because the engine checks all
 * bytes that it reads from the cache.
 */
export interface BlockCache {
  get(name: string): Promise<Uint8Array | undefined>;
  put(name: string, bytes: Uint8Array): Promise<void>;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// The page's cache: a JavaScript object with the methods `get` and `put` of the TypeScript interface `BlockCache`.
    #[wasm_bindgen(js_name = BlockCache)]
    pub type PageCache;
    #[wasm_bindgen(method, catch)]
    async fn get(this: &PageCache, name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn put(this: &PageCache, name: &str, bytes: Uint8Array) -> Result<(), JsValue>;
}

/// A connection to one node, together with the page's cache if there is one.
pub(crate) struct BrowserHost {
    node: String,
    cache: Option<PageCache>,
    stopped: Rc<Cell<bool>>,
}

impl PageCache {
    /// Returns the object in the property `cache` of `options`, or `None` if there is none.
    pub(crate) fn of(options: &JsValue) -> Option<Self> {
        let cache = Reflect::get(options, &"cache".into()).ok().filter(JsValue::is_object)?;
        Some(cache.unchecked_into())
    }
}

impl BrowserHost {
    /// Creates a connection to the node at the URL `node`, without sending a request. While `stopped` is true, every
    /// request fails.
    pub(crate) fn new(node: &str, cache: Option<PageCache>, stopped: Rc<Cell<bool>>) -> Result<Self, JsError> {
        if !node.starts_with("http://") && !node.starts_with("https://") {
            return Err(JsError::new(&format!("the node's URL is {node:?}, but must begin with http:// or https://")));
        }
        Ok(Self { node: node.trim_end_matches('/').to_owned(), cache, stopped })
    }

    /// Returns the bytes that the cache stores under a name, or `None` if there are none or the cache fails.
    pub(crate) async fn load(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = self.cache.as_ref()?.get(name).await.ok()?;
        Some(bytes.dyn_into::<Uint8Array>().ok()?.to_vec())
    }

    /// Stores bytes in the cache under a name. Ignores a failure, such as full or forbidden storage.
    pub(crate) async fn save(&self, name: &str, bytes: &[u8]) {
        if let Some(cache) = &self.cache {
            let _ = cache.put(name, Uint8Array::from(bytes)).await;
        }
    }

    async fn send(&self, request: Request<'_>) -> Result<web_sys::Response, NoResponse> {
        if self.stopped.get() {
            return Err(NoResponse("stopped".to_owned()));
        }
        self.fetch(request).await.map_err(|error| {
            let (node, reason) = (&self.node, message(&error));
            // the error's text begins with "no response from"
            NoResponse(format!(
                "the node {node} ({reason}). Check that it is running, that it allows this page, and that this device is \
                 online"
            ))
        })
    }

    async fn fetch(&self, request: Request<'_>) -> Result<web_sys::Response, JsValue> {
        let init = RequestInit::new();
        init.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MS)));
        if let Some((kind, bytes)) = request.body {
            let headers = Headers::new()?;
            headers.set("content-type", kind)?;
            init.set_method("POST");
            init.set_headers(&headers);
            init.set_body(&Uint8Array::from(bytes));
        }
        let fetch: Function = Reflect::get(&global(), &"fetch".into())?.dyn_into()?;
        let url = format!("{}{}", self.node, request.path);
        let response: Promise = fetch.call2(&JsValue::UNDEFINED, &url.into(), &init)?.dyn_into()?;
        JsFuture::from(response).await?.dyn_into()
    }
}

/// Returns the body of a response, or an error if the body is larger than [`MAX_RESPONSE_BYTES`]. Without this limit, a
/// node could fill the memory.
async fn read(response: &web_sys::Response) -> Result<Vec<u8>, JsValue> {
    let (mut bytes, mut too_many) = (Vec::new(), false);
    let sink = &mut |part: &[u8]| {
        too_many = bytes.len() + part.len() > MAX_RESPONSE_BYTES;
        if too_many {
            return ControlFlow::Break(());
        }
        bytes.extend(part);
        ControlFlow::Continue(())
    };
    read_chunks(response, sink).await?;
    match too_many {
        true => Err(format!("the response is larger than {MAX_RESPONSE_BYTES} bytes").into()),
        false => Ok(bytes),
    }
}

/// Passes the body of a response to `sink` in parts, as they arrive. When `sink` returns `Break`, this function reads
/// one more part. If there is none, the body has ended, and the browser can reuse the connection. Otherwise, the
/// function cancels the response.
async fn read_chunks(response: &web_sys::Response, sink: ChunkSink<'_>) -> Result<(), JsValue> {
    let Some(stream) = response.body() else { return Ok(()) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().dyn_into()?;
    let mut is_complete = false;
    loop {
        let part = JsFuture::from(reader.read()).await?;
        if Reflect::get(&part, &"done".into())?.is_truthy() {
            return Ok(());
        }
        if is_complete {
            let _ = JsFuture::from(reader.cancel()).await;
            return Ok(());
        }
        let part: Uint8Array = Reflect::get(&part, &"value".into())?.dyn_into()?;
        is_complete = sink(&part.to_vec()).is_break();
    }
}

impl Connection for BrowserHost {
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse> {
        let response = self.send(request).await?;
        let body = read(&response).await.map_err(|error| NoResponse(format!("{}: {}", self.node, message(&error))))?;
        Ok(Response { status: response.status(), body })
    }
}

/// Fetches data blocks from gateways (servers of data blocks), which are numbered from 0. The node is the only gateway
/// and has the number 0.
impl BlockSource for BrowserHost {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        if gateway == 0 { Some(self.request(Request::get(path)).await) } else { None }
    }

    async fn stream(&self, gateway: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        if gateway > 0 {
            return None;
        }
        let response = match self.send(Request::get(path)).await {
            Ok(response) => response,
            Err(error) => return Some(Err(error)),
        };
        if response.ok() {
            // if the body breaks off, the blocks that arrived before are still used
            let _ = read_chunks(&response, sink).await;
        }
        Some(Ok(response.status()))
    }
}

impl BlockCache for BrowserHost {
    async fn load_block(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.load(&cid.to_string()).await
    }

    async fn cache_block(&self, cid: &Cid, bytes: &[u8]) {
        self.save(&cid.to_string(), bytes).await;
    }
}

impl WorkFile for BrowserHost {
    async fn load_work(&self) -> Option<Vec<u8>> {
        self.load(WORK_FILE).await
    }

    async fn save_work(&self, bytes: &[u8]) {
        self.save(WORK_FILE, bytes).await;
    }
}

impl Timer for BrowserHost {
    async fn sleep(&self, milliseconds: u32) {
        sleep(milliseconds).await;
    }
}

/// Returns the milliseconds since the worker started, with a resolution of 0.1 ms or better.
pub(crate) fn now() -> f64 {
    let performance = Reflect::get(&global(), &"performance".into()).and_then(JsCast::dyn_into::<web_sys::Performance>);
    performance.map_or_else(|_| js_sys::Date::now(), |performance| performance.now())
}

/// Waits for the given number of milliseconds. The worker handles messages while it waits.
pub(crate) async fn sleep(milliseconds: u32) {
    let wait = Promise::new(&mut |resolve, _| {
        let timer = Reflect::get(&global(), &"setTimeout".into()).and_then(JsCast::dyn_into::<Function>);
        let _ = timer.and_then(|timer| timer.call2(&JsValue::UNDEFINED, &resolve, &milliseconds.into()));
    });
    let _ = JsFuture::from(wait).await;
}

/// Creates a JavaScript exception with a name. The page distinguishes kinds of errors by this name.
pub(crate) fn exception(name: &str, error: &dyn std::fmt::Display) -> JsValue {
    let exception = js_sys::Error::new(&error.to_string());
    exception.set_name(name);
    exception.into()
}

/// Creates an exception whose name says what failed: `Offline` if the node does not respond, `Refused` if the node
/// refuses a request, and `Backend` if the device computes wrong results or fails. A rejected gradient counts as a
/// wrong result.
pub(crate) fn node_exception(error: &MiningError) -> JsValue {
    let name = match error {
        error if error.is_retryable() => "Offline",
        MiningError::Client(ClientError::Failed { code: code::REJECTED, .. }) => "Backend",
        MiningError::Client(_) | MiningError::Blocks(_) => "Refused",
        _ => "Backend",
    };
    exception(name, error)
}

/// Returns the message of a JavaScript exception, or the exception itself if it is a string.
pub(crate) fn message(error: &JsValue) -> String {
    let text = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    text.or_else(|| error.as_string()).unwrap_or_else(|| "an exception without a message".to_owned())
}
