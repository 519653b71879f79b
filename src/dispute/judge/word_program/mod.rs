//! A word_program: the computation of one output word of a dispatch, cut into steps small enough to be shown.
//!
//! A step reads a few tiles of the dispatch's buffers and of a scratch tensor, and writes to the scratch tensor alone.
//! Every kernel has one, and it gives the word and the flag that the kernel's reference gives. What a word_program reads is checked
//! against the formats of docs/ARITHMETIC.md first, so that no word makes it overflow or read out of bounds.

mod attention;
mod attention_backward;
mod contractions;
mod feed_forward;
mod gradients;
mod heads;
mod norm_backward;
mod norms;
mod quantize;
mod single;
mod step_context;
mod vocabulary;

use super::artifact_encoding;
use crate::kernels::{self, Kernel};
pub(super) use step_context::bounded;
pub use step_context::{StepContext, WordFault, WordMemory, WordPlace};

/// How a kernel's words are computed step by step.
pub struct WordProgram {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Words of the scratch tensor, zero before the first step.
    pub scratch: fn(&[u32]) -> usize,
    /// Steps for a word, at least one.
    pub steps: fn(&[u32], WordPlace) -> usize,
    /// One of them.
    pub step: fn(&mut StepContext, usize) -> Result<(), WordFault>,
}

/// Words of a scratch tensor that every tape has: the answer and the flag.
pub(super) const ANSWER: usize = 2;

/// Columns of a row that one step goes through.
pub(super) const CHUNK: usize = 1024;

/// The tape of every kernel that a trace may name.
pub static WORD_PROGRAMS: &[WordProgram] = &[
    single::EMBED,
    norms::QUANTIZE,
    contractions::LORA_DOWN,
    contractions::TERNARY,
    single::LORA_UP,
    heads::ROPE,
    attention::ATTENTION,
    single::RESIDUAL_ADD,
    feed_forward::GATED,
    norms::WIDE,
    contractions::HEAD_LOGITS,
    vocabulary::LOGITS_MAX,
    vocabulary::LOGITS_SUM,
    vocabulary::CROSS_ENTROPY,
    vocabulary::LOSS_SUM,
    vocabulary::HEAD_BACKWARD,
    norm_backward::NORM_BACKWARD,
    quantize::GRADIENT_QUANTIZE,
    contractions::LORA_DOWN_BACKWARD,
    contractions::TERNARY_BACKWARD,
    feed_forward::GATED_BACKWARD,
    heads::HEAD_GRADIENT_QUANTIZE,
    attention_backward::BY_QUERY,
    attention_backward::BY_KEY,
    quantize::ROPE_BACKWARD,
    gradients::LORA_FOLD,
    gradients::LORA_GRADIENT_A,
    gradients::LORA_GRADIENT_B,
    single::DIGEST,
    artifact_encoding::word_programs::GRADIENT_MAX,
    artifact_encoding::word_programs::TRANSPORT,
    artifact_encoding::word_programs::BLOCK_DIGEST,
    artifact_encoding::word_programs::MATRIX_LEAF,
    artifact_encoding::word_programs::OUTCOME,
];

/// The tape of a kernel by its name.
pub fn word_program(kernel: &str) -> Option<&'static WordProgram> {
    WORD_PROGRAMS.iter().find(|word_program| word_program.kernel.name == kernel)
}

/// Every kernel of a trace: those of a step, and those that make its artifact.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    kernels::ALL.iter().copied().chain(artifact_encoding::KERNELS.iter().copied())
}
