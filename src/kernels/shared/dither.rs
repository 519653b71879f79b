//! The dither buffer `[index, 0, key, key, …]` holds the index in the chunk of the batch's first token, a zero, and the
//! key of each dither stream, two words long.

use crate::numbers::rng::Dither;

/// Returns the dither stream with index `stream`.
#[inline(always)]
pub fn stream(words: &[u32], stream: u32) -> Dither {
    let at = 2 + 2 * stream as usize;
    Dither([words[at], words[at + 1]])
}

/// Returns the index in the chunk of token `token` of the batch.
#[inline(always)]
pub fn index(words: &[u32], token: usize) -> u32 {
    words[0] + token as u32
}
