//! The GPU that the browser offers, in the form that the page shows.
//!
//! wgpu keeps only one field of `GPUAdapterInfo`, so the others are requested from the browser.

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
  /** "unknown" if the browser does not disclose it. */
  vendor: string;
  architecture: string;
  /** Whether it is a software GPU, which computes on the CPU. */
  software: boolean;
  bufferBytes: number;
  bindingBytes: number;
}
/** Resolves to the GPUs that the browser offers: one, or none without WebGPU. */
export function devices(): Promise<DeviceCard[]>;
"#;

/// The interface `DeviceCard` of the TypeScript above.
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

/// The function `devices` of the TypeScript above.
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
    /// Returns the vendor and the architecture in one string.
    pub(crate) fn class(&self) -> String {
        format!("{} {}", self.vendor, self.architecture)
    }
}

/// The browser's `GPUAdapterInfo`. A field that the browser does not disclose is empty.
#[derive(Default)]
struct AdapterInfo {
    vendor: String,
    architecture: String,
    device: String,
    description: String,
    fallback: bool,
}

impl AdapterInfo {
    /// Requests `GPUAdapterInfo` through `navigator.gpu.requestAdapter()`. Returns `None` without WebGPU.
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
