//! The golden digests, of one step and of a run of a hundred, by every lowering.

use super::devices::Opened;
use libtest_mimic::{Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::{
    backend::{Backend, gpu::Choice},
    kernels,
    training::conformance::{GOLDEN, run_digest, step_digest},
};
use std::collections::BTreeSet;

/// All sequences of the chunk in one play: software GPUs are slow, and other splits are the CPU's tests.
const SEQUENCES: usize = 3;

/// Two trials for each name of a lowering, kernels that lack it running by their plain one. Runs are Vulkan's: one
/// driver of a GPU is enough for a hundred steps.
pub(crate) fn trials(gpu: &'static Opened) -> impl Iterator<Item = Trial> {
    let lowerings = kernels::ALL.iter().flat_map(|kernel| kernel.lowerings);
    let names: BTreeSet<_> = lowerings.map(|lowering| lowering.name).collect();
    let step = move |name: &'static str| {
        let test = move || same(block_on(step_digest(&backend(gpu, name)?, SEQUENCES))?, GOLDEN.step);
        Trial::test(format!("golden step by {name} on {}", gpu.listed), test)
    };
    let run = move |name: &'static str| {
        let test = move || same(block_on(run_digest(&backend(gpu, name)?, SEQUENCES))?, GOLDEN.run);
        Trial::test(format!("golden run by {name} on {}", gpu.listed), test)
    };
    let runs = gpu.listed.graphics_api == "vulkan";
    names.into_iter().flat_map(move |name| [Some(step(name)), runs.then(|| run(name))]).flatten()
}

fn backend(gpu: &Opened, name: &str) -> Result<Backend, Failed> {
    let mut choice = Choice::default();
    for kernel in kernels::ALL {
        if let Some(lowering) = kernel.lowerings.iter().find(|lowering| lowering.name == name) {
            choice = choice.with(kernel, lowering);
        }
    }
    Ok(Backend::Gpu { gpu: gpu.gpu()?.clone(), choice })
}

fn same(found: [u8; 32], expected: [u8; 32]) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found:02x?} is not {expected:02x?}").into()) }
}
