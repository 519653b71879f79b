//! Tests training on a GPU: with every lowering (WGSL implementation of a kernel), one step and a hundred steps must
//! give the golden digests (the expected hashes of the results). Also tests that a decoder on the GPU gives the same
//! scores as the reference kernels.

use super::devices::Opened;
use libtest_mimic::{Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, cpu::scalar, gpu::LoweringChoice},
    kernels,
    model::{config::ModelConfig, decoder::Decoder, generator::seeded},
    training::{
        conformance::{GOLDEN, run_digest, step_digest},
        trial::SMALL,
    },
};
use std::collections::BTreeSet;

/// The number of sequences that are computed at a time. The chunks from which the golden digests are computed have two
/// and three sequences, so all sequences of a chunk are computed at once, which saves time on software GPUs. The tests
/// on the CPU compute the same digests with other numbers of sequences at a time.
const SEQUENCES: usize = 3;

/// Returns the tests on one GPU: a test of the decoder, and tests of the golden digests. A lowering (WGSL
/// implementation) of a kernel has a name, such as `tiled`, and lowerings of several kernels can have the same name.
/// The digests are tested once for each name. In this test, each kernel uses its lowering with the name, or its
/// lowering `plain` if it has no lowering with the name.
///
/// The digest of one training step is tested on every GPU. The digest of a hundred steps is tested only with Vulkan,
/// because one graphics API for each GPU is enough, and not on slow GPUs ([`Opened::is_slow`]).
pub(crate) fn trials(gpu: &'static Opened, gpus: &'static [Opened]) -> impl Iterator<Item = Trial> {
    let lowerings = kernels::ALL.iter().flat_map(|kernel| kernel.lowerings);
    let names: BTreeSet<_> = lowerings.map(|lowering| lowering.name).collect();
    let step = move |name: &'static str| {
        let test = move || same(block_on(step_digest(&backend(gpu, name)?, SEQUENCES))?, GOLDEN.step);
        Trial::test(format!("golden digest of one step with {name} on {}", gpu.listed), test)
    };
    let run = move |name: &'static str| {
        let test = move || same(block_on(run_digest(&backend(gpu, name)?, SEQUENCES))?, GOLDEN.run);
        Trial::test(format!("golden digest of a hundred steps with {name} on {}", gpu.listed), test)
    };
    let runs = gpu.listed.graphics_api == "vulkan" && !gpu.is_slow(gpus);
    let digests = names.into_iter().flat_map(move |name| [Some(step(name)), runs.then(|| run(name))]).flatten();
    digests.chain([Trial::test(format!("a decoder returns the scores of the CPU on {}", gpu.listed), move || {
        decoder(gpu)
    })])
}

/// Checks that a decoder on the GPU gives the scores of the reference kernels. The decoder reads the text in parts of
/// one or more tokens. One part ends at token 64, and others end just before or after it, because a workgroup computes
/// up to 64 consecutive tokens.
fn decoder(gpu: &Opened) -> Result<(), Failed> {
    let config = ModelConfig { layers: 1, width: 64, heads: 2, head_dim: 32, ffn_width: 96, context: 80, ..SMALL };
    let model = seeded(ModelConfig { kv_heads: 1, ..config }, [5; 32])?;
    let read = |backend: &Backend| -> Result<Vec<Vec<i32>>, Failed> {
        let mut decoder = block_on(Decoder::new(&model, None, 80, backend))?;
        let tokens: Vec<u32> = (0..80).map(|at| at * at % 256).collect();
        let mut scores = Vec::new();
        for part in [0..60, 60..61, 61..63, 63..64, 64..65, 65..70] {
            scores.push(block_on(decoder.read(&tokens[part]))?);
        }
        Ok(scores)
    };
    let same = read(&backend(gpu, "plain")?)? == read(&Backend::Cpu { threads: 1, kernels: scalar })?;
    same.then_some(()).ok_or("the scores differ from the CPU's".into())
}

fn backend(gpu: &Opened, name: &str) -> Result<Backend, Failed> {
    let mut choice = LoweringChoice::default();
    for kernel in kernels::ALL {
        if let Some(lowering) = kernel.lowerings.iter().find(|lowering| lowering.name == name) {
            choice = choice.with(kernel, lowering);
        }
    }
    Ok(Backend::Gpu { gpu: gpu.gpu()?.clone(), choice })
}

fn same(found: [u8; 32], expected: [u8; 32]) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("digest {found:02x?} instead of {expected:02x?}").into()) }
}
