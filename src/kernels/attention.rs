//! Causal attention with grouped key/value heads: `out = P · v`, where `P = softmax(q · kᵀ / √head_dim)`.
//!
//! A token sees its own key and the keys of earlier tokens in its sequence. `P · v` is a sum over keys, and the rows of
//! `v` have different exponents. To align the terms, each probability is first multiplied by `2^(e − top)`, where `e`
//! is the exponent of its key's row in `v`, and `top` is the largest exponent of all visible rows in `v`. In each block
//! of 32 keys, the products are then rounded to integers ≤ 2^14 with a common scale.

use super::{
    INFO, Kernel, Saturated, flag, lowering, params, read,
    shared::{
        blocks::{BLOCK, ZERO_EXPONENT, align, distance},
        heads::Head,
        rows,
        scores::{Normalizer, exp2, score},
    },
    texts, write,
};
use crate::numbers::fixed::{Scale, WIDE_BITS, round_even, round_even_u64, shift_for};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of query heads of each token.
    heads: u32,
    /// The number of key/value heads of each token. It divides the number of query heads.
    kv_heads: u32,
    /// The number of features in each head.
    head_dim: u32,
    /// `ceil(2^16 / (heads / kv_heads))`. The index of a query head times this number, shifted right by 16, is the
    /// index of its key/value head. In this way, kernels need no division.
    group_inverse: u32,
    /// 24-bit mantissa of `log2(e) / √head_dim · 2^20`, the factor that converts the inner product of a query and a key
    /// into a score.
    score_mantissa: u32,
    /// A score is the inner product of a query and a key, multiplied by `score_mantissa` and shifted right by
    /// `score_shift` − (exponent of the query row) − (exponent of the key row).
    score_shift: i32,
}

/// The largest number of tokens in a sequence. The memory of a GPU workgroup limits it, because a workgroup holds one
/// word for each key.
pub const MAX_CONTEXT: usize = 2048;
/// The largest number of features in a head. There are two reasons for the limit. The backward pass shifts the inner
/// product of two heads left by 25 bits, and the result must fit in an i64. A GPU workgroup holds one sum for each
/// feature.
pub const MAX_HEAD_DIM: usize = 256;
/// The number of tokens in a tile of the lowerings `tiled` of the attention kernels. `TILE_ROWS` in WGSL has the same
/// value.
pub(super) const TILE_ROWS: u32 = 16;
/// The number of words in the softmax statistics of one token and head: the maximum score; the mantissa and the shift
/// of the normalizer (the reciprocal of the sum of exponentials); the index of the first visible key; the largest
/// exponent of the visible value rows; two words that the backward pass writes; and one unused word.
pub const STATS: usize = 8;

/// The kernel `attention`. It reads the queries `q [tokens, heads]`, the keys `k [tokens, kv_heads]` and the values
/// `v [tokens, kv_heads]` as head rows (integers of magnitude ≤ 2^14, with one exponent for each token and head),
/// `positions [tokens]`, the position of each token in its sequence, and the exp2 and log2 tables. It writes
/// `out [tokens, heads · head_dim]` as i32 rows (integers, then the scale of the row), and the softmax statistics
/// `stats [tokens, heads, 8]`.
pub static KERNEL: Kernel = Kernel {
    name: "attention",
    params: Params::NAMES,
    bindings: &[
        read("q"),
        read("k"),
        read("v"),
        read("positions"),
        read("tables"),
        write("out", |p| (Params::read(p).heads * Params::read(p).head_dim) as usize + INFO),
        write("stats", |p| Params::read(p).heads as usize * STATS),
        flag(),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[
        lowering(
            "plain",
            texts!(
                "attention.wgsl",
                "fragments/attention.plain.wgsl",
                "fragments/attention.scores.wgsl",
                "fragments/attention.keys.wgsl",
                "fragments/attention.weights.wgsl",
                "fragments/exponentials.wgsl"
            ),
            |p| Params::read(p).heads,
            1,
        )
        .keys_held(|p| keys_held(Params::read(p).tokens)),
        lowering(
            "tiled",
            texts!(
                "attention.wgsl",
                "fragments/attention.tiled.wgsl",
                "fragments/attention_tile.wgsl",
                "fragments/attention.scores.wgsl",
                "fragments/exponentials.wgsl"
            ),
            |p| Params::read(p).heads,
            TILE_ROWS,
        )
        .hardware_only(),
    ],
};

/// Returns the number of keys for which a GPU workgroup reserves memory, given the number of tokens in the batch. It is
/// a power of two from 128 to 2048, and no token sees more keys than this.
pub(super) fn keys_held(tokens: u32) -> u32 {
    tokens.next_power_of_two().clamp(128, MAX_CONTEXT as u32)
}

impl Params {
    /// Returns the index of the key/value head that the query head with index `head` uses.
    #[inline(always)]
    pub fn kv_head(&self, head: usize) -> usize {
        (head * self.group_inverse as usize) >> 16
    }

    /// Returns the attention score of a query and a key, with 20 fraction bits, and whether the score was clamped to
    /// ±1024.
    #[inline(always)]
    pub fn score(&self, q: Head<'_>, k: Head<'_>) -> (i32, bool) {
        let dot = q.dot(k, self.head_dim as usize);
        score(dot * i64::from(self.score_mantissa), self.score_shift - q.exponent - k.exponent)
    }
}

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, positions, tables] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let [out, stats] = writes else { unreachable!() };
    let outs = out.chunks_exact_mut(heads * head_dim + INFO).zip(stats.chunks_exact_mut(heads * STATS));
    let (mut scores, mut sums) = (Vec::new(), vec![0i64; head_dim]);
    let mut any = false;
    for (token, (out, stats)) in units.zip(outs) {
        let first = token - positions[token] as usize;
        let (out, info) = rows::split(out, heads * head_dim);
        // |v| ≤ 2^14 · 2^top for every visible key and head, so out in units of 2^(top − 16) fits in 31 bits.
        let visible = first * kv_heads..(token + 1) * kv_heads;
        let top = visible.map(|row| Head::new(v, head_dim, row).exponent).max().unwrap_or(ZERO_EXPONENT);
        let zero = top == ZERO_EXPONENT;
        rows::put_info(info, if zero { Scale::ZERO } else { Scale::power_of_two(top - 16) }, 0);
        for head in 0..heads {
            let query = Head::new(q, head_dim, token * heads + head);
            let kv = |key: usize| key * kv_heads + p.kv_head(head);
            scores.clear();
            for key in first..=token {
                let (score, clamped) = p.score(query, Head::new(k, head_dim, kv(key)));
                scores.push(score);
                any |= clamped;
            }
            let max = scores.iter().copied().max().unwrap_or(0);
            let exponential = |score: i32| exp2(tables, max.abs_diff(score));
            let normalizer = Normalizer::new(scores.iter().map(|&score| u64::from(exponential(score))).sum());
            stats[head * STATS..][..STATS].copy_from_slice(&[
                max as u32,
                normalizer.mantissa,
                normalizer.shift,
                first as u32,
                top as u32,
                0,
                0,
                0,
            ]);

            sums.fill(0);
            for (block, scores) in scores.chunks(BLOCK).enumerate() {
                let value = |i: usize| Head::new(v, head_dim, kv(first + block * BLOCK + i));
                let folded = |i: usize| {
                    let probability = normalizer.probability(exponential(scores[i]));
                    (u64::from(probability) << 31) >> distance(top, value(i).exponent)
                };
                let shift = shift_for((0..scores.len()).map(folded).max().unwrap_or(0), WIDE_BITS);
                let weights: [i64; BLOCK] =
                    std::array::from_fn(|i| if i < scores.len() { round_even_u64(folded(i), shift) as i64 } else { 0 });
                for (c, sum) in sums.iter_mut().enumerate() {
                    let exact: i64 = (0..scores.len()).map(|i| weights[i] * value(i).get(c)).sum();
                    *sum += align(exact, shift as i32 - 29); // in units of 2^(top − 32)
                }
            }
            for (out, &sum) in out[head * head_dim..].iter_mut().zip(&sums) {
                *out = round_even(sum, 16) as i32;
            }
        }
    }
    any
}
