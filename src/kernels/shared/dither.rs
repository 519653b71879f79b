//! The dither buffer contains the keys from which pseudorandom bits for rounding (dither) are derived. Its form is
//! `[index, 0, key, key, …]`. `index` is the position that the first token of the batch has in the chunk. There is one
//! `key`, of two words, for each dither stream.

use crate::numbers::rng::Dither;

/// Returns the dither stream (a stream of pseudorandom bits) with the index `stream`. `words` is the dither buffer,
/// which contains the keys of all streams.
#[inline(always)]
pub fn stream(words: &[u32], stream: u32) -> Dither {
    let at = 2 + 2 * stream as usize;
    Dither([words[at], words[at + 1]])
}

/// Returns a token's position in the chunk. `token` is the token's index in the batch. `words` is the dither buffer,
/// whose first word is the position of the batch's first token in the chunk.
#[inline(always)]
pub fn index(words: &[u32], token: usize) -> u32 {
    words[0] + token as u32
}
