//! Tests a backend against known answers. A known answer is the result that the reference kernel computes for a test
//! case.

use super::Backend;
use crate::{
    compute::recording::Recording,
    error::Error,
    kernels::{
        Access, Kernel, Saturated,
        cases::{Case, run_reference},
    },
};
use std::sync::Arc;

/// Runs a test case, which is one dispatch (launch of a kernel), on a backend. Returns the words of all buffers after
/// the dispatch, in the order of [`Case::inputs`], and whether a value left the range of its number format.
pub async fn run(backend: &Backend, case: &Case) -> Result<(Vec<Vec<u32>>, Saturated), Error> {
    let (recording, ids) = Recording::single(case);
    let mut executor = backend.executor(&Arc::new(recording)).await?;
    executor.write_all(&ids.iter().copied().zip(case.inputs.iter().cloned()).collect::<Vec<_>>()).await?;
    let saturated = executor.run(0..1).await?;
    Ok((executor.read_all(&ids).await?, saturated))
}

/// Runs a test case on a backend, and compares the result with that of the reference kernel. Returns
/// [`Error::WrongAnswer`] if a word of a buffer or the saturation flag differs.
pub async fn passes(backend: &Backend, case: &Case) -> Result<(), Error> {
    let (expected, expected_flag) = run_reference(case);
    let (found, found_flag) = run(backend, case).await?;
    let wrong = |buffer, word, expected, found| Error::WrongAnswer {
        kernel: case.kernel.name,
        lowering: lowering(backend, case.kernel),
        case: case.label.clone(),
        buffer,
        word,
        expected,
        found,
    };
    for (binding, (expected, found)) in bound(case.kernel).zip(expected.iter().zip(&found)) {
        if let Some(word) = (0..expected.len()).find(|word| expected[*word] != found[*word]) {
            return Err(wrong(binding, word, expected[word], found[word]));
        }
    }
    if expected_flag != found_flag {
        return Err(wrong("flag", 0, expected_flag.into(), found_flag.into()));
    }
    Ok(())
}

/// Returns the name by which error messages identify the implementation of a kernel. On a GPU, it is the name of the
/// lowering (WGSL implementation), or `none` if the kernel has no lowering. On the CPU, it is `cpu`. If one backend
/// runs the first dispatches of a recording and another backend runs the rest, it is `split`.
#[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "only a GPU has lowerings"))]
fn lowering(backend: &Backend, kernel: &'static Kernel) -> &'static str {
    match backend {
        Backend::Cpu { .. } => "cpu",
        Backend::Split { .. } => "split",
        #[cfg(feature = "gpu")]
        Backend::Gpu { choice, .. } => choice.of(kernel).map_or("none", |lowering| lowering.name),
    }
}

/// Returns the names of the buffers that a kernel reads or writes, in binding order, without the saturation flag.
fn bound(kernel: &'static Kernel) -> impl Iterator<Item = &'static str> {
    let buffers = kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
    buffers.map(|binding| binding.name)
}
