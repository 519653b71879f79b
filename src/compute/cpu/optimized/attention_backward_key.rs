//! Optimized implementation of the gradient of attention with respect to keys and values. It multiplies a block of 32
//! queries by a tile of 32 keys at a time, and decodes the queries of a sequence only once.

use super::{
    heads::{Source, largest_so_far, runs},
    scores::{Exponentials, scores},
};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
    kernels::{
        INFO, Saturated,
        attention::STATS,
        attention_backward_key::Params,
        attention_backward_query::{RAISE, Stats, put_row},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            dither,
        },
    },
    numbers::{
        fixed::{Scale, WIDE_BITS, product, round_dither, round_even, shift_for},
        rng::Dither,
    },
};
use std::ops::Range;

/// The number of keys whose gradients are computed together.
const KEYS: usize = BLOCK;

/// The data of one query for one attention head, on which the gradients of the keys and values depend.
struct Query {
    stats: Stats,
    /// The score shift of the kernel's parameters, less the exponent of the query.
    score_shift: i32,
    /// The exponent of the query's terms in the gradients of keys.
    key_exponent: i32,
    /// The exponent of the gradient of the query's output.
    dout_exponent: i32,
    /// The row of the dither that rounds the query's weights.
    index: u32,
}

/// The queries of one attention head, and the gradients of the head's outputs, for a span of tokens. Both are decoded,
/// and padded to whole blocks of 32 tokens.
struct QueryHead {
    queries: Vec<Query>,
    query_rows: Vec<u32>,
    dout_rows: Vec<u32>,
    query_features: Vec<u32>,
    dout_features: Vec<u32>,
}

/// Values of the 32 keys of a tile, in groups of 16.
type Lanes<T> = [[T; COLUMNS]; KEYS / COLUMNS];

/// A tile of 32 keys and values of one key/value head. The tiles at the end of a sequence are padded.
struct KeyTile {
    /// The token of the first key.
    start: usize,
    /// The keys, as a panel for each group of 16.
    keys: Vec<[u32; COLUMNS]>,
    /// The values, as a panel for each group of 16.
    values: Vec<[u32; COLUMNS]>,
    key_exponents: Lanes<i32>,
    value_exponents: Lanes<i32>,
    /// The largest exponent of the terms of each key's gradient.
    key_tops: Lanes<i32>,
    /// The largest exponent of the terms of each value's gradient.
    value_tops: Lanes<i32>,
}

impl KeyTile {
    /// Returns the terms of a block of 32 queries in the gradients of the keys and in those of the values, before they
    /// are rounded. The term of a query that does not see a key is 0. `from` is the token of the head's first query.
    ///
    /// # Safety
    /// The processor must support the instruction set of `T`.
    #[inline(always)]
    unsafe fn terms<T: WideTile>(
        &self,
        p: &Params,
        table: &Exponentials,
        head: &QueryHead,
        from: usize,
        block: usize,
    ) -> ([Lanes<i64>; BLOCK], [Lanes<i64>; BLOCK]) {
        let words = p.head_dim.div_ceil(2) as usize;
        let rows = block * BLOCK * words;
        let queries = &head.queries[block * BLOCK..head.queries.len().min((block + 1) * BLOCK)];
        let mut terms = ([[[0; COLUMNS]; KEYS / COLUMNS]; BLOCK], [[[0; COLUMNS]; KEYS / COLUMNS]; BLOCK]);
        for part in 0..KEYS / COLUMNS {
            let (mut dots, mut dps) = ([[0; COLUMNS]; BLOCK], [[0; COLUMNS]; BLOCK]);
            let panel = part * words..(part + 1) * words;
            // SAFETY: the caller guarantees that the processor supports the instruction set of `T`.
            unsafe {
                multiply::<T>(&head.query_rows[rows..], words, &self.keys[panel.clone()], &mut dots);
                multiply::<T>(&head.dout_rows[rows..], words, &self.values[panel], &mut dps);
            }
            let (exponents, value_exponents) = (&self.key_exponents[part], &self.value_exponents[part]);
            let (key_tops, value_tops) = (&self.key_tops[part], &self.value_tops[part]);
            let top = exponents.iter().copied().max().unwrap_or(ZERO_EXPONENT);
            for (i, query) in queries.iter().enumerate() {
                let (stats, mean) = (&query.stats, query.stats.mean);
                // A query sees the keys up to its own.
                let seen = (from + block * BLOCK + i + 1 - self.start).saturating_sub(part * COLUMNS) as i32;
                let (scores, _) = scores(&dots[i], i64::from(p.score_mantissa), query.score_shift, exponents, top);
                let exponentials = table.at(scores.map(|score| stats.max.max(score).abs_diff(score)));
                for lane in 0..COLUMNS {
                    let probability = stats.normalizer.probability(exponentials[lane]) as i32;
                    let probability = if (lane as i32) < seen { probability } else { 0 };
                    let folded = (dps[i][lane] << RAISE) >> distance(stats.top, value_exponents[lane]);
                    let dp = round_even(folded, stats.shift);
                    let gradient = product(probability, dp as i32) - product(probability, mean);
                    terms.0[i][part][lane] =
                        (round_even(gradient, 30) << 30) >> distance(key_tops[lane], query.key_exponent);
                    terms.1[i][part][lane] =
                        (i64::from(probability) << 31) >> distance(value_tops[lane], query.dout_exponent);
                }
            }
        }
        terms
    }
}

/// Returns the first 32 values of a slice in groups of 16.
fn groups(values: &[i32]) -> Lanes<i32> {
    std::array::from_fn(|part| std::array::from_fn(|lane| values[part * COLUMNS + lane]))
}

#[inline(always)]
pub(super) fn body<T: WideTile>(
    params: &[u32],
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, dout, stats, tables, dither] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let (context, group) = (p.context as usize, p.group as usize);
    let source = |words, heads| Source { words, heads, head_dim };
    let (q, k, v, dout) = (source(q, heads), source(k, kv_heads), source(v, kv_heads), source(dout, heads));
    let table = Exponentials::new(tables);
    let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    let (key_stream, value_stream) = (dither::stream(dither, p.key_stream), dither::stream(dither, p.value_stream));
    let row_stats = |row: usize| Stats::new(&stats[row * STATS..][..STATS]);
    let (mut key_sums, mut value_sums) = (vec![[0i64; KEYS]; head_dim], vec![[0i64; KEYS]; head_dim]);
    let start = units.start;

    for (first, run) in runs(units, |token| row_stats(token * heads).first) {
        // The tiles of keys are also blocks of queries.
        let from = (run.start - first) / BLOCK * BLOCK + first;
        let span = from..first + context;
        let decode = |head: usize| {
            let exponents = q.exponents(span.clone(), head).into_iter().zip(dout.exponents(span.clone(), head));
            let query = |(token, (query, dout)): (usize, (i32, i32))| {
                let stats = row_stats(token * heads + head);
                Query {
                    stats,
                    score_shift: p.score_shift - query,
                    key_exponent: match (stats.exponent(dout), query) {
                        (ZERO_EXPONENT, _) | (_, ZERO_EXPONENT) => ZERO_EXPONENT,
                        (a, b) => a + b,
                    },
                    dout_exponent: dout,
                    index: dither::index(dither, token).wrapping_mul(p.heads).wrapping_add(head as u32),
                }
            };
            QueryHead {
                queries: span.clone().zip(exponents).map(query).collect(),
                query_rows: q.rows(span.clone(), head),
                dout_rows: dout.rows(span.clone(), head),
                query_features: q.feature_rows(span.clone(), head),
                dout_features: dout.feature_rows(span.clone(), head),
            }
        };
        let decoded: Vec<QueryHead> = (0..heads).map(decode).collect();
        for (kv_head, group) in decoded.chunks(group).enumerate() {
            // The largest exponents of the queries that see a key, for each key of the span.
            let tops = |exponent: fn(&Query) -> i32| {
                let largest = |at: usize| group.iter().map(|head| exponent(&head.queries[at])).max();
                let mut tops = largest_so_far((0..span.len()).rev().map(|at| largest(at).unwrap_or(ZERO_EXPONENT)));
                tops.reverse();
                tops.resize(span.len().next_multiple_of(KEYS), ZERO_EXPONENT);
                tops
            };
            let (key_tops, value_tops) = (tops(|query| query.key_exponent), tops(|query| query.dout_exponent));
            for tile in (from..run.end).step_by(KEYS) {
                let tokens = tile..span.end.min(tile + KEYS);
                let keys = KeyTile {
                    start: tile,
                    keys: k.token_columns(tokens.clone(), kv_head),
                    values: v.token_columns(tokens.clone(), kv_head),
                    key_exponents: groups(&k.exponents(tokens.clone(), kv_head)),
                    value_exponents: groups(&v.exponents(tokens.clone(), kv_head)),
                    key_tops: groups(&key_tops[tile - from..]),
                    value_tops: groups(&value_tops[tile - from..]),
                };
                key_sums.fill([0; KEYS]);
                value_sums.fill([0; KEYS]);
                for head in group {
                    for block in (tile - from) / BLOCK..span.len().div_ceil(BLOCK) {
                        let queries = &head.queries[block * BLOCK..span.len().min((block + 1) * BLOCK)];
                        let column = (tile - first) as u32;
                        let features = block * BLOCK / 2 * head_dim..;
                        // The sums are in units of 2^(key_top − 2) and 2^(value_top − 20).
                        // SAFETY: `compiled` calls this function only if the processor supports the instruction set of
                        // `T`.
                        unsafe {
                            let (key_terms, value_terms) = keys.terms::<T>(p, &table, head, from, block);
                            let (weights, shifts) = rounded(&key_terms, key_stream, queries, column);
                            let shifts = shifts.map(|shift| shift as i32 - 28);
                            add::<T>(&mut key_sums, &head.query_features[features.clone()], &weights, &shifts);
                            let (weights, shifts) = rounded(&value_terms, value_stream, queries, column);
                            let shifts = shifts.map(|shift| shift as i32 - 41);
                            add::<T>(&mut value_sums, &head.dout_features[features], &weights, &shifts);
                        }
                    }
                }
                for token in tokens.start.max(run.start)..tokens.end.min(run.end) {
                    let out = &mut writes[0][(token - start) * 2 * kv_heads * (head_dim + INFO)..];
                    let (keys, values) = out.split_at_mut(kv_heads * (head_dim + INFO));
                    let at = kv_head * (head_dim + INFO)..(kv_head + 1) * (head_dim + INFO);
                    let column =
                        |sums: &[[i64; KEYS]]| -> Vec<i64> { sums.iter().map(|sums| sums[token - tile]).collect() };
                    let (key_top, value_top) = (key_tops[token - from], value_tops[token - from]);
                    put_row(&mut keys[at.clone()], head_dim, &column(&key_sums), inverse_root, key_top, -2);
                    put_row(&mut values[at], head_dim, &column(&value_sums), Scale::ONE, value_top, -20);
                }
            }
        }
    }
    false
}

/// The weights of a block of queries and a tile of keys, as a panel for each group of 16 keys: each word contains the
/// weights of two neighboring queries for one key.
type Weights = [[[u32; COLUMNS]; BLOCK / 2]; KEYS / COLUMNS];

/// Converts the terms of a block of queries and a tile of keys to weights. For each key, all terms are divided by
/// `2^shift` and rounded stochastically, where `shift` is the smallest number for which all quotients are below 2^14 in
/// magnitude. The term of a query and a key is rounded with the pseudo-random bits of the generator `stream` for the
/// row `index` of the query; the column of the first key is `column`. Returns the weights and the shifts.
#[inline(always)]
fn rounded(terms: &[Lanes<i64>; BLOCK], stream: Dither, queries: &[Query], column: u32) -> (Weights, [u32; KEYS]) {
    let mut magnitudes = [0u64; KEYS];
    for terms in terms {
        for (magnitude, term) in magnitudes.iter_mut().zip(terms.as_flattened()) {
            *magnitude |= term.unsigned_abs();
        }
    }
    let shifts = magnitudes.map(|magnitude| shift_for(magnitude, WIDE_BITS));
    let large = shifts.iter().all(|&shift| shift >= 16);
    let mut weights = [[[0; COLUMNS]; BLOCK / 2]; KEYS / COLUMNS];
    for (i, (terms, query)) in terms.iter().zip(queries).enumerate() {
        let (dithers, terms) = (stream.columns(query.index, column), terms.as_flattened());
        let mut rounded = [0; KEYS];
        if large {
            // This is `round_dither` for shifts of at least 16.
            for lane in 0..KEYS {
                let dither = u64::from(dithers[lane]) << (shifts[lane] - 16);
                rounded[lane] = ((terms[lane] + dither as i64) >> shifts[lane]) as i32;
            }
        } else {
            for lane in 0..KEYS {
                rounded[lane] = round_dither(terms[lane], shifts[lane], dithers[lane]) as i32;
            }
        }
        for (weights, rounded) in weights.iter_mut().zip(rounded.as_chunks::<COLUMNS>().0) {
            for (word, &weight) in weights[i / 2].iter_mut().zip(rounded) {
                *word |= if i % 2 == 0 { weight as u32 & 0xffff } else { (weight as u32) << 16 };
            }
        }
    }
    (weights, shifts)
}

/// Adds the weighted sums of a block's rows to `sums`: for feature `c` and key `k`, `2^shifts[k] · Σ_i weights[i, k] ·
/// rows[c, i]`. Terms with a negative shift are rounded towards −∞. `rows` contains a row of 16 words for each feature,
/// as [`Source::feature_rows`] returns them.
///
/// # Safety
/// The processor must support the instruction set of `T`.
#[inline(always)]
unsafe fn add<T: WideTile>(sums: &mut [[i64; KEYS]], rows: &[u32], weights: &Weights, shifts: &[i32; KEYS]) {
    /// The number of features whose products are computed together.
    const FEATURES: usize = 16;
    let mut dots = [[0; COLUMNS]; FEATURES];
    let left = shifts.iter().all(|&shift| shift >= 0);
    for (sums, rows) in sums.chunks_mut(FEATURES).zip(rows.chunks(FEATURES * BLOCK / 2)) {
        for (part, (panel, shifts)) in weights.iter().zip(shifts.as_chunks::<COLUMNS>().0).enumerate() {
            let dots = &mut dots[..sums.len()];
            // SAFETY: the caller guarantees that the processor supports the instruction set of `T`.
            unsafe { multiply::<T>(rows, BLOCK / 2, panel, dots) };
            for (sums, dots) in sums.iter_mut().zip(dots) {
                let Some(sums) = sums[part * COLUMNS..].first_chunk_mut::<COLUMNS>() else { break };
                if left {
                    for lane in 0..COLUMNS {
                        sums[lane] += dots[lane] << (shifts[lane] & 63);
                    }
                } else {
                    for lane in 0..COLUMNS {
                        sums[lane] += align(dots[lane], shifts[lane]);
                    }
                }
            }
        }
    }
}
