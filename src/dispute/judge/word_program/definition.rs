//! The definition of a word program, which describes the steps in which one output word of a kernel is computed.

use super::{StepContext, WordFault, WordPlace};
use crate::kernels::Kernel;

/// How any single output word of a kernel is computed in steps. Each step reads so few words that a proof of the step
/// can contain them.
pub struct WordProgram {
    /// The kernel whose output words are computed.
    pub kernel: &'static Kernel,
    /// Returns, for the given kernel parameters, the number of words in the scratch tensor. The scratch tensor holds
    /// intermediate values, and all of its words are 0 before the first step.
    pub scratch: fn(&[u32]) -> usize,
    /// Returns, for the given kernel parameters, the number of steps (at least 1) that compute the word at the given
    /// place.
    pub steps: fn(&[u32], WordPlace) -> usize,
    /// Executes the step with the given index. The context holds the kernel's parameters, the place of the output word,
    /// and the memory.
    pub step: fn(&mut StepContext, usize) -> Result<(), WordFault>,
}

/// The number of reserved words at the start of every scratch tensor. Word 0 is the computed output word (the result),
/// and word 1 is its saturation flag.
pub(in crate::dispute::judge) const RESULT: usize = 2;

/// The number of columns that one step processes if the kernel's rows are too long for a single step.
pub(in crate::dispute::judge) const CHUNK: usize = 1024;
