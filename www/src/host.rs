//! The browser as a miner's host: `fetch`, timers, and a cache that the page brings.

use js_sys::{Function, Promise, Reflect, Uint8Array, global};
use r3mes_wgpu::{
    agents::miner::MiningError,
    client::{ClientError, Host, MAX_ANSWER_BYTES, Offline, Request, Response, Take},
    store::Cid,
    tx::code,
};
use std::{cell::Cell, ops::ControlFlow, rc::Rc};
use wasm_bindgen::prelude::{JsCast, JsError, JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, ReadableStreamDefaultReader, RequestInit};

/// The cache's name of the work at hand.
const SAVED: &str = "work.car";
/// Milliseconds of work on the CPU between two looks at the messages.
pub(crate) const LOOK_MS: f64 = 50.0;
/// How long one answer may take.
const TIMEOUT_MS: u32 = 60_000;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Where blocks are kept pair visits. What it returns is checked, so it need not be trusted. */
export interface BlockCache {
  get(name: string): Promise<Uint8Array | undefined>;
  put(name: string, bytes: Uint8Array): Promise<void>;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// `BlockCache` of the TypeScript above.
    #[wasm_bindgen(js_name = BlockCache)]
    pub type BlockCache;
    #[wasm_bindgen(method, catch)]
    async fn get(this: &BlockCache, name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn put(this: &BlockCache, name: &str, bytes: Uint8Array) -> Result<(), JsValue>;
}

/// A node by its URL, and what was got of it before.
pub(crate) struct Browser {
    node: String,
    cache: Option<BlockCache>,
    stopped: Rc<Cell<bool>>,
}

impl BlockCache {
    /// That of a call's options, if they have one.
    pub(crate) fn of(options: &JsValue) -> Option<Self> {
        let cache = Reflect::get(options, &"cache".into()).ok().filter(JsValue::is_object)?;
        Some(cache.unchecked_into())
    }
}

impl Browser {
    /// Asks nothing yet. Once `stopped`, it asks nothing any more.
    pub(crate) fn new(node: &str, cache: Option<BlockCache>, stopped: Rc<Cell<bool>>) -> Result<Self, JsError> {
        if !node.starts_with("http://") && !node.starts_with("https://") {
            return Err(JsError::new(&format!("node: {node:?} is not an http(s) URL")));
        }
        Ok(Self { node: node.trim_end_matches('/').to_owned(), cache, stopped })
    }

    /// What the cache holds under a name; a cache that fails holds nothing.
    pub(crate) async fn cached(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = self.cache.as_ref()?.get(name).await.ok()?;
        Some(bytes.dyn_into::<Uint8Array>().ok()?.to_vec())
    }

    /// Puts bytes into the cache; one that is full or forbidden is gone without.
    pub(crate) async fn cache(&self, name: &str, bytes: &[u8]) {
        if let Some(cache) = &self.cache {
            let _ = cache.put(name, Uint8Array::from(bytes)).await;
        }
    }

    async fn answer(&self, request: Request<'_>) -> Result<web_sys::Response, Offline> {
        if self.stopped.get() {
            return Err(Offline("stopped".to_owned()));
        }
        self.fetch(request).await.map_err(|error| Offline(message(&error)))
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
        let answer: Promise = fetch.call2(&JsValue::UNDEFINED, &url.into(), &init)?.dyn_into()?;
        JsFuture::from(answer).await?.dyn_into()
    }
}

/// An answer's bytes, no more than are wanted: a node may send without end.
async fn read(answer: &web_sys::Response) -> Result<Vec<u8>, JsValue> {
    let (mut bytes, mut too_many) = (Vec::new(), false);
    let take = &mut |part: &[u8]| {
        too_many = bytes.len() + part.len() > MAX_ANSWER_BYTES;
        if too_many {
            return ControlFlow::Break(());
        }
        bytes.extend(part);
        ControlFlow::Continue(())
    };
    pour(answer, take).await?;
    match too_many {
        true => Err(format!("an answer of more than {MAX_ANSWER_BYTES} bytes").into()),
        false => Ok(bytes),
    }
}

/// Gives away an answer's bytes as they come. Looks once more after enough: at its end, the connection serves again.
async fn pour(answer: &web_sys::Response, take: Take<'_>) -> Result<(), JsValue> {
    let Some(stream) = answer.body() else { return Ok(()) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().dyn_into()?;
    let mut enough = false;
    loop {
        let part = JsFuture::from(reader.read()).await?;
        if Reflect::get(&part, &"done".into())?.is_truthy() {
            return Ok(());
        }
        if enough {
            let _ = JsFuture::from(reader.cancel()).await;
            return Ok(());
        }
        let part: Uint8Array = Reflect::get(&part, &"value".into())?.dyn_into()?;
        enough = take(&part.to_vec()).is_break();
    }
}

impl Host for Browser {
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline> {
        let answer = self.answer(request).await?;
        let body = read(&answer).await.map_err(|error| Offline(message(&error)))?;
        Ok(Response { status: answer.status(), body })
    }

    async fn dag(&self, at: usize, path: &str, take: Take<'_>) -> Option<Result<u16, Offline>> {
        if at > 0 {
            return None;
        }
        let answer = match self.answer(Request { path, body: None }).await {
            Ok(answer) => answer,
            Err(offline) => return Some(Err(offline)),
        };
        if answer.ok() {
            // what came before it broke off is as good
            let _ = pour(&answer, take).await;
        }
        Some(Ok(answer.status()))
    }

    async fn sleep(&self, milliseconds: u32) {
        sleep(milliseconds).await;
    }

    async fn kept(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.cached(&cid.to_string()).await
    }

    async fn keep(&self, cid: &Cid, bytes: &[u8]) {
        self.cache(&cid.to_string(), bytes).await;
    }

    async fn saved(&self) -> Option<Vec<u8>> {
        self.cached(SAVED).await
    }

    async fn save(&self, bytes: &[u8]) {
        self.cache(SAVED, bytes).await;
    }
}

/// Milliseconds since the worker began, to a tenth or better.
pub(crate) fn now() -> f64 {
    let performance = Reflect::get(&global(), &"performance".into()).and_then(JsCast::dyn_into::<web_sys::Performance>);
    performance.map_or_else(|_| js_sys::Date::now(), |performance| performance.now())
}

/// Waits, and lets messages to this worker in.
pub(crate) async fn sleep(milliseconds: u32) {
    let wait = Promise::new(&mut |resolve, _| {
        let timer = Reflect::get(&global(), &"setTimeout".into()).and_then(JsCast::dyn_into::<Function>);
        let _ = timer.and_then(|timer| timer.call2(&JsValue::UNDEFINED, &resolve, &milliseconds.into()));
    });
    let _ = JsFuture::from(wait).await;
}

/// An exception with a name, for whoever must tell one from another.
pub(crate) fn failure(name: &str, error: &dyn std::fmt::Display) -> JsValue {
    let exception = js_sys::Error::new(&error.to_string());
    exception.set_name(name);
    exception.into()
}

/// An exception named after who is at fault: `Offline` and `Refused` the node, `Backend` the device. A gradient that the
/// node finds wrong is the device's.
pub(crate) fn blame(error: &MiningError) -> JsValue {
    let name = match error {
        error if error.is_temporary() => "Offline",
        MiningError::Client(ClientError::Failed { code: code::REJECTED, .. }) => "Backend",
        MiningError::Client(_) | MiningError::Blocks(_) => "Refused",
        _ => "Backend",
    };
    failure(name, error)
}

/// What an exception says.
pub(crate) fn message(error: &JsValue) -> String {
    let text = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    text.or_else(|| error.as_string()).unwrap_or_else(|| "an exception without a message".to_owned())
}
