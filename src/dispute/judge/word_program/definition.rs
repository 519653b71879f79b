//! What a word program is.

use super::{StepContext, WordFault, WordPlace};
use crate::kernels::Kernel;

/// The word program of a kernel: how each word that the kernel writes is computed in steps.
pub struct WordProgram {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Returns the number of words of the scratch tensor, which is zero before the first step.
    pub scratch: fn(&[u32]) -> usize,
    /// Returns the number of steps for a word, at least one.
    pub steps: fn(&[u32], WordPlace) -> usize,
    /// Executes the step with a number.
    pub step: fn(&mut StepContext, usize) -> Result<(), WordFault>,
}

/// Number of scratch words that every word program has: the result and the flag.
pub(in crate::dispute::judge) const RESULT: usize = 2;

/// Number of columns of a row that one step reads.
pub(in crate::dispute::judge) const CHUNK: usize = 1024;
