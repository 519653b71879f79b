//! Selects the backend (CPU or GPU) on which a command computes, and defines the flags for this choice.

use crate::{
    clock::elapsed_ms,
    output::{Exit, note},
};
use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{self, simd::Level},
        gpu::{self, Device, Gpu, LoweringChoice, Options, Tuning},
    },
    kernels,
};
use std::process::{Command, Stdio};

/// Flags that select the backend, the GPU and the number of CPU threads.
#[derive(Args, Clone)]
pub(crate) struct ComputeArgs {
    /// Select the backend; auto selects the fastest hardware GPU that passes the known-answer tests, or the CPU if no
    /// hardware GPU passes them
    #[arg(long, value_enum, default_value_t = BackendKind::Auto, env = "R3MES_BACKEND")]
    pub(crate) backend: BackendKind,
    /// Use the GPU with this index or with this text in its name (see `devices`); if repeated, use the fastest of the
    /// named GPUs that pass the known-answer tests
    #[arg(short, long, value_name = "GPU", env = "R3MES_DEVICE")]
    pub(crate) device: Vec<String>,
    /// List the GPUs and exit
    #[arg(long)]
    pub(crate) list_devices: bool,
    /// Use this many CPU threads; 0 means one thread per core
    #[arg(long, value_name = "N", default_value_t = 0, env = "R3MES_THREADS")]
    pub(crate) threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendKind {
    Auto,
    Cpu,
    Gpu,
}

/// A selected backend, and its name as users see it.
#[derive(Clone)]
pub(crate) struct Compute {
    pub(crate) backend: Backend,
    pub(crate) name: String,
    /// Whether the backend is a hardware GPU, and not the CPU or a software GPU.
    pub(crate) real_gpu: bool,
}

/// The seed of the random inputs in the known-answer tests. Any other seed would serve as well.
pub(crate) const SEED: u64 = 1;

/// Returns the CPU backend that uses the fastest SIMD instructions of this processor.
fn cpu(threads: usize) -> Compute {
    let name = format!("CPU ({})", Level::detect().name());
    Compute { backend: Backend::Cpu { threads, kernels: cpu::fastest }, name, real_gpu: false }
}

/// Returns the CPU backend that uses the second fastest kind of SIMD instructions of this processor. If the processor
/// supports only one kind, the backend uses this kind, as [`cpu`] does.
pub(crate) fn second_cpu(threads: usize) -> Compute {
    let name = format!("CPU ({})", Level::second().name());
    Compute { backend: Backend::Cpu { threads, kernels: cpu::second }, name, real_gpu: false }
}

/// Opens a GPU and tests all implementations of every kernel against known answers. Selects, for each kernel, the
/// fastest implementation that passes. Returns an error if a kernel has no implementation that passes.
pub(crate) fn open(device: &Device) -> Result<(Gpu, Tuning)> {
    let gpu = block_on(Gpu::open(device, Options::new(elapsed_ms)))?;
    let tuning = block_on(gpu::tune(&gpu, kernels::ALL, SEED))?;
    Ok((gpu, tuning))
}

/// Selects the backend that the flags ask for.
///
/// `--backend cpu` selects the CPU. With `--backend auto` and `--backend gpu`, only a GPU that passes the known-answer
/// tests can be selected. With `--device`, the fastest named GPU that passes is selected. Without `--device`, the
/// fastest hardware GPU that passes is selected. If no hardware GPU passes, `auto` selects the CPU, and `gpu` selects
/// the first software GPU that passes. If no backend is selected by these rules, returns an error with [`Exit::NoGpu`].
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
        return fastest(&named)?.ok_or_else(|| {
            anyhow!(
                "none of the GPUs named with --device passes the known-answer tests; run `r3mes-wgpu devices --test` \
                 to see the results"
            )
            .context(Exit::NoGpu)
        });
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
    Err(anyhow!(
        "no GPU of this machine passes the known-answer tests; run `r3mes-wgpu devices --test` to see the results"
    )
    .context(Exit::NoGpu))
}

/// Opens the first GPU named with `--device`, or GPU 0 if none is named. `choice` names the implementation (lowering)
/// to use for each kernel. Does not run the known-answer tests. Only benchmarks use this function; they print a digest
/// of the computed gradient, which reveals a wrong result.
pub(crate) fn with_lowerings(args: &ComputeArgs, choice: LoweringChoice) -> Result<Compute> {
    let devices = block_on(gpu::devices());
    let wanted = args.device.first().map_or("0", String::as_str);
    let device = gpu::find(&devices, wanted).context(Exit::NoGpu)?;
    let gpu = block_on(Gpu::open(device, Options::new(elapsed_ms)))?;
    let (name, real_gpu) = (device.to_string(), !device.software);
    Ok(Compute { backend: Backend::Gpu { gpu, choice }, name, real_gpu })
}

/// Returns [`Exit::Ok`] if the drivers of this machine list a hardware GPU, otherwise [`Exit::NoGpu`].
pub(crate) fn probe() -> Exit {
    let real = block_on(gpu::devices()).iter().any(|device| !device.software);
    if real { Exit::Ok } else { Exit::NoGpu }
}

/// Returns whether this machine has a hardware GPU. A child process lists the GPUs, because the drivers of software
/// GPUs stay in memory once loaded and print to stderr, and because a broken driver can end the process that loads it.
/// If the child process cannot be started, returns true.
fn lists_real_gpu() -> bool {
    let probe = |program| {
        let (input, output, errors) = (Stdio::null(), Stdio::null(), Stdio::null());
        Command::new(program).arg("probe").stdin(input).stdout(output).stderr(errors).status()
    };
    std::env::current_exe().and_then(probe).map_or(true, |status| status.success())
}

/// Returns the fastest of the GPUs that pass the known-answer tests, or `None` if none passes. For each GPU, adds up
/// the times of those kernels for which several implementations pass, such as the ternary matrix products; the GPU with
/// the smallest sum is the fastest. Prints why a GPU failed. If several GPUs pass, prints the sum of each.
fn fastest(devices: &[&Device]) -> Result<Option<Compute>> {
    let mut passing = Vec::new();
    for device in devices {
        match open(device) {
            Ok((gpu, tuning)) => passing.push((tuning.timed_ms(), *device, gpu, tuning.choice)),
            Err(error) => note!("{device} is not used: {error:#}"),
        }
    }
    passing.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, (milliseconds, device, ..)) in passing.iter().enumerate().filter(|_| passing.len() > 1) {
        let verdict = if at == 0 { "the fastest, used" } else { "slower, not used" };
        note!("{device}: {milliseconds:.3} ms for one launch of each timed kernel ({verdict})");
    }
    Ok(passing.into_iter().next().map(|(_, device, gpu, choice)| Compute {
        backend: Backend::Gpu { gpu, choice },
        name: device.to_string(),
        real_gpu: !device.software,
    }))
}
