//! Every kernel, by every lowering, on every GPU here, software ones included: the twin's bits.
//!
//! `SEED=…` repeats a run's random cases. Needs its own harness, since what there is to test depends
//! on the drivers that the machine has.

mod devices;
mod player;

use devices::Opened;
use libtest_mimic::{Arguments, Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::{
    backend::gpu,
    kernels::{self, Kernel, Lowering, cases::cases},
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
    let trials = devices::presence(gpus).chain(gpus.iter().flat_map(trials));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn trials(gpu: &'static Opened) -> Vec<Trial> {
    let each = kernels::ALL.iter().flat_map(|kernel| kernel.lowerings.iter().map(move |lowering| (*kernel, lowering)));
    let kernels = each.map(|(kernel, lowering)| {
        let name = format!("{}.{} on {}", kernel.name, lowering.name, gpu.listed);
        let pending = lowering.wgsl.trim() == "// pending" && !devices::in_ci();
        Trial::test(name, move || equals_twin(gpu, kernel, lowering)).with_ignored_flag(pending)
    });
    kernels.chain(player::trials(gpu)).collect()
}

/// A new seed each run, or the one to repeat.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    *SEED.get_or_init(|| std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now))
}

fn equals_twin(gpu: &Opened, kernel: &'static Kernel, lowering: &'static Lowering) -> Result<(), Failed> {
    let cases = cases(kernel, seed());
    if cases.is_empty() {
        return Err(format!("{} has no cases", kernel.name).into());
    }
    for case in cases {
        block_on(gpu::passes(gpu.gpu()?, lowering, &case)).map_err(|error| format!("SEED={} {error}", seed()))?;
    }
    Ok(())
}
