//! Word programs. A word program computes one output word of a dispatch (one launch of a kernel). It is divided into
//! steps so small that a proof can contain everything that a step reads.
//!
//! A step reads a few tiles (256 words each) of the dispatch's buffers and of a scratch tensor, which holds
//! intermediate values. It writes only to the scratch tensor. Every kernel has a word program, which computes the same
//! word and the same saturation flag as the kernel's reference implementation. Every word that is read is first checked
//! against its format in docs/ARITHMETIC.md. The formats bound all values and indexes, so no input makes a word program
//! overflow or read out of bounds.

mod attention;
mod attention_backward;
mod contractions;
mod definition;
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
pub use definition::WordProgram;
pub(super) use definition::{CHUNK, RESULT};
pub use step_context::{StepContext, WordFault, WordMemory, WordPlace};
pub(super) use step_context::{bounded, part};

/// The word programs of all kernels that a task launches, in the order of [`kernels()`].
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

/// Returns the word program of the kernel with the name `kernel`; `None` if there is no such kernel.
pub fn word_program(kernel: &str) -> Option<&'static WordProgram> {
    WORD_PROGRAMS.iter().find(|word_program| word_program.kernel.name == kernel)
}

/// Returns all kernels that have a word program: first those of a training step, then those that encode the artifact.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    kernels::ALL.iter().copied().chain(artifact_encoding::KERNELS.iter().copied())
}
