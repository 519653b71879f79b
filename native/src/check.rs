//! The claim, tried: known answers and golden digests on every backend of this machine.

use super::{
    cli::CheckArgs,
    compute,
    output::{self, Exit},
};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::backend::{
    Backend,
    cpu::{self, simd::Level},
    gpu,
};
use r3mes_wgpu::kernels::{self, Kernel};
use r3mes_wgpu::training::conformance::{self, Digests, GOLDEN};
use serde_json::json;

/// One execution: a backend, and how it fared.
struct Execution {
    backend: &'static str,
    gpu: Option<String>,
    /// Kernels whose known answers it gives, with the lowering chosen.
    kernels: Vec<String>,
    digests: Result<Digests>,
}

/// Exits with 4 if any execution differs.
pub(crate) fn run(args: CheckArgs) -> Result<Exit> {
    let mut all = true;
    let mut tell = |execution: Execution| {
        all &= execution.tell(args.json);
    };
    tell(on_cpu("scalar", 1, cpu::scalar));
    tell(on_cpu(Level::detect().name(), 0, cpu::fastest));
    for device in block_on(gpu::devices()) {
        if device.software && args.skip_software {
            continue;
        }
        let name = Some(device.to_string());
        tell(match compute::open(&device) {
            Ok((gpu, tuning)) => Execution {
                backend: "gpu",
                gpu: name,
                kernels: tuning
                    .kernels
                    .iter()
                    .map(|tuned| format!("{}:{}", tuned.kernel.name, tuned.chosen.name))
                    .collect(),
                digests: digests(&Backend::Gpu { gpu, choice: tuning.choice }, 2),
            },
            Err(error) => Execution { backend: "gpu", gpu: name, kernels: Vec::new(), digests: Err(error) },
        });
    }
    Ok(if all { Exit::Ok } else { Exit::Mismatch })
}

fn on_cpu(backend: &'static str, threads: usize, choose: fn(&Kernel) -> Option<kernels::Twin>) -> Execution {
    let kernels = kernels::ALL.iter().map(|kernel| kernel.name.to_owned()).collect();
    Execution { backend, gpu: None, kernels, digests: digests(&Backend::Cpu { threads, choose }, threads + 1) }
}

fn digests(backend: &Backend, sequences: usize) -> Result<Digests> {
    Ok(block_on(conformance::digests(backend, sequences))?)
}

impl Execution {
    /// Says how it fared; whether well.
    fn tell(&self, as_json: bool) -> bool {
        let ok = self.digests.as_ref().is_ok_and(|digests| *digests == GOLDEN);
        let hex = |of: fn(&Digests) -> [u8; 32]| self.digests.as_ref().ok().map(|digests| output::hex(&of(digests)));
        let (step, run) = (hex(|digests| digests.step), hex(|digests| digests.run));
        let error = self.digests.as_ref().err().map(|error| format!("{error:#}"));
        if as_json {
            output::line(&json!({
                "backend": self.backend, "gpu": self.gpu, "kernels": self.kernels,
                "step_digest": step, "run_digest": run, "ok": ok, "error": error,
            }));
        } else {
            let name = self.gpu.as_deref().unwrap_or("CPU");
            println!("{} · {} {name}", if ok { "same" } else { "DIFFERENT" }, self.backend);
            println!("  step {}\n  run  {}", step.as_deref().unwrap_or("-"), run.as_deref().unwrap_or("-"));
            if let Some(error) = error {
                println!("  {error}");
            }
        }
        ok
    }
}
