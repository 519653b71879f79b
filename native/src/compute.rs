//! The backend that the flags ask for.

use super::{
    cli::{BackendKind, ComputeArgs},
    output::Exit,
};
use anyhow::{Context, Result, anyhow};
use pollster::block_on;
use r3mes_wgpu::{
    backend::{
        Backend, cpu,
        gpu::{self, Device, Gpu, Options, Tuning},
    },
    kernels,
};
use std::{sync::OnceLock, time::Instant};

/// A backend and its name for people.
pub(crate) struct Compute {
    pub(crate) backend: Backend,
    pub(crate) name: String,
}

/// Milliseconds since the program first asked.
pub(crate) fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}

/// Seeds of random known answers: any will do.
const SEED: u64 = 1;

/// The CPU, by the fastest twins.
pub(crate) fn cpu(threads: usize) -> Compute {
    let level = cpu::simd::Level::detect().name();
    Compute { backend: Backend::Cpu { threads, choose: cpu::fastest }, name: format!("CPU ({level})") }
}

/// Opens a GPU and asks it the known answers of every kernel.
pub(crate) fn open(device: &Device) -> Result<(Gpu, Tuning)> {
    let gpu = block_on(Gpu::open(device, Options::new(clock)))?;
    let tuning = block_on(gpu::tune(&gpu, kernels::ALL, SEED))?;
    Ok((gpu, tuning))
}

/// Chooses: a named GPU must work; `auto` takes the first real GPU that passes, else the CPU.
pub(crate) fn choose(args: &ComputeArgs) -> Result<Compute> {
    if args.backend == BackendKind::Cpu {
        return Ok(cpu(args.threads));
    }
    let devices = block_on(gpu::devices());
    let on = |device: &Device| -> Result<Compute> {
        let (gpu, tuning) = open(device)?;
        Ok(Compute { backend: Backend::Gpu { gpu, choice: tuning.choice }, name: device.to_string() })
    };
    if let Some(wanted) = &args.device {
        let device = gpu::find(&devices, wanted).context(Exit::NoGpu)?;
        return on(device).with_context(|| format!("{device}")).context(Exit::NoGpu);
    }
    let wanted = |device: &&Device| args.backend == BackendKind::Gpu || !device.software;
    let mut refused = Vec::new();
    for device in devices.iter().filter(wanted) {
        match on(device) {
            Ok(compute) => return Ok(compute),
            Err(error) => {
                eprintln!("{device} is not used: {error:#}");
                refused.push(device.to_string());
            }
        }
    }
    match args.backend {
        BackendKind::Gpu if refused.is_empty() => Err(anyhow!("this machine lists no GPU").context(Exit::NoGpu)),
        BackendKind::Gpu => Err(anyhow!("none of {} passes", refused.join("; ")).context(Exit::NoGpu)),
        _ => Ok(cpu(args.threads)),
    }
}
