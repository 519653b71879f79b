//! `check`: tests that every backend of this machine computes the known answers (expected outputs) of every kernel and
//! the golden (recorded) digests of training runs.

use crate::{
    compute,
    output::{self, Exit, say},
};
use anyhow::{Context, Result};
use clap::Args;
use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{self, executor::CpuKernels, simd::Level},
        gpu, known_answers,
        trace::first_difference,
    },
    kernels::{self, cases::cases},
    training::conformance::{self, Digests, GOLDEN},
};
use serde_json::json;

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Skip software GPUs, whose checks take minutes
    #[arg(long)]
    skip_software: bool,
    /// Run only the first N dispatches (kernel launches) of each training step on the tested backend, and the rest with
    /// the reference kernels. If the digest is right with N and wrong with N + 1, the backend computes the added
    /// dispatch wrong
    #[arg(long, value_name = "N")]
    prefix: Option<usize>,
    /// Print one JSON object per backend on stdout
    #[arg(long)]
    json: bool,
}

/// The outcome of the check of one backend: its results, or the error that prevented them.
struct BackendCheck {
    backend: &'static str,
    gpu: Option<String>,
    result: Result<CheckResult>,
}

struct CheckResult {
    /// Names of all kernels. Every kernel has passed its known-answer tests. On a GPU, a colon and the name of the
    /// chosen lowering (WGSL implementation) follow the name of each kernel.
    kernels: Vec<String>,
    digests: Digests,
    /// The first dispatch (kernel launch) of the checked training step whose output differs from the output of the
    /// reference kernels: its label, and the name of its kernel. `None` if the digest of the step is right.
    first_difference: Option<String>,
}

/// Checks all backends. Returns [`Exit::Mismatch`] if a backend fails or computes a wrong digest.
pub(crate) fn run(args: CheckArgs) -> Result<Exit> {
    let mut all = true;
    let mut report = |backend, gpu, result| {
        all &= BackendCheck { backend, gpu, result }.report(args.json);
    };
    for (name, threads, kernels) in
        [("scalar", 1, cpu::scalar as CpuKernels), (Level::detect().name(), 0, cpu::fastest as CpuKernels)]
    {
        let backend = Backend::Cpu { threads, kernels };
        report(name, None, on_cpu(&backend).and_then(|kernels| run_digests(backend, kernels, args.prefix)));
    }
    for device in block_on(gpu::devices()) {
        if device.software && args.skip_software {
            continue;
        }
        let result = compute::open(&device).and_then(|(gpu, tuning)| {
            let name = |tuned: &gpu::Tuned| format!("{}:{}", tuned.kernel.name, tuned.chosen.name);
            let kernels = tuning.kernels.iter().map(name).collect();
            run_digests(Backend::Gpu { gpu, choice: tuning.choice }, kernels, args.prefix)
        });
        report("gpu", Some(device.to_string()), result);
    }
    Ok(if all { Exit::Ok } else { Exit::Mismatch })
}

/// Compares the results of a CPU backend with the known answers (expected outputs) of all kernels. Returns the names of
/// the kernels if all results are right, or else an error that names the first test case with a wrong result.
fn on_cpu(backend: &Backend) -> Result<Vec<String>> {
    for kernel in kernels::ALL {
        for case in cases(kernel, compute::SEED) {
            block_on(known_answers::passes(backend, &case)).with_context(|| case.label)?;
        }
    }
    Ok(kernels::ALL.iter().map(|kernel| kernel.name.to_owned()).collect())
}

/// Computes the digest of one training step and the digest of a run of a hundred steps. Both must equal the recorded
/// digests in [`GOLDEN`]. If the step's digest is wrong, also finds the first dispatch (kernel launch) whose output
/// differs from the output of the reference kernels. With `prefix`, the backend computes only that many dispatches of
/// each step, and the reference kernels compute the rest.
fn run_digests(backend: Backend, kernels: Vec<String>, prefix: Option<usize>) -> Result<CheckResult> {
    const SEQUENCES: usize = 2;
    let scalar = Backend::Cpu { threads: 1, kernels: cpu::scalar };
    let backend = match prefix {
        None => backend,
        Some(prefix) => Backend::Split { first: Box::new(backend), second: Box::new(scalar.clone()), prefix },
    };
    let digests = block_on(conformance::digests(&backend, SEQUENCES))?;
    let trace = |backend| block_on(conformance::step_trace(backend, SEQUENCES));
    let first_difference = match digests.step == GOLDEN.step {
        true => None,
        false => first_difference(&trace(&scalar)?, &trace(&backend)?)
            .map(|traced| format!("{} ({})", traced.label, traced.kernel)),
    };
    Ok(CheckResult { kernels, digests, first_difference })
}

impl BackendCheck {
    /// Prints the result of one backend. Returns whether the digests of the training step and of the training run are
    /// right.
    fn report(&self, as_json: bool) -> bool {
        let found = self.result.as_ref().ok();
        let ok = found.is_some_and(|found| found.digests == GOLDEN);
        let hex = |of: fn(&Digests) -> [u8; 32]| found.map(|found| output::hex(&of(&found.digests)));
        let (step, run) = (hex(|digests| digests.step), hex(|digests| digests.run));
        let first_difference = found.and_then(|found| found.first_difference.as_ref());
        let error = self.result.as_ref().err().map(|error| format!("{error:#}"));
        if as_json {
            output::line(json!({
                "backend": self.backend, "gpu": self.gpu, "kernels": found.map(|found| &found.kernels),
                "step_digest": step, "run_digest": run, "ok": ok, "first_difference": first_difference, "error": error,
            }));
            return ok;
        }
        let name = self.gpu.as_deref().unwrap_or("CPU");
        say!("{} · {} {name}", if ok { "same" } else { "DIFFERENT" }, self.backend);
        say!("  step {}\n  run  {}", step.as_deref().unwrap_or("-"), run.as_deref().unwrap_or("-"));
        first_difference.iter().for_each(|dispatch| say!("  first dispatch with a wrong output: {dispatch}"));
        error.iter().for_each(|error| say!("  {error}"));
        ok
    }
}
