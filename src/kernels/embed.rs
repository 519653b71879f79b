//! The initial value of the residual stream, in fixed point: `out[t] = embedding[ids[t]] · row scale · 2^-shift`, where
//! `ids[t]` is the ID of token `t`.

use super::{INFO, Kernel, Saturated, as_bytes, flag, lowering, params, read, shared::rows, texts, write};
use crate::numbers::{
    fixed::{Scale, shift_to_i32},
    ternary::row_words,
};
use std::ops::Range;

params! {
    /// The number of tokens in the batch. Each token has one row in `out`.
    tokens: u32,
    /// The number of features in each embedding.
    width: u32,
    /// Right shift (left shift if negative) that converts the product of an embedding element (int8) and its row scale
    /// (u16) into a fixed-point value of the residual stream.
    shift: i32,
    /// The number of fraction bits in the values of the residual stream.
    fraction_bits: u32,
    /// ID of the first token in this shard of the vocabulary. The shard that starts at 0 must be processed first,
    /// because its dispatch also writes zeros to `out` for each token of the batch whose ID is in another shard.
    vocab_offset: u32,
    /// The number of vocabulary entries in this shard.
    vocab: u32,
}

/// The kernel `embed`. It reads `ids [tokens]` (IDs in the whole vocabulary), `embedding [vocab, width]` (int8) and
/// `row_scales [vocab]` (u16 in units of 2^-16). It writes `out [tokens, width]` as i32 rows (integers, then the scale
/// of the row).
pub static KERNEL: Kernel = Kernel {
    name: "embed",
    params: Params::NAMES,
    bindings: &[
        read("ids"),
        read("embedding"),
        read("row_scales"),
        write("out", |p| Params::read(p).width as usize + INFO),
        flag(),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("embed.wgsl"), |p| Params::read(p).width.div_ceil(64), 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    let mut any = false;
    for (token, out) in units.zip(writes[0].chunks_exact_mut(width + INFO)) {
        let id = reads[0][token].wrapping_sub(p.vocab_offset) as usize;
        if id >= p.vocab as usize {
            if p.vocab_offset == 0 {
                out.fill(0);
            }
            continue;
        }
        let embedding = &as_bytes(reads[1])[id * 4 * row_words(width)..][..width];
        let (out, info) = rows::split(out, width);
        for (out, &value) in out.iter_mut().zip(embedding) {
            let (value, saturated) = shift_to_i32(i64::from(value) * i64::from(reads[2][id]), p.shift);
            *out = value;
            any |= saturated;
        }
        rows::put_info(info, Scale::power_of_two(-(p.fraction_bits as i32)), 0);
    }
    any
}
