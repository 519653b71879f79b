//! The golden digests: a step by every lowering, a run of a hundred by the plain ones.

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

/// One trial for each name of a lowering, kernels that lack it running by their plain one; and the run.
pub(crate) fn trials(gpu: &'static Opened) -> impl Iterator<Item = Trial> {
    let lowerings = kernels::ALL.iter().flat_map(|kernel| kernel.lowerings);
    let names: BTreeSet<_> = lowerings.map(|lowering| lowering.name).collect();
    let step = move |name: &'static str| {
        Trial::test(format!("golden step by {name} on {}", gpu.listed), move || same(step(gpu, name)?, GOLDEN.step))
    };
    let run = Trial::test(format!("golden run on {}", gpu.listed), move || run(gpu));
    names.into_iter().map(step).chain((gpu.listed.graphics_api == "vulkan").then_some(run))
}

fn step(gpu: &Opened, name: &str) -> Result<[u8; 32], Failed> {
    let mut choice = Choice::default();
    for kernel in kernels::ALL {
        if let Some(lowering) = kernel.lowerings.iter().find(|lowering| lowering.name == name) {
            choice = choice.with(kernel, lowering);
        }
    }
    let backend = Backend::Gpu { gpu: gpu.gpu()?.clone(), choice };
    Ok(block_on(step_digest(&backend, SEQUENCES))?)
}

fn run(gpu: &Opened) -> Result<(), Failed> {
    let backend = Backend::Gpu { gpu: gpu.gpu()?.clone(), choice: Choice::default() };
    same(block_on(run_digest(&backend, 2))?, GOLDEN.run)
}

fn same(found: [u8; 32], expected: [u8; 32]) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found:02x?} is not {expected:02x?}").into()) }
}
