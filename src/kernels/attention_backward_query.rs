//! The gradient of attention with respect to queries: `dq = dS · k / √head_dim`, where `dS = P ∘ (dP − Σ P ∘ dP)` is
//! the gradient of the scores, and `dP = dout · vᵀ` is the gradient of the probabilities `P` that [`attention`]
//! computes. `k` contains the keys, `v` the values, and `dout` is the gradient of attention's output. ∘ multiplies
//! element by element, and Σ is over the keys.
//!
//! `dS · k` is a sum over keys, and the rows of `k` have different exponents. To align the terms, each element of `dS`
//! is first shifted by an amount that depends on the exponent of its key's row. In each block of 32 keys, the results
//! are then divided by a common power of two and rounded to integers of magnitude ≤ 2^14.

use super::{
    INFO, Kernel, Saturated,
    attention::{self, STATS},
    lowering, params, read,
    shared::{
        blocks::{BLOCK, ZERO_EXPONENT, align, distance},
        dither,
        heads::Head,
        rows,
        scores::{Normalizer, exp2},
    },
    texts, write,
};
use crate::numbers::fixed::{ROW_BITS, Scale, WIDE_BITS, round_dither, round_even, shift_for};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of query heads of each token.
    heads: u32,
    /// The number of key/value heads of each token.
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
    /// Mantissa of the scale `1 / √head_dim`, by which `dq`, the gradient of the queries, is multiplied.
    inverse_root: u32,
    /// Exponent of the scale `1 / √head_dim`, by which `dq`, the gradient of the queries, is multiplied.
    inverse_root_exponent: i32,
    /// Index of the dither stream (pseudorandom bits, addressed by row and column) with which `dS`, the gradient of the
    /// scores, is rounded stochastically. An element of `dS` uses the bits at row `query · heads + head` and column
    /// `key`. Here `query` is the position of the query's token in the chunk, and `key` is the position of the key's
    /// token in its sequence.
    stream: u32,
}

/// The kernel `attention_backward_query`. It reads the queries `q`, the keys `k`, the values `v` and the gradient
/// `dout` of attention's output as head rows (integers of magnitude ≤ 2^14, with one exponent for each token and head),
/// the exp2 and log2 tables, and the dither buffer (Threefry keys from which the pseudorandom bits for rounding are
/// derived). Of the softmax statistics `stats [tokens, heads, 8]`, it reads the first five words of each token and
/// head, which [`attention`] has written, and writes the next two. It also writes `dq [tokens, heads, head_dim]`, the
/// gradient of the queries, as i32 rows (integers, then the scale of the row).
pub static KERNEL: Kernel = Kernel {
    name: "attention_backward_query",
    params: Params::NAMES,
    bindings: &[
        read("q"),
        read("k"),
        read("v"),
        read("dout"),
        read("tables"),
        read("dither"),
        write("stats", |p| Params::read(p).heads as usize * STATS),
        write("dq", |p| Params::read(p).heads as usize * (Params::read(p).head_dim as usize + INFO)),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[
        lowering(
            "plain",
            texts!(
                "attention_backward_query.wgsl",
                "fragments/attention_backward_query.plain.wgsl",
                "fragments/attention.scores.wgsl",
                "fragments/attention.keys.wgsl",
                "fragments/attention.weights.wgsl",
                "fragments/attention_backward.gradient.wgsl",
                "fragments/attention_backward.values.wgsl",
                "fragments/exponentials.wgsl"
            ),
            |p| Params::read(p).heads,
            1,
        )
        .keys_held(|p| attention::keys_held(Params::read(p).tokens)),
        lowering(
            "tiled",
            texts!(
                "attention_backward_query.wgsl",
                "fragments/attention_backward_query.tiled.wgsl",
                "fragments/attention_tile.wgsl",
                "fragments/attention_backward_tile.wgsl",
                "fragments/attention.scores.wgsl",
                "fragments/attention_backward.gradient.wgsl",
                "fragments/exponentials.wgsl"
            ),
            |p| Params::read(p).heads,
            attention::TILE_ROWS,
        )
        .hardware_only(),
    ],
};

/// The softmax statistics of one token and head. The forward pass computes all fields except `mean` and `shift`, which
/// the backward pass computes.
#[derive(Clone, Copy)]
pub(crate) struct Stats {
    pub(crate) max: i32,
    pub(crate) normalizer: Normalizer,
    /// Index, within the batch, of the first key that the token sees.
    pub(crate) first: usize,
    pub(crate) top: i32,
    pub(crate) mean: i32,
    pub(crate) shift: u32,
}

/// The number of bits by which `dP`, the gradient of an attention probability, is shifted left. After this, it is
/// shifted right by an amount that depends on the exponent of the value row. The left shift comes first so that the
/// right shift loses fewer low bits.
pub(crate) const RAISE: u32 = 25;

impl Stats {
    pub(crate) fn new(words: &[u32]) -> Self {
        Self {
            max: words[0] as i32,
            normalizer: Normalizer { mantissa: words[1], shift: words[2] },
            first: words[3] as usize,
            top: words[4] as i32,
            mean: words[5] as i32,
            shift: words[6],
        }
    }

    /// Returns the attention probability of a key, with 30 fraction bits. `score` is the score of the key, which the
    /// backward pass computes again.
    #[inline(always)]
    pub(crate) fn probability(&self, tables: &[u32], score: i32) -> u32 {
        self.normalizer.probability(exp2(tables, self.max.max(score).abs_diff(score)))
    }

    /// Returns `dP`, the gradient of the attention probability of a query and a key. It is the inner product of two
    /// rows: `dout` is the query's row of the gradient of attention's output, and `value` is the key's value row. The
    /// result is an integer of magnitude ≤ 2^61, in units of `2^(exponent of dout + top − 25)`, where `top` is the
    /// largest exponent of all visible value rows.
    #[inline(always)]
    fn folded(&self, dout: Head<'_>, value: Head<'_>, head_dim: usize) -> i64 {
        align(dout.dot(value, head_dim) << RAISE, -(distance(self.top, value.exponent) as i32))
    }

    /// Returns `dS`, the gradient of the score of a query and a key, as an integer in units of 2^e. The method
    /// [`exponent`](Self::exponent) returns e.
    #[inline(always)]
    pub(crate) fn gradient(&self, probability: u32, dout: Head<'_>, value: Head<'_>, head_dim: usize) -> i64 {
        let dp = round_even(self.folded(dout, value, head_dim), self.shift);
        round_even(i64::from(probability) * (dp - i64::from(self.mean)), 30)
    }

    /// Returns e, where 2^e is the unit in which [`gradient`](Self::gradient) returns `dS`, the gradient of a score.
    /// `dout_exponent` is the exponent of the query's row in the gradient of attention's output. If this row or all
    /// visible value rows are zero, returns `ZERO_EXPONENT`, the exponent of rows of zeros.
    #[inline(always)]
    pub(crate) fn exponent(&self, dout_exponent: i32) -> i32 {
        if self.top == ZERO_EXPONENT || dout_exponent == ZERO_EXPONENT {
            return ZERO_EXPONENT;
        }
        dout_exponent + self.top - RAISE as i32 + self.shift as i32
    }
}

impl Params {
    /// Returns the parameters of [`attention`] that the computation of scores needs. The other parameters are 0.
    pub(crate) fn attention(&self) -> attention::Params {
        attention::Params {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            group_inverse: self.group_inverse,
            score_mantissa: self.score_mantissa,
            score_shift: self.score_shift,
            ..Default::default()
        }
    }
}

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, dout, tables, dither] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let stream = dither::stream(dither, p.stream);
    let scoring = p.attention();
    let [stats, dq] = writes else { unreachable!() };
    let outs = stats.chunks_exact_mut(STATS).zip(dq.chunks_exact_mut(head_dim + INFO));
    let pairs = units.flat_map(|token| (0..heads).map(move |head| (token, head)));
    let (mut probabilities, mut gradients) = (Vec::new(), Vec::new());
    let mut sums = vec![0i64; head_dim];
    for ((token, head), (words, dq)) in pairs.zip(outs) {
        let mut stats = Stats::new(words);
        let query = Head::new(q, head_dim, token * heads + head);
        let dout = Head::new(dout, head_dim, token * heads + head);
        let kv = |key: usize| key * kv_heads + scoring.kv_head(head);
        let (key, value) = (|i: usize| Head::new(k, head_dim, kv(i)), |i: usize| Head::new(v, head_dim, kv(i)));
        let keys = stats.first..token + 1;

        probabilities.clear();
        gradients.clear();
        for i in keys.clone() {
            probabilities.push(stats.probability(tables, scoring.score(query, key(i)).0));
            gradients.push(stats.folded(dout, value(i), head_dim));
        }
        let max = gradients.iter().map(|gradient| gradient.unsigned_abs()).max().unwrap_or(0);
        stats.shift = shift_for(max, ROW_BITS);
        let rows = gradients.iter().zip(&probabilities);
        let mean = rows.map(|(&dp, &probability)| i64::from(probability) * round_even(dp, stats.shift)).sum();
        stats.mean = round_even(mean, 30) as i32;
        words[5] = stats.mean as u32;
        words[6] = stats.shift;

        let top = keys.clone().map(|i| key(i).exponent).max().unwrap_or(ZERO_EXPONENT);
        sums.fill(0);
        for (block, probabilities) in probabilities.chunks(BLOCK).enumerate() {
            let at = stats.first + block * BLOCK;
            let folded: [i64; BLOCK] = std::array::from_fn(|i| match probabilities.get(i) {
                Some(&probability) => {
                    let gradient = stats.gradient(probability, dout, value(at + i), head_dim);
                    align(gradient << 30, -(distance(top, key(at + i).exponent) as i32))
                }
                None => 0,
            });
            let max = folded.iter().map(|folded| folded.unsigned_abs()).max().unwrap_or(0);
            let shift = shift_for(max, WIDE_BITS);
            let index = dither::index(dither, token) * p.heads + head as u32;
            let weights: [i64; BLOCK] =
                std::array::from_fn(|i| round_dither(folded[i], shift, stream.at(index, (block * BLOCK + i) as u32)));
            for (c, sum) in sums.iter_mut().enumerate() {
                let exact: i64 = (0..probabilities.len()).map(|i| weights[i] * key(at + i).get(c)).sum();
                *sum += align(exact, shift as i32 - 26); // in units of 2^(dS exponent + top − 4)
            }
        }
        let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
        put_row(dq, head_dim, &sums, inverse_root, stats.exponent(dout.exponent), top - 4);
    }
    false
}

/// Rounds `sums` to integers of magnitude ≤ 2^30, and writes them as an i32 row (integers, then the scale of the row).
/// The sums are in units of `factor · 2^(a + b)`.
pub(crate) fn put_row(out: &mut [u32], head_dim: usize, sums: &[i64], factor: Scale, a: i32, b: i32) {
    let shift = shift_for(sums.iter().fold(0, |bits, sum| bits | sum.unsigned_abs()), ROW_BITS);
    let (out, info) = rows::split(out, head_dim);
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = round_even(sum, shift) as i32;
    }
    let zero = sums.iter().all(|&sum| sum == 0);
    rows::put_info(info, if zero { Scale::ZERO } else { factor.shift(a + b + shift as i32) }, 0);
}
