//! Sends events to the page's listener. Defines the events that mining and verification have in common.

use super::host::message;
use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export type ProgressEvent =
  | { event: "state"; state: "opening" | "mining" | "waiting" | "offline" | "stopped"; reason: string }
  | {
      event: "backend"; backend: "gpu" | "cpu"; name: string; class: string; software: boolean; reason: string;
      bufferBytes?: number; bindingBytes?: number; lowerings: string[];
    };
"#;

/// An event that reports the state of the engine, or its backend: the Rust form of the TypeScript type `ProgressEvent`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum ProgressEvent {
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
}

/// Sends events to a function of the page, or discards them if the page has passed no function.
#[derive(Clone)]
pub(crate) struct EventSink(Option<Function>);

impl EventSink {
    pub(crate) fn new(listener: Option<Function>) -> Self {
        Self(listener)
    }

    /// Sends an event to the page. If the page's function throws, the exception is only logged to the console.
    pub(crate) fn send(&self, event: &impl Serialize) {
        let Some(listener) = &self.0 else { return };
        let event = serde_wasm_bindgen::to_value(event).map_err(JsValue::from);
        if let Err(error) = event.and_then(|event| listener.call1(&JsValue::NULL, &event)) {
            web_sys::console::error_1(&message(&error).into());
        }
    }

    /// Sends a `state` event, with the new state and the reason for it.
    pub(crate) fn state(&self, state: &'static str, reason: &str) {
        self.send(&ProgressEvent::State { state, reason: reason.to_owned() });
    }
}
