//! A trace: the digest of what every dispatch wrote. Of two traces of the same play, the first entries that differ
//! name the dispatch that went wrong.

use super::Executor;
use crate::{compute::recording::Recording, error::Error, kernels::Saturated};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// One dispatch's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The dispatch's label.
    pub label: String,
    /// Its kernel.
    pub kernel: &'static str,
    /// SHA-256 of the words that it wrote, little-endian, its buffers in binding order.
    pub digest: [u8; 32],
}

/// Plays a range of dispatches one at a time, as a whole range would play, and adds an entry for each.
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

/// The first entry of `found` that is not that of `expected`.
pub fn first_difference<'a>(expected: &[Traced], found: &'a [Traced]) -> Option<&'a Traced> {
    (0..found.len()).find(|at| expected.get(*at) != found.get(*at)).map(|at| &found[at])
}
