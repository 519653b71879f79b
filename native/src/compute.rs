//! The backend that the flags ask for.

use crate::{
    cli::{BackendKind, ComputeArgs},
    output::Exit,
};
use anyhow::{Context, Result, anyhow};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{self, simd::Level},
        gpu::{self, Choice, Device, Gpu, Options, Tuning},
    },
    kernels,
};
use std::{
    process::{Command, Stdio},
    sync::OnceLock,
    time::Instant,
};

/// A backend and its name for people.
#[derive(Clone)]
pub(crate) struct Compute {
    pub(crate) backend: Backend,
    pub(crate) name: String,
    /// Whether it is a GPU in hardware.
    pub(crate) real_gpu: bool,
}

/// Milliseconds since the program first asked.
pub(crate) fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}

/// Seeds of random known answers: any will do.
pub(crate) const SEED: u64 = 1;

/// The CPU, by the fastest references.
fn cpu(threads: usize) -> Compute {
    let name = format!("CPU ({})", Level::detect().name());
    Compute { backend: Backend::Cpu { threads, choose: cpu::fastest }, name, real_gpu: false }
}

/// The CPU, with other tiles than [`cpu`] where this processor has them.
pub(crate) fn second_cpu(threads: usize) -> Compute {
    let name = format!("CPU ({})", Level::second().name());
    Compute { backend: Backend::Cpu { threads, choose: cpu::second }, name, real_gpu: false }
}

/// Opens a GPU and asks it the known answers of every kernel.
pub(crate) fn open(device: &Device) -> Result<(Gpu, Tuning)> {
    let gpu = block_on(Gpu::open(device, Options::new(clock)))?;
    let tuning = block_on(gpu::tune(&gpu, kernels::ALL, SEED))?;
    Ok((gpu, tuning))
}

/// Chooses: of the GPUs named, the fastest that passes, or an error; `auto` the fastest real GPU that passes, else the
/// CPU; `gpu` that too, else the first software GPU that passes.
pub(crate) fn choose(args: &ComputeArgs) -> Result<Compute> {
    if args.backend == BackendKind::Cpu {
        return Ok(cpu(args.threads));
    }
    if args.backend == BackendKind::Auto && args.device.is_empty() && !lists_real_gpu() {
        return Ok(cpu(args.threads));
    }
    let devices = block_on(gpu::devices());
    if !args.device.is_empty() {
        let named: Result<Vec<_>, _> = args.device.iter().map(|wanted| gpu::find(&devices, wanted)).collect();
        let named = named.context(Exit::NoGpu)?;
        return fastest(&named)?.ok_or_else(|| anyhow!("no GPU named passes").context(Exit::NoGpu));
    }
    let real: Vec<_> = devices.iter().filter(|device| !device.software).collect();
    if let Some(compute) = fastest(&real)? {
        return Ok(compute);
    }
    if args.backend == BackendKind::Auto {
        return Ok(cpu(args.threads));
    }
    for device in devices.iter().filter(|device| device.software) {
        if let Some(compute) = fastest(&[device])? {
            return Ok(compute);
        }
    }
    Err(anyhow!("no GPU that this machine lists passes: see `r3mes-wgpu devices --test`").context(Exit::NoGpu))
}

/// The first GPU named, by given lowerings, without a known answer asked: for benches, whose digest says as much.
pub(crate) fn by(args: &ComputeArgs, choice: Choice) -> Result<Compute> {
    let devices = block_on(gpu::devices());
    let wanted = args.device.first().map_or("0", String::as_str);
    let device = gpu::find(&devices, wanted).context(Exit::NoGpu)?;
    let gpu = block_on(Gpu::open(device, Options::new(clock)))?;
    let (name, real_gpu) = (device.to_string(), !device.software);
    Ok(Compute { backend: Backend::Gpu { gpu, choice }, name, real_gpu })
}

/// Exits with 0 if a real GPU is listed.
pub(crate) fn probe() -> Exit {
    let real = block_on(gpu::devices()).iter().any(|device| !device.software);
    if real { Exit::Ok } else { Exit::NoGpu }
}

/// Asks in a process of its own: drivers of software GPUs stay in memory once loaded, speak to stderr, and a broken one
/// takes its process along.
fn lists_real_gpu() -> bool {
    let probe = |program| {
        let (input, output, errors) = (Stdio::null(), Stdio::null(), Stdio::null());
        Command::new(program).arg("probe").stdin(input).stdout(output).stderr(errors).status()
    };
    std::env::current_exe().and_then(probe).map_or(true, |status| status.success())
}

/// The GPU whose ternary products are fastest among those that pass; says what it refuses, and why it prefers.
fn fastest(devices: &[&Device]) -> Result<Option<Compute>> {
    let mut passing = Vec::new();
    for device in devices {
        match open(device) {
            Ok((gpu, tuning)) => passing.push((tuning.timed_ms(), *device, gpu, tuning.choice)),
            Err(error) => eprintln!("{device} is not used: {error:#}"),
        }
    }
    passing.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, (milliseconds, device, ..)) in passing.iter().enumerate().filter(|_| passing.len() > 1) {
        let verdict = if at == 0 { "the fastest, taken" } else { "slower, left" };
        eprintln!("{device}: {milliseconds:.3} ms for the ternary products: {verdict}");
    }
    Ok(passing.into_iter().next().map(|(_, device, gpu, choice)| Compute {
        backend: Backend::Gpu { gpu, choice },
        name: device.to_string(),
        real_gpu: !device.software,
    }))
}
