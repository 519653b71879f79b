//! The browser as a miner's host: `fetch`, timers, and a cache that the page brings.

use js_sys::{Function, Promise, Reflect, Uint8Array, global};
use r3mes_wgpu::chain::client::{Host, MAX_ANSWER_BYTES, Offline, Request, Response};
use r3mes_wgpu::store::Cid;
use serde::Serialize;
use std::{cell::Cell, rc::Rc};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, RequestInit};

/// How long one answer may take.
const TIMEOUT_MS: u32 = 60_000;

#[wasm_bindgen]
extern "C" {
    /// `BlockCache` of the TypeScript in `miner`.
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

impl Browser {
    /// Asks nothing yet. Once `stopped`, it asks nothing any more.
    pub(crate) fn new(node: &str, cache: Option<BlockCache>, stopped: Rc<Cell<bool>>) -> Self {
        Self { node: node.trim_end_matches('/').to_owned(), cache, stopped }
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

    async fn fetch(&self, request: Request<'_>) -> Result<Response, JsValue> {
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
        let answer: web_sys::Response = JsFuture::from(answer).await?.dyn_into()?;
        let bytes = JsFuture::from(answer.array_buffer()?).await?;
        let bytes = Uint8Array::new(&bytes);
        if bytes.length() as usize > MAX_ANSWER_BYTES {
            return Err(format!("an answer of {} bytes", bytes.length()).into());
        }
        Ok(Response { status: answer.status(), body: bytes.to_vec() })
    }
}

impl Host for Browser {
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline> {
        if self.stopped.get() {
            return Err(Offline("stopped".to_owned()));
        }
        self.fetch(request).await.map_err(|error| Offline(message(&error)))
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
}

/// Milliseconds since the worker began, to a tenth or better.
pub(crate) fn now() -> f64 {
    let performance = Reflect::get(&global(), &"performance".into()).and_then(JsCast::dyn_into::<web_sys::Performance>);
    performance.map_or_else(|_| js_sys::Date::now(), |performance| performance.now())
}

/// The page's listener.
pub(crate) struct Tell(pub(crate) Function);

impl Tell {
    /// A listener that throws is told so in the console, and work goes on.
    pub(crate) fn say(&self, event: &impl Serialize) {
        let told = serde_wasm_bindgen::to_value(event).map_err(JsValue::from);
        if let Err(error) = told.and_then(|event| self.0.call1(&JsValue::NULL, &event)) {
            web_sys::console::error_1(&message(&error).into());
        }
    }
}

/// Waits, and lets messages to this worker in.
pub(crate) async fn sleep(milliseconds: u32) {
    let wait = Promise::new(&mut |resolve, _| {
        let timer = Reflect::get(&global(), &"setTimeout".into()).and_then(JsCast::dyn_into::<Function>);
        let _ = timer.and_then(|timer| timer.call2(&JsValue::UNDEFINED, &resolve, &milliseconds.into()));
    });
    let _ = JsFuture::from(wait).await;
}

/// What an exception says.
pub(crate) fn message(error: &JsValue) -> String {
    let text = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    text.or_else(|| error.as_string()).unwrap_or_else(|| "an exception without a message".to_owned())
}
