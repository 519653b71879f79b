//! The backend that computes: a GPU that gives the known answers, or the CPU through WebAssembly. Exceptions are named `Backend` where the device is at fault.

use super::{
    devices::DeviceCard,
    host::{failure, now},
    tell::{Progress, Tell},
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

/// Seed of the random known answers: any will do.
const SEED: u64 = 1;

/// A backend that is ready.
pub(crate) struct Opened {
    pub(crate) backend: Backend,
    /// `cpu` or `gpu`.
    pub(crate) kind: &'static str,
    /// Its class, for the node's statistics.
    pub(crate) class: String,
}

/// The backend asked for: `cpu`, `gpu`, or `auto`, which takes a real GPU that gives the right answers, else the CPU.
pub(crate) async fn open(wanted: &str, tell: &Tell) -> Result<Opened, JsValue> {
    const NO_GPU: &str = "this browser offers no GPU: WebGPU is missing or switched off";
    let automatic = match wanted {
        "cpu" => return Ok(cpu("chosen".to_owned(), tell)),
        "gpu" => false,
        "auto" => true,
        other => return Err(JsError::new(&format!("backend: {other:?} is none of auto, gpu and cpu")).into()),
    };
    let devices = gpu::devices().await;
    let Some(device) = devices.first() else {
        return if automatic { Ok(cpu(NO_GPU.to_owned(), tell)) } else { Err(failure("Backend", &NO_GPU)) };
    };
    let card = DeviceCard::new(device).await;
    if automatic && card.software {
        return Ok(cpu(format!("{} is a software GPU, and slower than the CPU itself", card.name), tell));
    }
    let opened = async {
        let gpu = Gpu::open(device, Options::new(now)).await?;
        let tuning = gpu::tune(&gpu, kernels::ALL, SEED).await?;
        Ok::<_, Error>((gpu, tuning))
    };
    match opened.await {
        Ok((gpu, tuning)) => {
            let class = card.class();
            tell.say(&Progress::Backend {
                backend: "gpu",
                name: card.name,
                class: class.clone(),
                software: card.software,
                reason: format!("it gives the known answers of all {} kernels", kernels::ALL.len()),
                buffer_bytes: Some(card.buffer_bytes),
                binding_bytes: Some(card.binding_bytes),
                lowerings: tuning.kernels.iter().map(ToString::to_string).collect(),
            });
            Ok(Opened { backend: Backend::Gpu { gpu, choice: tuning.choice }, kind: "gpu", class })
        }
        Err(error) if automatic => Ok(cpu(format!("{} is not used: {error}", card.name), tell)),
        Err(error) => Err(failure("Backend", &error)),
    }
}

fn cpu(reason: String, tell: &Tell) -> Opened {
    tell.say(&Progress::Backend {
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
    Opened { backend, kind: "cpu", class: "cpu wasm simd128".to_owned() }
}
