//! Optimized implementation of the gradient of attention with respect to queries. It multiplies a tile of 16 queries by
//! 16 keys at a time. For these queries and all of their keys, it keeps the attention probabilities and the gradients of
//! the probabilities. The keys and values of a sequence are decoded only once.

use super::{
    heads::{Source, TILE, Weights, add_weighted, largest_so_far, magnitude, runs},
    scores::{Exponentials, scores},
};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
    kernels::{
        INFO, Saturated,
        attention::STATS,
        attention_backward_query::{Params, RAISE, Stats, put_row},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, distance},
            dither,
        },
    },
    numbers::fixed::{ROW_BITS, Scale, WIDE_BITS, product, round_dither, round_even, shift_for},
};
use std::ops::Range;

#[inline(always)]
pub(super) fn body<T: WideTile>(
    params: &[u32],
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, dout, tables, dither] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let source = |words, heads| Source { words, heads, head_dim };
    let (q, k, v, dout) = (source(q, heads), source(k, kv_heads), source(v, kv_heads), source(dout, heads));
    let (words, stride) = (q.row_words(), k.stride());
    let table = Exponentials::new(tables);
    let (scoring, mantissa) = (p.attention(), i64::from(p.score_mantissa));
    let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    let stream = dither::stream(dither, p.stream);
    let [stats, dq] = writes else { unreachable!() };
    let start = units.start;
    let first = |token: usize| Stats::new(&stats[(token - start) * heads * STATS..][..STATS]).first;
    let runs = runs(units, first);

    let (mut probabilities, mut gradients) = (Vec::new(), Vec::new());
    let mut sums = vec![0i64; TILE * stride];
    let (mut dots, mut dps) = ([[0; COLUMNS]; TILE], [[0; COLUMNS]; TILE]);
    for (first, run) in runs {
        let span = first..run.end;
        let keys: Vec<_> = (0..kv_heads).map(|head| k.token_columns(span.clone(), head)).collect();
        let values: Vec<_> = (0..kv_heads).map(|head| v.token_columns(span.clone(), head)).collect();
        let key_features: Vec<_> = (0..kv_heads).map(|head| k.feature_columns(span.clone(), head)).collect();
        let key_exponents: Vec<_> = (0..kv_heads).map(|head| k.exponents(span.clone(), head)).collect();
        let value_exponents: Vec<_> = (0..kv_heads).map(|head| v.exponents(span.clone(), head)).collect();
        let tops: Vec<_> = key_exponents.iter().map(|exponents| largest_so_far(exponents.iter().copied())).collect();
        for tokens in run.clone().step_by(TILE).map(|token| token..run.end.min(token + TILE)) {
            let seen: [usize; TILE] = std::array::from_fn(|i| (tokens.start + i).min(tokens.end - 1) + 1 - first);
            let blocks = (tokens.end - first).div_ceil(BLOCK);
            probabilities.resize(TILE * blocks * BLOCK, 0i32);
            gradients.resize(TILE * blocks * BLOCK, 0i64);
            for head in 0..heads {
                let kv = scoring.kv_head(head);
                let (queries, douts) = (q.rows(tokens.clone(), head), dout.rows(tokens.clone(), head));
                let query_exponents = q.exponents(tokens.clone(), head);
                let dout_exponents = dout.exponents(tokens.clone(), head);
                let row = |token: usize| ((token - start) * heads + head) * STATS;
                let mut rows: [Stats; TILE] = seen.map(|seen| Stats::new(&stats[row(first + seen - 1)..][..STATS]));
                let (probabilities, _) = probabilities[..TILE * blocks * BLOCK].as_chunks_mut::<COLUMNS>();
                let (gradients, _) = gradients[..TILE * blocks * BLOCK].as_chunks_mut::<COLUMNS>();
                for at in 0..2 * blocks {
                    let panel = at * words..(at + 1) * words;
                    // SAFETY: `compiled` calls this function only if the processor supports the instruction set of `T`.
                    unsafe {
                        multiply::<T>(&queries, words, &keys[kv][panel.clone()], &mut dots[..tokens.len()]);
                        multiply::<T>(&douts, words, &values[kv][panel], &mut dps[..tokens.len()]);
                    }
                    let key_exponents = &key_exponents[kv].as_chunks::<COLUMNS>().0[at];
                    let value_exponents = &value_exponents[kv].as_chunks::<COLUMNS>().0[at];
                    let key_top = key_exponents.iter().copied().max().unwrap_or(ZERO_EXPONENT);
                    for (i, (dots, dps)) in dots[..tokens.len()].iter().zip(&dps).enumerate() {
                        let (stats, shift, seen) = (rows[i], p.score_shift - query_exponents[i], seen[i] as i32);
                        let probabilities = &mut probabilities[i * 2 * blocks + at];
                        let gradients = &mut gradients[i * 2 * blocks + at];
                        let (scores, _) = scores(dots, mantissa, shift, key_exponents, key_top);
                        let exponentials = table.at(scores.map(|score| stats.max.max(score).abs_diff(score)));
                        for lane in 0..COLUMNS {
                            let seen = ((at * COLUMNS + lane) as i32) < seen;
                            let probability = stats.normalizer.probability(exponentials[lane]);
                            probabilities[lane] = if seen { probability as i32 } else { 0 };
                            let folded = (dps[lane] << RAISE) >> distance(stats.top, value_exponents[lane]);
                            gradients[lane] = if seen { folded } else { 0 };
                        }
                    }
                }
                let probabilities = probabilities.as_flattened();
                let gradients = gradients.as_flattened_mut();
                for (((token, stats_row), probabilities), gradients) in tokens
                    .clone()
                    .zip(&mut rows)
                    .zip(probabilities.chunks_exact(blocks * BLOCK))
                    .zip(gradients.chunks_exact_mut(blocks * BLOCK))
                {
                    let shift = shift_for(magnitude(gradients), ROW_BITS);
                    gradients.iter_mut().for_each(|gradient| *gradient = round_even(*gradient, shift));
                    let products = gradients.iter().zip(probabilities).map(|(&dp, &p)| product(p, dp as i32));
                    stats_row.shift = shift;
                    stats_row.mean = round_even(products.sum(), 30) as i32;
                    let words = &mut stats[row(token)..][..STATS];
                    words[5] = stats_row.mean as u32;
                    words[6] = shift;
                }

                sums.fill(0);
                let panels = key_features[kv].chunks_exact(BLOCK / 2 * stride / COLUMNS);
                let exponents = key_exponents[kv].as_chunks::<BLOCK>().0;
                for (block, (panels, exponents)) in panels.zip(exponents).take(blocks).enumerate() {
                    let (mut weights, mut shifts) = (Weights([[0; BLOCK]; TILE]), [0; TILE]);
                    for (i, token) in tokens.clone().enumerate() {
                        let at = (i * blocks + block) * BLOCK;
                        let (probabilities, gradients) = (&probabilities[at..][..BLOCK], &gradients[at..][..BLOCK]);
                        let (top, mean) = (tops[kv][seen[i] - 1], rows[i].mean);
                        let mut folded = [0; BLOCK];
                        for lane in 0..BLOCK {
                            let gradient = product(probabilities[lane], gradients[lane] as i32)
                                - product(probabilities[lane], mean);
                            folded[lane] = (round_even(gradient, 30) << 30) >> distance(top, exponents[lane]);
                        }
                        let shift = shift_for(magnitude(&folded), WIDE_BITS);
                        let index = dither::index(dither, token) * p.heads + head as u32;
                        let dithers = stream.columns(index, (block * BLOCK) as u32);
                        for lane in 0..BLOCK {
                            weights.0[i][lane] = round_dither(folded[lane], shift, dithers[lane]) as i16;
                        }
                        shifts[i] = shift as i32 - 26; // the sums are in units of 2^(dS exponent + top − 4)
                    }
                    // SAFETY: as above.
                    unsafe { add_weighted::<T>(&mut sums, &weights, &shifts, panels) };
                }
                for (i, (token, sums)) in tokens.clone().zip(sums.chunks_exact(stride)).enumerate() {
                    let top = tops[kv][seen[i] - 1];
                    let dq = &mut dq[((token - start) * heads + head) * (head_dim + INFO)..][..head_dim + INFO];
                    let exponent = rows[i].exponent(dout_exponents[i]);
                    put_row(dq, head_dim, &sums[..head_dim], inverse_root, exponent, top - 4);
                }
            }
        }
    }
    false
}
