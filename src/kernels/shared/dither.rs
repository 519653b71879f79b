//! The dither buffer: `[index, 0, key, key, …]`, with two words for each key. `index` is the place of the first token
//! in its chunk, counted from the start of the chunk, not of the batch. The keys are those of the streams.

use crate::numbers::rng::Dither;

/// Returns the dither stream with this number.
#[inline(always)]
pub fn stream(words: &[u32], stream: u32) -> Dither {
    let at = 2 + 2 * stream as usize;
    Dither([words[at], words[at + 1]])
}

/// Returns the place of a token of the batch in its chunk.
#[inline(always)]
pub fn index(words: &[u32], token: usize) -> u32 {
    words[0] + token as u32
}
