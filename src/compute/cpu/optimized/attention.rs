//! Optimized implementation of the attention kernel. It multiplies a tile of 16 queries by 16 keys at a time, and keeps
//! the scores of these queries and all of their keys. The keys and values of a sequence are decoded only once, and each
//! exponential of the softmax is computed only once.

use super::{
    heads::{Source, TILE, Weights, add_weighted, largest_so_far, runs},
    scores::{Exponentials, scores},
};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
    kernels::{
        INFO, Saturated,
        attention::{Params, STATS},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, distance},
            rows,
            scores::Normalizer,
        },
    },
    numbers::fixed::{Scale, WIDE_BITS, round_even, round_even_small, shift_for},
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
    let [q, k, v, positions, tables] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let source = |words, heads| Source { words, heads, head_dim };
    let (q, k, v) = (source(q, heads), source(k, kv_heads), source(v, kv_heads));
    let (words, stride) = (q.row_words(), v.stride());
    let table = Exponentials::new(tables);
    let mantissa = i64::from(p.score_mantissa);
    let [out, stats] = writes else { unreachable!() };

    let (mut scores, mut sums) = (Vec::new(), vec![0i64; TILE * stride]);
    let mut dots = [[0; COLUMNS]; TILE];
    let mut any = false;
    let start = units.start;
    for (first, run) in runs(units, |token| token - positions[token] as usize) {
        let span = first..run.end;
        let keys: Vec<_> = (0..kv_heads).map(|head| k.token_columns(span.clone(), head)).collect();
        let values: Vec<_> = (0..kv_heads).map(|head| v.feature_columns(span.clone(), head)).collect();
        let key_exponents: Vec<_> = (0..kv_heads).map(|head| k.exponents(span.clone(), head)).collect();
        let value_exponents: Vec<_> = (0..kv_heads).map(|head| v.exponents(span.clone(), head)).collect();
        let largest = |key: usize| value_exponents.iter().map(|exponents| exponents[key]).max();
        let tops = largest_so_far((0..span.len()).map(|key| largest(key).unwrap_or(ZERO_EXPONENT)));
        for tokens in run.clone().step_by(TILE).map(|token| token..run.end.min(token + TILE)) {
            let seen: [usize; TILE] = std::array::from_fn(|i| (tokens.start + i).min(tokens.end - 1) + 1 - first);
            let blocks = (tokens.end - first).div_ceil(BLOCK);
            scores.resize(TILE * blocks * BLOCK, 0i32);
            for (i, token) in tokens.clone().enumerate() {
                // |v| ≤ 2^14 · 2^top for every visible key and head, so `out`, in units of 2^(top − 16), fits in 31
                // bits.
                let top = tops[seen[i] - 1];
                let width = heads * head_dim;
                let (_, info) = rows::split(&mut out[(token - start) * (width + INFO)..][..width + INFO], width);
                rows::put_info(info, if top == ZERO_EXPONENT { Scale::ZERO } else { Scale::power_of_two(top - 16) }, 0);
            }
            for head in 0..heads {
                let kv = p.kv_head(head);
                let queries = q.rows(tokens.clone(), head);
                let query_exponents = q.exponents(tokens.clone(), head);
                let (scores, _) = scores[..TILE * blocks * BLOCK].as_chunks_mut::<COLUMNS>();
                let panels = keys[kv].chunks_exact(words).zip(key_exponents[kv].as_chunks::<COLUMNS>().0);
                for (at, (panel, exponents)) in panels.take(2 * blocks).enumerate() {
                    // SAFETY: `compiled` calls this function only if the processor supports the instruction set of `T`.
                    unsafe { multiply::<T>(&queries, words, panel, &mut dots[..tokens.len()]) };
                    let top = exponents.iter().copied().max().unwrap_or(ZERO_EXPONENT);
                    for (i, dots) in dots[..tokens.len()].iter().enumerate() {
                        let (shift, seen) = (p.score_shift - query_exponents[i], seen[i] as i32);
                        let (found, clamped) = self::scores(dots, mantissa, shift, exponents, top);
                        let scores = &mut scores[i * 2 * blocks + at];
                        for lane in 0..COLUMNS {
                            let seen = ((at * COLUMNS + lane) as i32) < seen;
                            // The exponential of an invisible key is 0.
                            scores[lane] = if seen { found[lane] } else { i32::MIN };
                            any |= clamped[lane] & seen;
                        }
                    }
                }
                let scores = scores.as_flattened_mut();
                let mut normalizers = [Normalizer::new(1 << 30); TILE];
                for ((token, normalizer), scores) in
                    tokens.clone().zip(&mut normalizers).zip(scores.chunks_exact_mut(blocks * BLOCK))
                {
                    let max = scores.iter().copied().max().unwrap_or(0);
                    // The exponentials replace the scores.
                    for scores in scores.as_chunks_mut::<COLUMNS>().0 {
                        *scores =
                            table.at(scores.map(|score| max.abs_diff(score))).map(|exponential| exponential as i32);
                    }
                    *normalizer = Normalizer::new(scores.iter().map(|&exponential| exponential as u64).sum());
                    stats[((token - start) * heads + head) * STATS..][..STATS].copy_from_slice(&[
                        max as u32,
                        normalizer.mantissa,
                        normalizer.shift,
                        first as u32,
                        tops[token - first] as u32,
                        0,
                        0,
                        0,
                    ]);
                }

                sums.fill(0);
                let panels = values[kv].chunks_exact(BLOCK / 2 * stride / COLUMNS);
                let exponents = value_exponents[kv].as_chunks::<BLOCK>().0;
                for (block, (panels, exponents)) in panels.zip(exponents).take(blocks).enumerate() {
                    let (mut weights, mut shifts) = (Weights([[0; BLOCK]; TILE]), [0; TILE]);
                    for i in 0..tokens.len() {
                        let exponentials = &scores[(i * blocks + block) * BLOCK..][..BLOCK];
                        let top = tops[seen[i] - 1];
                        let (mut folded, mut bits) = ([0u64; BLOCK], 0);
                        for lane in 0..BLOCK {
                            let probability = normalizers[i].probability(exponentials[lane] as u32);
                            folded[lane] = (u64::from(probability) << 31) >> distance(top, exponents[lane]);
                            bits |= folded[lane];
                        }
                        let shift = shift_for(bits, WIDE_BITS);
                        for lane in 0..BLOCK {
                            weights.0[i][lane] = round_even_small(folded[lane], shift) as i16;
                        }
                        shifts[i] = shift as i32 - 29; // the sums are in units of 2^(top − 32)
                    }
                    // SAFETY: as above.
                    unsafe { add_weighted::<T>(&mut sums, &weights, &shifts, panels) };
                }
                for (token, sums) in tokens.clone().zip(sums.chunks_exact(stride)) {
                    let out = &mut out[(token - start) * (heads * head_dim + INFO) + head * head_dim..][..head_dim];
                    out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = round_even(sum, 16) as i32 as u32);
                }
            }
        }
    }
    any
}
