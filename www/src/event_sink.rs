//! The page's event listener, and the events that every long call sends.

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

/// The type `ProgressEvent` of the TypeScript above.
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

/// The page's function that receives events, if the page has passed one.
#[derive(Clone)]
pub(crate) struct EventSink(Option<Function>);

impl EventSink {
    pub(crate) fn new(listener: Option<Function>) -> Self {
        Self(listener)
    }

    /// Sends an event. If the listener throws, the exception is logged to the console, and the call continues.
    pub(crate) fn send(&self, event: &impl Serialize) {
        let Some(listener) = &self.0 else { return };
        let event = serde_wasm_bindgen::to_value(event).map_err(JsValue::from);
        if let Err(error) = event.and_then(|event| listener.call1(&JsValue::NULL, &event)) {
            web_sys::console::error_1(&message(&error).into());
        }
    }

    /// Sends a `state` event with a state and the reason for it.
    pub(crate) fn state(&self, state: &'static str, reason: &str) {
        self.send(&ProgressEvent::State { state, reason: reason.to_owned() });
    }
}
