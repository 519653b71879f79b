//! Optimized implementation of the attention kernel. The keys and values of a sequence are decoded only once, and each
//! exponential of the softmax is computed only once.

use super::{
    heads::{Source, magnitude, planes, runs},
    products::{LANES, tile},
};
use crate::{
    kernels::{
        INFO, Saturated,
        attention::{Params, STATS},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            rows,
            scores::{Normalizer, exp2, score},
        },
    },
    numbers::{
        fixed::{Scale, WIDE_BITS, round_even, shift_for},
        tables::TABLE_LEN,
    },
};
use std::ops::Range;

#[inline(always)]
pub(super) fn body(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, positions, tables] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let source = |words, heads| Source { words, heads, head_dim };
    let (q, k, v) = (source(q, heads), source(k, kv_heads), source(v, kv_heads));
    let table = &tables[..TABLE_LEN];
    let mantissa = i64::from(p.score_mantissa);
    let [out, stats] = writes else { unreachable!() };
    let mut outs = out.chunks_exact_mut(heads * head_dim + INFO).zip(stats.chunks_exact_mut(heads * STATS));

    let mut weights = Vec::new();
    let (mut scores, mut exponentials) = (Vec::new(), Vec::new());
    let mut sums = vec![0i64; v.stride()];
    let mut any = false;
    for (first, run) in runs(units, |token| token - positions[token] as usize) {
        let span = first..run.end;
        let of_heads = |source: Source<'_>, decode: &dyn Fn(Source<'_>, usize) -> Vec<i16>| -> Vec<Vec<i16>> {
            (0..kv_heads).map(|head| decode(source, head)).collect()
        };
        let keys = of_heads(k, &|source, head| source.by_feature(span.clone(), head));
        let values = of_heads(v, &|source, head| source.by_token(span.clone(), head));
        let exponents =
            |source: Source<'_>| -> Vec<_> { (0..kv_heads).map(|head| source.exponents(span.clone(), head)).collect() };
        let (key_exponents, value_exponents) = (exponents(k), exponents(v));
        for token in run {
            let Some((out, stats)) = outs.next() else { break };
            let (out, info) = rows::split(out, heads * head_dim);
            let visible = token + 1 - first;
            let blocks = visible.div_ceil(BLOCK);
            // |v| ≤ 2^14 · 2^top for every visible key and head, so `out`, in units of 2^(top − 16), fits in 31 bits.
            let tops = value_exponents.iter().flat_map(|exponents| &exponents[..visible]);
            let top = tops.copied().max().unwrap_or(ZERO_EXPONENT);
            let zero = top == ZERO_EXPONENT;
            rows::put_info(info, if zero { Scale::ZERO } else { Scale::power_of_two(top - 16) }, 0);
            for head in 0..heads {
                let kv = p.kv_head(head);
                let shift = p.score_shift - q.weights(token, head, &mut weights);
                scores.resize(blocks * BLOCK, 0);
                let (scores, _) = scores[..blocks * BLOCK].as_chunks_mut::<LANES>();
                let key_exponents = key_exponents[kv].as_chunks::<LANES>().0;
                for (at, (scores, exponents)) in scores.iter_mut().zip(key_exponents).enumerate() {
                    let dots = tile(&weights, &keys[kv][at * head_dim * LANES..], LANES);
                    for lane in 0..LANES {
                        let (value, clamped) = score(dots[lane] * mantissa, shift - exponents[lane]);
                        let seen = at * LANES + lane < visible;
                        // The exponential of an invisible key is 0.
                        scores[lane] = if seen { value } else { i32::MIN };
                        any |= clamped & seen;
                    }
                }
                let scores = scores.as_flattened();
                let max = scores.iter().copied().max().unwrap_or(0);
                exponentials.clear();
                exponentials.extend(scores.iter().map(|&score| exp2(table, max.abs_diff(score))));
                let normalizer = Normalizer::new(exponentials.iter().map(|&value| u64::from(value)).sum());
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
                let blocks = exponentials.as_chunks::<BLOCK>().0.iter().zip(value_exponents[kv].as_chunks::<BLOCK>().0);
                for (block, (exponentials, exponents)) in blocks.enumerate() {
                    let mut folded = [0; BLOCK];
                    for i in 0..BLOCK {
                        let probability = normalizer.probability(exponentials[i]);
                        folded[i] = (i64::from(probability) << 31) >> distance(top, exponents[i]);
                    }
                    let shift = shift_for(magnitude(&folded), WIDE_BITS);
                    folded.iter_mut().for_each(|folded| *folded = round_even(*folded, shift));
                    let weights = planes(&folded);
                    let rows = &values[kv][block * BLOCK * v.stride()..];
                    let count = BLOCK.min(visible - block * BLOCK);
                    for (c, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                        let exact = tile(&weights[..count], &rows[c * LANES..], v.stride());
                        // The sums are in units of 2^(top − 32).
                        sums.iter_mut().zip(exact).for_each(|(sum, exact)| *sum += align(exact, shift as i32 - 29));
                    }
                }
                for (out, &sum) in out[head * head_dim..][..head_dim].iter_mut().zip(&sums) {
                    *out = round_even(sum, 16) as i32;
                }
            }
        }
    }
    any
}
