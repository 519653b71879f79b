//! How a chunk's exact gradient becomes its artifact, as dispatches, so that a trace ends in what the artifact's CID covers.
//!
//! For each matrix: its largest magnitude, its bytes, the digests of their blocks, its leaf of the gradient root. Then the
//! root. These kernels have references only: they run once a chunk.

pub mod block_digest;
pub mod gradient_max;
pub mod matrix_leaf;
pub mod outcome;
pub mod transport;
pub(in crate::dispute::judge) mod word_programs;

pub use outcome::OUTCOME_WORDS;

use crate::{kernels::Kernel, protocol::Transport};

/// In the order of their use.
pub static KERNELS: &[&Kernel] =
    &[&gradient_max::KERNEL, &transport::KERNEL, &block_digest::KERNEL, &matrix_leaf::KERNEL, &outcome::KERNEL];

/// The transport of elements of so many bytes.
fn of_bytes(bytes: u32) -> Transport {
    if bytes == 1 { Transport::Int8 } else { Transport::Int16 }
}

/// A hash as words, its bytes in order.
pub(in crate::dispute) fn hash_words(hash: &[u8; 32]) -> [u32; 8] {
    std::array::from_fn(|at| u32::from_le_bytes([hash[4 * at], hash[4 * at + 1], hash[4 * at + 2], hash[4 * at + 3]]))
}

/// A hash of eight words.
fn words_hash(words: &[u32]) -> [u8; 32] {
    std::array::from_fn(|at| words[at / 4].to_le_bytes()[at % 4])
}
