//! The gradient of attention with respect to keys and values: `dk = dSᵀ · q / √head_dim` and `dv = Pᵀ · dout`. `P` are
//! the attention probabilities, `dS` is the gradient of the scores (see
//! [`attention_backward_query`](super::attention_backward_query)), and `dout` is the gradient of attention's output.
//!
//! `dk` and `dv` are sums over queries, and each query has exponents of its own for its rows of `q` and `dout`. To
//! align the terms, each element of `dS` and `P` is first shifted by an amount that depends on the exponents of its
//! query. In each block of 32 queries, the results are then divided by a common power of two and rounded to integers of
//! magnitude ≤ 2^14. `P` and `dS` are not stored, but computed again from the softmax statistics of each query.

use super::{
    INFO, Kernel, Saturated,
    attention::{self, STATS},
    attention_backward_query::{Stats, put_row},
    lowering, params, read,
    shared::{
        blocks::{BLOCK, ZERO_EXPONENT, align, distance},
        dither,
        heads::Head,
    },
    texts, write,
};
use crate::numbers::fixed::{Scale, WIDE_BITS, round_dither, shift_for};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of tokens in each sequence.
    context: u32,
    /// The number of query heads of each token.
    heads: u32,
    /// The number of key/value heads of each token.
    kv_heads: u32,
    /// The number of features in each head.
    head_dim: u32,
    /// The number of query heads that share a key/value head.
    group: u32,
    /// 24-bit mantissa of `log2(e) / √head_dim · 2^20`, the factor that converts the inner product of a query and a key
    /// into a score.
    score_mantissa: u32,
    /// A score is the inner product of a query and a key, multiplied by `score_mantissa` and shifted right by
    /// `score_shift` − (exponent of the query row) − (exponent of the key row).
    score_shift: i32,
    /// Mantissa of the scale `1 / √head_dim`, by which `dk`, the gradient of the keys, is multiplied.
    inverse_root: u32,
    /// Exponent of the scale `1 / √head_dim`, by which `dk`, the gradient of the keys, is multiplied.
    inverse_root_exponent: i32,
    /// Index of the dither stream (pseudorandom bits, addressed by row and column) with which `dS`, the gradient of the
    /// scores, is rounded stochastically. An element of `dS` uses the bits at row `query · heads + head` and column
    /// `key`. Here `query` is the position of the query's token in the chunk, and `key` is the position of the key's
    /// token in its sequence.
    key_stream: u32,
    /// Index of the dither stream (pseudorandom bits, addressed by row and column) with which the attention
    /// probabilities `P` are rounded stochastically. An element of `P` uses the bits at row `query · heads + head` and
    /// column `key`. Here `query` is the position of the query's token in the chunk, and `key` is the position of the
    /// key's token in its sequence.
    value_stream: u32,
}

/// The kernel `attention_backward_key`. It reads the queries `q`, the keys `k`, the values `v` and the gradient `dout`
/// of attention's output as head rows (integers of magnitude ≤ 2^14, with one exponent for each token and head), the
/// softmax statistics `stats [tokens, heads, 8]`, the exp2 and log2 tables, and the dither buffer (Threefry keys from
/// which the pseudorandom bits for rounding are derived). It writes `out [tokens, 2, kv_heads, head_dim]` as i32 rows
/// (integers, then the scale of the row): for each token, first the gradient `dk` of its keys and then the gradient
/// `dv` of its values.
pub static KERNEL: Kernel = Kernel {
    name: "attention_backward_key",
    params: Params::NAMES,
    bindings: &[
        read("q"),
        read("k"),
        read("v"),
        read("dout"),
        read("stats"),
        read("tables"),
        read("dither"),
        write("out", |p| 2 * Params::read(p).kv_heads as usize * (Params::read(p).head_dim as usize + INFO)),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[
        lowering(
            "plain",
            texts!(
                "attention_backward_key.wgsl",
                "fragments/attention_backward_key.plain.wgsl",
                "fragments/attention.scores.wgsl",
                "fragments/attention_backward.gradient.wgsl",
                "fragments/exponentials.wgsl"
            ),
            |p| Params::read(p).kv_heads,
            1,
        ),
        lowering(
            "tiled",
            texts!(
                "attention_backward_key.wgsl",
                "fragments/attention_backward_key.tiled.wgsl",
                "fragments/attention_tile.wgsl",
                "fragments/attention_backward_tile.wgsl",
                "fragments/attention.scores.wgsl",
                "fragments/attention_backward.gradient.wgsl",
                "fragments/exponentials.wgsl"
            ),
            |p| Params::read(p).kv_heads,
            attention::TILE_ROWS,
        )
        .hardware_only(),
    ],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, dout, stats, tables, dither] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let scoring = attention::Params {
        head_dim: p.head_dim,
        score_mantissa: p.score_mantissa,
        score_shift: p.score_shift,
        ..Default::default()
    };
    let (key_stream, value_stream) = (dither::stream(dither, p.key_stream), dither::stream(dither, p.value_stream));
    let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    let (mut key_sums, mut value_sums) = (vec![0i64; head_dim], vec![0i64; head_dim]);
    for (token, out) in units.zip(writes[0].chunks_exact_mut(2 * kv_heads * (head_dim + INFO))) {
        for kv_head in 0..kv_heads {
            let (key, value) = (
                Head::new(k, head_dim, token * kv_heads + kv_head),
                Head::new(v, head_dim, token * kv_heads + kv_head),
            );
            let stats = |row: usize| Stats::new(&stats[row * STATS..][..STATS]);
            let head_rows = kv_head * p.group as usize..(kv_head + 1) * p.group as usize;
            let first = stats(token * heads).first;
            let end = first + p.context as usize;
            let rows = || (token..end).flat_map(|t| head_rows.clone().map(move |head| t * heads + head));
            let dout = |row: usize| Head::new(dout, head_dim, row);
            let query = |row: usize| Head::new(q, head_dim, row);
            let key_exponent = |row: usize| match (stats(row).exponent(dout(row).exponent), query(row).exponent) {
                (ZERO_EXPONENT, _) | (_, ZERO_EXPONENT) => ZERO_EXPONENT,
                (a, b) => a + b,
            };
            let key_top = rows().map(key_exponent).max().unwrap_or(ZERO_EXPONENT);
            let value_top = rows().map(|row| dout(row).exponent).max().unwrap_or(ZERO_EXPONENT);

            key_sums.fill(0);
            value_sums.fill(0);
            for head in head_rows.clone() {
                // Process the queries of the sequence in blocks of 32, starting with the block that contains this key's
                // token.
                for block in ((token - first) / BLOCK * BLOCK + first..end).step_by(BLOCK) {
                    let (mut keys, mut values) = ([0i64; BLOCK], [0i64; BLOCK]);
                    let queries = block.max(token)..(block + BLOCK).min(end);
                    for t in queries.clone() {
                        let row = t * heads + head;
                        let stats = stats(row);
                        let probability = stats.probability(tables, scoring.score(query(row), key).0);
                        let gradient = stats.gradient(probability, dout(row), value, head_dim);
                        keys[t - block] = align(gradient << 30, -(distance(key_top, key_exponent(row)) as i32));
                        values[t - block] = (i64::from(probability) << 31) >> distance(value_top, dout(row).exponent);
                    }
                    let shift = |folded: &[i64]| {
                        shift_for(folded.iter().map(|folded| folded.unsigned_abs()).max().unwrap_or(0), WIDE_BITS)
                    };
                    let (key_shift, value_shift) = (shift(&keys), shift(&values));
                    for t in queries.clone() {
                        let index = dither::index(dither, t) * p.heads + head as u32;
                        let column = (token - first) as u32;
                        keys[t - block] = round_dither(keys[t - block], key_shift, key_stream.at(index, column));
                        values[t - block] =
                            round_dither(values[t - block], value_shift, value_stream.at(index, column));
                    }
                    for c in 0..head_dim {
                        let sum = |weights: &[i64], of: &dyn Fn(usize) -> i64| -> i64 {
                            queries.clone().map(|t| weights[t - block] * of(t * heads + head)).sum()
                        };
                        // The sums are in units of 2^(key_top − 2) and 2^(value_top − 20).
                        key_sums[c] += align(sum(&keys, &|row| query(row).get(c)), key_shift as i32 - 28);
                        value_sums[c] += align(sum(&values, &|row| dout(row).get(c)), value_shift as i32 - 41);
                    }
                }
            }
            let (keys, values) = out.split_at_mut(kv_heads * (head_dim + INFO));
            let at = kv_head * (head_dim + INFO)..(kv_head + 1) * (head_dim + INFO);
            put_row(&mut keys[at.clone()], head_dim, &key_sums, inverse_root, key_top, -2);
            put_row(&mut values[at], head_dim, &value_sums, Scale::ONE, value_top, -20);
        }
    }
    false
}
