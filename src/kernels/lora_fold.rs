//! `f[t, r] = u[t, r] · (product of the scales of row t)`, in blocks of 32 tokens. The values of one block and one rank
//! share an exponent, so sums over the tokens of a block are exact sums of integers.
//!
//! For the gradient of `b`, `u` is `x · aᵀ`; for the gradient of `a`, it is `dy · b`. In both cases `u` is multiplied
//! by the scales of the rows of `x` and `dy`.

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
    /// The number of blocks of tokens.
    blocks: u32,
    /// Rank of the adapter.
    rank: u32,
    /// Index in `lora_info` of a scale (mantissa, exponent): alpha / rank times the unit of the other factor.
    scale_at: u32,
    /// Index of the dither stream, whose elements are indexed by (token, rank).
    stream: u32,
}

/// The number of words of a folded row: the values of 32 tokens as a wide row, their exponent, and three words of
/// padding.
pub const FOLD: usize = 20;

/// This kernel reads `u [tokens, rank]` wide rows with `u_info`, `x_info`, `dy_info`, `spans [blocks, 2]` (first token,
/// number of tokens ≤ 32), `lora_info` and the dither buffer. It writes `out [blocks, rank, 20]`.
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
