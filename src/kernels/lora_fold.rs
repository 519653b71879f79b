//! The gradient of a LoRA factor (`a` or `b`) is a sum over tokens. Before this sum is computed, this kernel multiplies
//! each token's row of a matrix `u` by a scale: `f[t, r] = u[t, r] · s[t]`, where `t` is a token and `r` is an index from
//! 0 to rank − 1.
//!
//! For the gradient of `b`, `u` is `x · aᵀ`, where `x` is the input of a linear layer. For the gradient of `a`, `u` is
//! `dy · b`, where `dy` is the gradient of the layer's output. `s[t]` is the product of four scales: those of the
//! token's rows in `u`, `x` and `dy`, and one of the adapter.
//!
//! The tokens are divided into blocks of up to 32. In each block, the values with the same `r` share an exponent. A sum
//! of such values is therefore an exact sum of integers.

use super::{
    Kernel, Saturated, as_bytes_mut, lowering, params, read,
    shared::{
        blocks::{BLOCK, ZERO_EXPONENT, distance},
        dither, rows, wide,
    },
    texts, write,
};
use crate::numbers::fixed::{Scale, WIDE_BITS, round_dither, shift_for};
use std::ops::Range;

params! {
    /// The number of blocks of up to 32 tokens.
    blocks: u32,
    /// The rank of the adapter: the number of features in a row of `u`.
    rank: u32,
    /// Index of a scale in `lora_info`, which contains the scales and exponents of the adapter. The values of all
    /// tokens are multiplied by this scale. It is alpha / rank times the scale of the integers in the LoRA factor from
    /// which `u` was computed. It is stored as a mantissa, then an exponent.
    scale_at: u32,
    /// Index of the dither stream (pseudorandom bits, addressed by row and column) with which the values are rounded
    /// stochastically. The row of a value's bits is the position of the value's token in the chunk, and the column is
    /// the index of the value in this token's row of `u`.
    stream: u32,
}

/// The number of words of a folded row: 16 words for the values of 32 tokens (two bytes for each value), one word for
/// their exponent, and three words of padding.
pub const FOLD: usize = 20;

/// The kernel `lora_fold`. It reads `u [tokens, rank]` as wide rows (integers of magnitude ≤ 2^14, each stored as two
/// int8 values); `u_info`, `x_info` and `dy_info`, which contain the scales of the tokens' rows in `u`, `x` and `dy`;
/// `spans [blocks, 2]`, which contains the index of the first token and the number of tokens (at most 32) of each
/// block; `lora_info`, the scales and exponents of the adapter; and the dither buffer (keys from which the pseudorandom
/// bits for rounding are derived). It writes `out [blocks, rank, 20]`: for each block, `rank` rows of 20 words, which
/// contain one value for each of the block's tokens and the exponent that these values share.
pub static KERNEL: Kernel = Kernel {
    name: "lora_fold",
    params: Params::NAMES,
    bindings: &[
        read("u"),
        read("u_info"),
        read("x_info"),
        read("dy_info"),
        read("spans"),
        read("lora_info"),
        read("dither"),
        write("out", |p| Params::read(p).rank as usize * FOLD),
    ],
    units: |p| Params::read(p).blocks as usize,
    reference,
    lowerings: &[lowering("plain", texts!("lora_fold.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [u, u_info, x_info, dy_info, spans, lora_info, dither] = reads else { unreachable!() };
    let rank = p.rank as usize;
    let adapter = Scale::from_words(&lora_info[p.scale_at as usize..]);
    let stream = dither::stream(dither, p.stream);
    for (block, out) in units.zip(writes[0].chunks_exact_mut(rank * FOLD)) {
        let (first, tokens) = (spans[2 * block] as usize, spans[2 * block + 1] as usize);
        let scales: [Scale; BLOCK] = std::array::from_fn(|i| {
            if i >= tokens {
                return Scale { mantissa: 0, exponent: ZERO_EXPONENT };
            }
            let rows = rows::info(x_info, first + i).multiply(rows::info(dy_info, first + i)).multiply(adapter);
            match rows.mantissa {
                0 => Scale { mantissa: 0, exponent: ZERO_EXPONENT },
                _ => rows.shift(rows::info(u_info, first + i).exponent + 30),
            }
        });
        let top = scales.iter().map(|scale| scale.exponent).max().unwrap_or(ZERO_EXPONENT);
        for (r, out) in out.chunks_exact_mut(FOLD).enumerate() {
            // ≤ 2^14 · 2^31 · 2^16, in units of 2^(top − 16)
            let folded: [i64; BLOCK] = std::array::from_fn(|i| {
                if i >= tokens {
                    return 0;
                }
                let u = i64::from(wide::get(wide::row(u, rank, first + i), r));
                ((u * i64::from(scales[i].mantissa)) << 16) >> distance(top, scales[i].exponent)
            });
            let max = folded.iter().map(|folded| folded.unsigned_abs()).max().unwrap_or(0);
            let shift = shift_for(max, WIDE_BITS);
            let (row, info) = out.split_at_mut(FOLD - 4);
            let row = as_bytes_mut(row);
            for (i, &folded) in folded.iter().enumerate() {
                let index = dither::index(dither, first + i);
                let value = if i < tokens { round_dither(folded, shift, stream.at(index, r as u32)) } else { 0 };
                wide::set(row, i, value as i32);
            }
            info.copy_from_slice(&[(top - 16 + shift as i32) as u32, 0, 0, 0]);
        }
    }
    false
}
