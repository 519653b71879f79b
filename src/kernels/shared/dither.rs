//! The dither buffer: `[first, 0, key, key, …]`, two words each: the position of the first token in its
//! chunk, then the key of every stream. Positions count from the chunk's start, never a batch's.

use crate::numbers::rng::Dither;

/// The stream numbered `stream`.
#[inline(always)]
pub fn stream(words: &[u32], stream: u32) -> Dither {
    let at = 2 + 2 * stream as usize;
    Dither([words[at], words[at + 1]])
}

/// The chunk position of `token`.
#[inline(always)]
pub fn index(words: &[u32], token: usize) -> u32 {
    words[0] + token as u32
}
