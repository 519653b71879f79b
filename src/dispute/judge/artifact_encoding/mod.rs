//! The artifact encoding: dispatches that turn a chunk's exact gradient into its artifact, so that the last leaf of a
//! trace states what the artifact claims.
//!
//! For each matrix they compute the largest magnitude, the bytes, the digests of the bytes' blocks, and the leaf of the
//! gradient root. The last dispatch computes the gradient root itself. These kernels have reference implementations
//! only, because they run only once per chunk.

pub mod block_digest;
pub mod gradient_max;
pub mod matrix_leaf;
pub mod outcome;
pub mod transport;
pub(in crate::dispute::judge) mod word_programs;
mod words;

pub use outcome::OUTCOME_WORDS;
pub(in crate::dispute) use words::hash_words;

use crate::kernels::Kernel;

/// The kernels of the artifact encoding in the order of their use.
pub static KERNELS: &[&Kernel] =
    &[&gradient_max::KERNEL, &transport::KERNEL, &block_digest::KERNEL, &matrix_leaf::KERNEL, &outcome::KERNEL];
