//! Opens a backend: the GPU, if it reproduces the known answers (expected outputs) of all kernels, or the CPU through
//! WebAssembly. If the device causes an error, an exception with the name `Backend` is thrown.

use super::{
    devices::DeviceCard,
    event_sink::{EventSink, ProgressEvent},
    host::{exception, now},
};
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::fastest,
        gpu::{self, Gpu, Options},
    },
    error::Error,
    kernels,
};
use wasm_bindgen::prelude::{JsError, JsValue};

/// The seed from which the random test cases are derived. Any other value would serve as well.
const SEED: u64 = 1;

/// A backend that is ready to compute.
pub(crate) struct OpenBackend {
    pub(crate) backend: Backend,
    /// Where the backend computes: `cpu` or `gpu`.
    pub(crate) kind: &'static str,
    /// A short description of the device, such as `cpu wasm simd128`. The miner sends it to the node, for the
    /// node's statistics of devices.
    pub(crate) class: String,
}

/// Opens the backend that `wanted` names: `cpu`, `gpu` or `auto`. For `auto`, this is the GPU if it is not a software
/// GPU and reproduces the known answers (expected outputs) of all kernels, and otherwise the CPU. Sends an event that
/// describes the backend.
pub(crate) async fn open(wanted: &str, events: &EventSink) -> Result<OpenBackend, JsValue> {
    const NO_GPU: &str = "this browser offers no GPU, because WebGPU is missing or disabled";
    let automatic = match wanted {
        "cpu" => return Ok(cpu("the CPU was selected".to_owned(), events)),
        "gpu" => false,
        "auto" => true,
        other => return Err(JsError::new(&format!("the backend is {other:?}, but must be auto, gpu or cpu")).into()),
    };
    let devices = gpu::devices().await;
    let Some(device) = devices.first() else {
        return if automatic { Ok(cpu(NO_GPU.to_owned(), events)) } else { Err(exception("Backend", &NO_GPU)) };
    };
    let card = DeviceCard::new(device).await;
    if automatic && card.software {
        return Ok(cpu(format!("{} is a software GPU, which is slower than the CPU", card.name), events));
    }
    let opened = async {
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let tuning = gpu::tune(&gpu, kernels::ALL, SEED).await?;
        Ok::<_, Error>((gpu, tuning))
    };
    match opened.await {
        Ok((gpu, tuning)) => {
            let class = card.class();
            events.send(&ProgressEvent::Backend {
                backend: "gpu",
                name: card.name,
                class: class.clone(),
                software: card.software,
                reason: format!("the GPU reproduces the known answers of all {} kernels", kernels::ALL.len()),
                buffer_bytes: Some(card.buffer_bytes),
                binding_bytes: Some(card.binding_bytes),
                lowerings: tuning.kernels.iter().map(ToString::to_string).collect(),
            });
            Ok(OpenBackend { backend: Backend::Gpu { gpu, choice: tuning.choice }, kind: "gpu", class })
        }
        Err(error) if automatic => Ok(cpu(format!("{} is not used: {error}", card.name), events)),
        Err(error) => Err(exception("Backend", &error)),
    }
}

fn cpu(reason: String, events: &EventSink) -> OpenBackend {
    events.send(&ProgressEvent::Backend {
        backend: "cpu",
        name: "CPU through WebAssembly".to_owned(),
        class: "simd128, one thread".to_owned(),
        software: false,
        reason,
        buffer_bytes: None,
        binding_bytes: None,
        lowerings: Vec::new(),
    });
    let backend = Backend::Cpu { threads: 1, kernels: fastest };
    OpenBackend { backend, kind: "cpu", class: "cpu wasm simd128".to_owned() }
}
