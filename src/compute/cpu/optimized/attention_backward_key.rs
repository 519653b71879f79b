//! Optimized implementation of the gradient of attention with respect to keys and values. It processes the queries in
//! blocks of 32, and decodes the queries of a sequence only once.

use super::{
    heads::{Source, magnitude, planes, runs},
    products::{LANES, tile},
};
use crate::{
    kernels::{
        INFO, Saturated,
        attention::STATS,
        attention_backward_key::Params,
        attention_backward_query::{RAISE, Stats, put_row},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            dither,
            scores::{Normalizer, exp2, score},
        },
    },
    numbers::{
        fixed::{Scale, WIDE_BITS, round_dither, round_even, shift_for},
        rng::Dither,
        tables::TABLE_LEN,
    },
};
use std::ops::Range;

/// The data of a block of 32 queries, for one attention head. Each array has one element for each query.
struct Queries {
    max: [i32; BLOCK],
    mantissa: [u32; BLOCK],
    normalizer_shift: [u32; BLOCK],
    top: [i32; BLOCK],
    mean: [i64; BLOCK],
    dp_shift: [u32; BLOCK],
    score_shift: [i32; BLOCK],
    key_exponent: [i32; BLOCK],
    dout_exponent: [i32; BLOCK],
    index: [u32; BLOCK],
}

/// The queries of one attention head, and the gradients of the head's outputs, for a span of tokens. Both are decoded,
/// and padded to whole blocks of 32 tokens.
struct QueryHead {
    queries: Vec<Queries>,
    query_features: Vec<i16>,
    dout_features: Vec<i16>,
    query_rows: Vec<i16>,
    dout_rows: Vec<i16>,
}

#[inline(always)]
pub(super) fn body(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, dout, stats, tables, dither] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let (context, group) = (p.context as usize, p.group as usize);
    let source = |words, heads| Source { words, heads, head_dim };
    let (q, k, v, dout) = (source(q, heads), source(k, kv_heads), source(v, kv_heads), source(dout, heads));
    let table = &tables[..TABLE_LEN];
    let mantissa = i64::from(p.score_mantissa);
    let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    let (key_stream, value_stream) = (dither::stream(dither, p.key_stream), dither::stream(dither, p.value_stream));
    let row_stats = |row: usize| Stats::new(&stats[row * STATS..][..STATS]);
    let stride = q.stride();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let (mut key_sums, mut value_sums) = (vec![0i64; stride], vec![0i64; stride]);
    let mut outs = writes[0].chunks_exact_mut(2 * kv_heads * (head_dim + INFO));

    for (first, run) in runs(units, |token| row_stats(token * heads).first) {
        let start = (run.start - first) / BLOCK * BLOCK + first;
        let span = start..first + context;
        let decode = |head: usize| {
            let exponents = q.exponents(span.clone(), head).into_iter().zip(dout.exponents(span.clone(), head));
            let exponents: Vec<_> = exponents.collect();
            let block = |(block, exponents): (usize, &[(i32, i32); BLOCK])| {
                let row = |i: usize| {
                    let token = start + block * BLOCK + i;
                    (token < span.end).then(|| row_stats(token * heads + head))
                };
                let rows: [Option<Stats>; BLOCK] = std::array::from_fn(row);
                Queries {
                    max: rows.map(|row| row.map_or(0, |row| row.max)),
                    mantissa: rows.map(|row| row.map_or(0, |row| row.normalizer.mantissa)),
                    normalizer_shift: rows.map(|row| row.map_or(0, |row| row.normalizer.shift)),
                    top: rows.map(|row| row.map_or(ZERO_EXPONENT, |row| row.top)),
                    mean: rows.map(|row| row.map_or(0, |row| row.mean.into())),
                    dp_shift: rows.map(|row| row.map_or(0, |row| row.shift)),
                    score_shift: exponents.map(|(query, _)| p.score_shift - query),
                    key_exponent: std::array::from_fn(|i| {
                        let (query, dout) = exponents[i];
                        match (rows[i].map_or(ZERO_EXPONENT, |row| row.exponent(dout)), query) {
                            (ZERO_EXPONENT, _) | (_, ZERO_EXPONENT) => ZERO_EXPONENT,
                            (a, b) => a + b,
                        }
                    }),
                    dout_exponent: exponents.map(|(_, dout)| dout),
                    index: std::array::from_fn(|i| {
                        dither::index(dither, start + block * BLOCK + i).wrapping_mul(p.heads).wrapping_add(head as u32)
                    }),
                }
            };
            QueryHead {
                queries: exponents.as_chunks::<BLOCK>().0.iter().enumerate().map(block).collect(),
                query_features: q.by_feature(span.clone(), head),
                dout_features: dout.by_feature(span.clone(), head),
                query_rows: q.by_token(span.clone(), head),
                dout_rows: dout.by_token(span.clone(), head),
            }
        };
        let decoded: Vec<QueryHead> = (0..heads).map(decode).collect();
        for token in run {
            let Some(out) = outs.next() else { break };
            let (from, column) = (token - start, (token - first) as u32);
            for (kv_head, group) in decoded.chunks(group).enumerate() {
                let k_exponent = k.weights(token, kv_head, &mut key);
                let v_exponent = v.weights(token, kv_head, &mut value);
                let top = |of: fn(&Queries) -> &[i32; BLOCK]| {
                    let blocks = group.iter().flat_map(|head| head.queries.iter().enumerate().skip(from / BLOCK));
                    let tops = blocks.map(|(at, queries)| {
                        let hidden = from.saturating_sub(at * BLOCK);
                        of(queries)[hidden..].iter().copied().max().unwrap_or(ZERO_EXPONENT)
                    });
                    tops.max().unwrap_or(ZERO_EXPONENT)
                };
                let (key_top, value_top) =
                    (top(|queries| &queries.key_exponent), top(|queries| &queries.dout_exponent));

                key_sums.fill(0);
                value_sums.fill(0);
                for head in group {
                    for (block, queries) in head.queries.iter().enumerate().skip(from / BLOCK) {
                        let features = block * BLOCK * head_dim;
                        let dots = both(&key, &head.query_features[features..], head_dim);
                        let dps = both(&value, &head.dout_features[features..], head_dim);
                        let (mut keys, mut values) = ([0i64; BLOCK], [0i64; BLOCK]);
                        let seen = from.saturating_sub(block * BLOCK)..BLOCK.min(span.len() - block * BLOCK);
                        for i in 0..BLOCK {
                            let (score, _) = score(dots[i] * mantissa, queries.score_shift[i] - k_exponent);
                            let normalizer =
                                Normalizer { mantissa: queries.mantissa[i], shift: queries.normalizer_shift[i] };
                            let below = queries.max[i].max(score).abs_diff(score);
                            let probability = normalizer.probability(exp2(table, below));
                            let seen = (i >= seen.start) & (i < seen.end);
                            let probability = if seen { i64::from(probability) } else { 0 };
                            let folded = (dps[i] << RAISE) >> distance(queries.top[i], v_exponent);
                            let dp = round_even(folded, queries.dp_shift[i]);
                            let gradient = round_even(probability * (dp - queries.mean[i]), 30);
                            keys[i] = (gradient << 30) >> distance(key_top, queries.key_exponent[i]);
                            values[i] = (probability << 31) >> distance(value_top, queries.dout_exponent[i]);
                        }
                        let (key_shift, keys) = weights(&keys, key_stream, &queries.index, column);
                        let (value_shift, values) = weights(&values, value_stream, &queries.index, column);
                        let rows = (block * BLOCK + seen.start) * stride;
                        // The sums are in units of 2^(key_top − 2) and 2^(value_top − 20).
                        add(&mut key_sums, &keys[seen.clone()], &head.query_rows[rows..], key_shift as i32 - 28);
                        add(&mut value_sums, &values[seen], &head.dout_rows[rows..], value_shift as i32 - 41);
                    }
                }
                let (keys, values) = out.split_at_mut(kv_heads * (head_dim + INFO));
                let at = kv_head * (head_dim + INFO)..(kv_head + 1) * (head_dim + INFO);
                put_row(&mut keys[at.clone()], head_dim, &key_sums[..head_dim], inverse_root, key_top, -2);
                put_row(&mut values[at], head_dim, &value_sums[..head_dim], Scale::ONE, value_top, -20);
            }
        }
    }
    false
}

/// Returns the inner products of one vector with each of the 32 rows of a block. `weights` is the vector, in which each
/// element `256 · high + low` is given as `[high, low]`. `features` holds the rows in two groups of [`LANES`] = 16
/// rows, each group transposed to `[head_dim, LANES]`.
#[inline(always)]
fn both(weights: &[[i32; 2]], features: &[i16], head_dim: usize) -> [i64; BLOCK] {
    let mut dots = [0; BLOCK];
    for (at, dots) in dots.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        *dots = tile(weights, &features[at * head_dim * LANES..], LANES);
    }
    dots
}

/// Converts the 32 values `folded` of a block to weights: divides each value by `2^shift`, and rounds the quotient
/// stochastically. `shift` is the smallest number for which all quotients are below 2^14 in magnitude. Value `i` is
/// rounded with the pseudo-random bits that the generator `stream` yields for row `rows[i]` and column `column` of a
/// matrix. Returns `shift` and the weights, each weight `256 · high + low` as `[high, low]`.
#[inline(always)]
fn weights(folded: &[i64; BLOCK], stream: Dither, rows: &[u32; BLOCK], column: u32) -> (u32, [[i32; 2]; BLOCK]) {
    let shift = shift_for(magnitude(folded), WIDE_BITS);
    let dithers = stream.rows(rows, column);
    let mut weights = [0; BLOCK];
    for i in 0..BLOCK {
        weights[i] = round_dither(folded[i], shift, dithers[i]);
    }
    (shift, planes(&weights))
}

/// Adds `2^shift · Σ_i weights[i] · rows[i]` to `sums`, element by element. Each weight `256 · high + low` is given as
/// `[high, low]`, and each row has as many elements as `sums`. If `shift` is negative, the added terms are rounded
/// towards −∞.
#[inline(always)]
fn add(sums: &mut [i64], weights: &[[i32; 2]], rows: &[i16], shift: i32) {
    let stride = sums.len();
    for (c, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let exact = tile(weights, &rows[c * LANES..], stride);
        sums.iter_mut().zip(exact).for_each(|(sum, exact)| *sum += align(exact, shift));
    }
}
