//! Describes the GPU that the browser offers, for the page to show.
//!
//! wgpu keeps only one field of the browser's `GPUAdapterInfo`, so this module requests the other fields from the
//! browser.

use js_sys::{Function, Promise, Reflect, global};
use r3mes_wgpu::compute::gpu::{
    self, Device,
    architecture::{Architecture, Description, classify},
};
use serde::Serialize;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A GPU, as the browser describes it. */
export interface DeviceCard {
  name: string;
  /** The vendor, or "unknown" if the browser does not disclose it. */
  vendor: string;
  /** The GPU architecture, or "unknown" if the browser does not disclose it. */
  architecture: string;
  /** Whether this is a software GPU, which computes on the CPU. */
  software: boolean;
  /** The size of the largest buffer. */
  bufferBytes: number;
  /** The size of the largest part of a buffer that a shader can access through one binding. */
  bindingBytes: number;
}
/** Resolves to a list of the GPUs that the browser offers. It has one entry, or none if the browser has no WebGPU. */
export function devices(): Promise<DeviceCard[]>;
"#;

/// A GPU, as the browser describes it: the Rust form of the TypeScript interface `DeviceCard`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceCard {
    pub(crate) name: String,
    vendor: &'static str,
    architecture: &'static str,
    pub(crate) software: bool,
    pub(crate) buffer_bytes: f64,
    pub(crate) binding_bytes: f64,
}

/// Resolves to an array of `DeviceCard`s. The array contains the GPU that the browser offers, or is empty if the
/// browser has no WebGPU.
#[wasm_bindgen(skip_typescript)]
pub async fn devices() -> Result<JsValue, JsValue> {
    let mut cards = Vec::new();
    for device in gpu::devices().await {
        cards.push(DeviceCard::new(&device).await);
    }
    Ok(serde_wasm_bindgen::to_value(&cards)?)
}

impl DeviceCard {
    pub(crate) async fn new(device: &Device) -> Self {
        let info = AdapterInfo::request().await.unwrap_or_default();
        let class = info.classify();
        let name = [&info.description, &info.device, &device.name].into_iter().find(|name| !name.is_empty());
        Self {
            name: name.cloned().unwrap_or_else(|| format!("{} {}", class.vendor, class.architecture)),
            vendor: class.vendor,
            architecture: class.architecture,
            software: device.software || class.kind == gpu::architecture::GpuKind::Software,
            buffer_bytes: device.buffer_bytes as f64,
            binding_bytes: device.binding_bytes as f64,
        }
    }
}

impl DeviceCard {
    /// Returns the vendor and the architecture of the GPU, separated by a space.
    pub(crate) fn class(&self) -> String {
        format!("{} {}", self.vendor, self.architecture)
    }
}

/// The fields of the browser's `GPUAdapterInfo`. A text field that the browser does not disclose is empty.
#[derive(Default)]
struct AdapterInfo {
    vendor: String,
    architecture: String,
    device: String,
    description: String,
    fallback: bool,
}

impl AdapterInfo {
    /// Requests a GPU adapter from the browser. Returns the adapter's `GPUAdapterInfo`, or `None` if the browser
    /// provides no adapter.
    async fn request() -> Option<Self> {
        let gpu = get(&get(&global(), "navigator")?, "gpu")?;
        let request: Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
        let promise: Promise = request.call0(&gpu).ok()?.dyn_into().ok()?;
        let adapter = JsFuture::from(promise).await.ok()?;
        let info = get(&adapter, "info")?;
        let text = |key| get(&info, key).and_then(|value| value.as_string()).unwrap_or_default();
        Some(Self {
            vendor: text("vendor"),
            architecture: text("architecture"),
            device: text("device"),
            description: text("description"),
            fallback: get(&info, "isFallbackAdapter").is_some_and(|value| value.is_truthy()),
        })
    }

    fn classify(&self) -> Architecture {
        classify(&Description {
            name: &self.device,
            device_type: if self.fallback { "Cpu" } else { "Other" },
            driver_info: &self.description,
            webgpu_vendor: &self.vendor,
            webgpu_architecture: &self.architecture,
            ..Default::default()
        })
    }
}

fn get(object: &JsValue, key: &str) -> Option<JsValue> {
    Reflect::get(object, &key.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
