//! The claim, tried: known answers and golden digests on every backend of this machine.

use crate::{
    cli::CheckArgs,
    compute,
    output::{self, Exit, say},
};
use anyhow::{Context, Result};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{self, executor::Choose, simd::Level},
        gpu, known_answers,
        trace::first_difference,
    },
    kernels::{self, cases::cases},
    training::conformance::{self, Digests, GOLDEN},
};
use serde_json::json;

/// One execution, and how it fared.
struct Execution {
    backend: &'static str,
    gpu: Option<String>,
    found: Result<Found>,
}

struct Found {
    /// Kernels whose known answers it gives, with the lowering chosen on a GPU.
    kernels: Vec<String>,
    digests: Digests,
    /// Where the step goes wrong, if it does.
    culprit: Option<String>,
}

/// Exits with 4 if any execution differs.
pub(crate) fn run(args: CheckArgs) -> Result<Exit> {
    let mut all = true;
    let mut tell = |backend, gpu, found| {
        all &= Execution { backend, gpu, found }.tell(args.json);
    };
    for (name, threads, choose) in
        [("scalar", 1, cpu::scalar as Choose), (Level::detect().name(), 0, cpu::fastest as Choose)]
    {
        let backend = Backend::Cpu { threads, choose };
        tell(name, None, on_cpu(&backend).and_then(|kernels| play(backend, kernels, args.prefix)));
    }
    for device in block_on(gpu::devices()) {
        if device.software && args.skip_software {
            continue;
        }
        let found = compute::open(&device).and_then(|(gpu, tuning)| {
            let name = |tuned: &gpu::Tuned| format!("{}:{}", tuned.kernel.name, tuned.chosen.name);
            let kernels = tuning.kernels.iter().map(name).collect();
            play(Backend::Gpu { gpu, choice: tuning.choice }, kernels, args.prefix)
        });
        tell("gpu", Some(device.to_string()), found);
    }
    Ok(if all { Exit::Ok } else { Exit::Mismatch })
}

/// The kernels, once all their known answers are right.
fn on_cpu(backend: &Backend) -> Result<Vec<String>> {
    for kernel in kernels::ALL {
        for case in cases(kernel, compute::SEED) {
            block_on(known_answers::passes(backend, &case)).with_context(|| case.label)?;
        }
    }
    Ok(kernels::ALL.iter().map(|kernel| kernel.name.to_owned()).collect())
}

/// Computes the digests; where the step's differs, also the dispatch that is to blame.
fn play(backend: Backend, kernels: Vec<String>, prefix: Option<usize>) -> Result<Found> {
    const SEQUENCES: usize = 2;
    let scalar = Backend::Cpu { threads: 1, choose: cpu::scalar };
    let backend = match prefix {
        None => backend,
        Some(prefix) => Backend::Split { first: Box::new(backend), second: Box::new(scalar.clone()), prefix },
    };
    let digests = block_on(conformance::digests(&backend, SEQUENCES))?;
    let trace = |backend| block_on(conformance::step_trace(backend, SEQUENCES));
    let culprit = match digests.step == GOLDEN.step {
        true => None,
        false => first_difference(&trace(&scalar)?, &trace(&backend)?)
            .map(|traced| format!("{} ({})", traced.label, traced.kernel)),
    };
    Ok(Found { kernels, digests, culprit })
}

impl Execution {
    /// Says how it fared; whether well.
    fn tell(&self, as_json: bool) -> bool {
        let found = self.found.as_ref().ok();
        let ok = found.is_some_and(|found| found.digests == GOLDEN);
        let hex = |of: fn(&Digests) -> [u8; 32]| found.map(|found| output::hex(&of(&found.digests)));
        let (step, run) = (hex(|digests| digests.step), hex(|digests| digests.run));
        let culprit = found.and_then(|found| found.culprit.as_ref());
        let error = self.found.as_ref().err().map(|error| format!("{error:#}"));
        if as_json {
            output::line(json!({
                "backend": self.backend, "gpu": self.gpu, "kernels": found.map(|found| &found.kernels),
                "step_digest": step, "run_digest": run, "ok": ok, "first_difference": culprit, "error": error,
            }));
            return ok;
        }
        let name = self.gpu.as_deref().unwrap_or("CPU");
        say!("{} · {} {name}", if ok { "same" } else { "DIFFERENT" }, self.backend);
        say!("  step {}\n  run  {}", step.as_deref().unwrap_or("-"), run.as_deref().unwrap_or("-"));
        culprit.iter().for_each(|culprit| say!("  the first dispatch that differs: {culprit}"));
        error.iter().for_each(|error| say!("  {error}"));
        ok
    }
}
