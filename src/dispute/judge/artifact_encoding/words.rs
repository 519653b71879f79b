//! Converts between words that the kernels of the artifact encoding read and write, and the hashes and transport
//! formats (integer formats of gradient elements) that these words represent.

use crate::protocol::Transport;

/// Returns the transport format (the integer format in which gradients are sent) whose elements have the size `bytes`,
/// 1 or 2.
pub(super) fn transport_of(bytes: u32) -> Transport {
    if bytes == 1 { Transport::Int8 } else { Transport::Int16 }
}

/// Returns the bytes of a hash as eight little-endian words.
pub(in crate::dispute) fn hash_words(hash: &[u8; 32]) -> [u32; 8] {
    std::array::from_fn(|at| u32::from_le_bytes([hash[4 * at], hash[4 * at + 1], hash[4 * at + 2], hash[4 * at + 3]]))
}

/// Returns the hash whose bytes are these eight words, little-endian.
pub(super) fn words_hash(words: &[u32]) -> [u8; 32] {
    std::array::from_fn(|at| words[at / 4].to_le_bytes()[at % 4])
}
