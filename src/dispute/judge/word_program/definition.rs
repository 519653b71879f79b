//! The definition of a word program.

use super::{StepContext, WordFault, WordPlace};
use crate::kernels::Kernel;

/// The word program of a kernel: how each word that the kernel writes is computed in steps.
pub struct WordProgram {
    /// The kernel whose output words the program computes.
    pub kernel: &'static Kernel,
    /// Returns the number of words of the scratch tensor, which is zero before the first step.
    pub scratch: fn(&[u32]) -> usize,
    /// Returns the number of steps for a word, at least one.
    pub steps: fn(&[u32], WordPlace) -> usize,
    /// Executes the step with this index.
    pub step: fn(&mut StepContext, usize) -> Result<(), WordFault>,
}

/// The number of words at the start of every word program's scratch tensor that have a fixed meaning: the result and
/// the flag.
pub(in crate::dispute::judge) const RESULT: usize = 2;

/// The number of columns that one step reads of a row, if it reads the row in parts.
pub(in crate::dispute::judge) const CHUNK: usize = 1024;
