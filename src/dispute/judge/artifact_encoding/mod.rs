//! The artifact encoding: the last dispatches (kernel launches) of a task, which encode the exact gradient of a chunk
//! as an artifact (the data that a miner publishes). The last of these dispatches writes the gradient root (a hash that
//! identifies the gradient) and the loss. The last leaf of the task's trace (the hashes of what each dispatch wrote)
//! therefore commits to both.
//!
//! For each matrix, these dispatches compute the largest magnitude, the encoded bytes, the digests of the blocks of
//! these bytes, and the matrix's leaf in the Merkle tree of the gradient root. The last dispatch computes the gradient
//! root itself. The kernels have reference implementations only, because each task runs the artifact encoding only
//! once.

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

/// The kernels of the artifact encoding, in the order in which a task runs them.
pub static KERNELS: &[&Kernel] =
    &[&gradient_max::KERNEL, &transport::KERNEL, &block_digest::KERNEL, &matrix_leaf::KERNEL, &outcome::KERNEL];
