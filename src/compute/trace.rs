//! A trace is a list with one entry for each dispatch (launch of a kernel) of a run. The entry contains a digest of the
//! words that the dispatch wrote. If traces of the same run on two backends differ, the first entry that differs
//! identifies the dispatch that one of the backends computed wrongly.

use super::Executor;
use crate::{compute::recording::Recording, error::Error, kernels::Saturated};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// An entry of a trace: a dispatch, and a digest of the words that it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Label of the dispatch, such as `layer 3 ffn.down`.
    pub label: String,
    /// Name of the kernel that was launched.
    pub kernel: &'static str,
    /// Whether the dispatch computed a value outside the range of its number format.
    pub saturated: Saturated,
    /// SHA-256 of the words that the dispatch wrote, as little-endian bytes, one buffer after another in binding order.
    pub digest: [u8; 32],
}

/// Runs a range of dispatches one at a time, and appends an entry to `trace` for each. Afterwards, the buffers contain
/// the same words as if the whole range had been run at once. Returns whether any dispatch computed a value outside the
/// range of its number format.
pub async fn run_traced(
    executor: &mut Executor,
    recording: &Recording,
    dispatches: Range<usize>,
    trace: &mut Vec<Traced>,
) -> Result<Saturated, Error> {
    let mut saturated = false;
    for at in dispatches {
        let dispatch = &recording.dispatches()[at];
        let in_dispatch = executor.run(at..at + 1).await?;
        saturated |= in_dispatch;
        let mut hash = Sha256::new();
        for written in dispatch.written() {
            let words = executor.read(written.id).await?;
            words[..written.words].iter().for_each(|word| hash.update(word.to_le_bytes()));
        }
        let (label, kernel) = (dispatch.label.clone(), dispatch.kernel.name);
        trace.push(Traced { label, kernel, saturated: in_dispatch, digest: hash.finalize().into() });
    }
    Ok(saturated)
}

/// Returns the first entry of `found` that differs from the entry with the same index in `expected`, or that has no
/// counterpart there. Returns `None` if all entries of `found` are equal to their counterparts.
pub fn first_difference<'a>(expected: &[Traced], found: &'a [Traced]) -> Option<&'a Traced> {
    (0..found.len()).find(|at| expected.get(*at) != found.get(*at)).map(|at| &found[at])
}
