//! Tests that every lowering (WGSL implementation) of every kernel computes the same bits as the reference kernel, on
//! every GPU of this machine, including software GPUs.
//!
//! To repeat the random test cases of an earlier run, set the environment variable `SEED` to the seed of that run. The
//! tests have their own harness, because the list of tests depends on the drivers of the machine.

mod conformance;
mod devices;
mod executor;
mod fixed_point;

use devices::Opened;
use libtest_mimic::{Arguments, Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::{
    compute::gpu,
    kernels::{
        self, Lowering,
        cases::{Case, cases},
    },
};
use std::{
    process::ExitCode,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

fn main() -> ExitCode {
    if let Some(code) = devices::name_drivers() {
        return code;
    }
    let gpus = devices::all();
    let trials = devices::presence(gpus).chain(gpus.iter().flat_map(|gpu| trials(gpu, gpus)));
    let mut arguments = Arguments::from_args();
    // A software GPU uses all cores by itself, and GL drivers give their context to one thread at a time.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trials(gpu: &'static Opened, gpus: &'static [Opened]) -> Vec<Trial> {
    let each = kernels::ALL.iter().flat_map(|kernel| kernel.lowerings.iter().map(move |lowering| (*kernel, lowering)));
    let kernels = each.map(|(kernel, lowering)| {
        let name = format!("{}.{} on {}", kernel.name, lowering.name, gpu.listed);
        Trial::test(name, move || equals_reference(gpu, lowering, cases(kernel, seed())))
    });
    let fixed_point = Trial::test(format!("fixed_point on {}", gpu.listed), move || {
        equals_reference(gpu, &fixed_point::KERNEL.lowerings[0], fixed_point::cases(seed()))
    });
    kernels.chain([fixed_point]).chain(executor::trials(gpu, gpus)).chain(conformance::trials(gpu, gpus)).collect()
}

/// Returns the seed of the random test cases: the value of the environment variable `SEED`, or a new seed.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    *SEED.get_or_init(|| std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now))
}

fn equals_reference(gpu: &Opened, lowering: &'static Lowering, cases: Vec<Case>) -> Result<(), Failed> {
    if cases.is_empty() {
        return Err("the kernel has no test cases".into());
    }
    for case in cases {
        block_on(gpu::passes(gpu.gpu()?, lowering, &case)).map_err(|error| format!("SEED={}: {error}", seed()))?;
    }
    Ok(())
}
