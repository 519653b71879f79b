//! Traces: the digests of what every dispatch of a run wrote. The first entry that differs between two traces of the
//! same run identifies the dispatch that one of the backends computed wrongly.

use super::Executor;
use crate::{compute::recording::Recording, error::Error, kernels::Saturated};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// An entry of a trace, for one dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Label of the dispatch.
    pub label: String,
    /// Name of the kernel.
    pub kernel: &'static str,
    /// SHA-256 of the words that the dispatch wrote, in little-endian bytes, its buffers in binding order.
    pub digest: [u8; 32],
}

/// Runs a range of dispatches one at a time, with the same result as running the whole range, and adds an entry to the
/// trace for each.
pub async fn run_traced(
    executor: &mut Executor,
    recording: &Recording,
    dispatches: Range<usize>,
    trace: &mut Vec<Traced>,
) -> Result<Saturated, Error> {
    let mut saturated = false;
    for at in dispatches {
        let dispatch = &recording.dispatches()[at];
        saturated |= executor.run(at..at + 1).await?;
        let mut hash = Sha256::new();
        for written in dispatch.written() {
            let words = executor.read(written.id).await?;
            words[..written.words].iter().for_each(|word| hash.update(word.to_le_bytes()));
        }
        let (label, kernel) = (dispatch.label.clone(), dispatch.kernel.name);
        trace.push(Traced { label, kernel, digest: hash.finalize().into() });
    }
    Ok(saturated)
}

/// Returns the first entry of `found` that differs from the entry with the same index in `expected`.
pub fn first_difference<'a>(expected: &[Traced], found: &'a [Traced]) -> Option<&'a Traced> {
    (0..found.len()).find(|at| expected.get(*at) != found.get(*at)).map(|at| &found[at])
}
