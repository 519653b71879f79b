//! Optimized implementation of the gradient of attention with respect to queries. The keys and values of a sequence are
//! decoded only once. Each element of `dP`, the gradient with respect to the attention probabilities, is computed only
//! once.

use super::{
    heads::{Source, magnitude, planes, runs},
    products::{LANES, tile},
};
use crate::{
    kernels::{
        INFO, Saturated,
        attention::STATS,
        attention_backward_query::{Params, RAISE, Stats, put_row},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            dither,
            scores::score,
        },
    },
    numbers::{
        fixed::{ROW_BITS, Scale, WIDE_BITS, round_dither, round_even, shift_for},
        tables::TABLE_LEN,
    },
};
use std::ops::Range;

#[inline(always)]
pub(super) fn body(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [q, k, v, dout, tables, dither] = reads else { unreachable!() };
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let source = |words, heads| Source { words, heads, head_dim };
    let (q, k, v, dout) = (source(q, heads), source(k, kv_heads), source(v, kv_heads), source(dout, heads));
    let table = &tables[..TABLE_LEN];
    let (scoring, mantissa) = (p.attention(), i64::from(p.score_mantissa));
    let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    let stream = dither::stream(dither, p.stream);
    let [stats, dq] = writes else { unreachable!() };
    let start = units.start;
    let first = |token: usize| Stats::new(&stats[(token - start) * heads * STATS..][..STATS]).first;
    let runs = runs(units, first);
    let mut outs = stats.chunks_exact_mut(STATS).zip(dq.chunks_exact_mut(head_dim + INFO));

    let (mut query, mut gradient) = (Vec::new(), Vec::new());
    let (mut probabilities, mut gradients) = (Vec::new(), Vec::new());
    let mut sums = vec![0i64; k.stride()];
    for (first, run) in runs {
        let span = first..run.end;
        let keys: Vec<_> = (0..kv_heads).map(|head| k.by_token(span.clone(), head)).collect();
        let key_features: Vec<_> = (0..kv_heads).map(|head| k.by_feature(span.clone(), head)).collect();
        let value_features: Vec<_> = (0..kv_heads).map(|head| v.by_feature(span.clone(), head)).collect();
        let key_exponents: Vec<_> = (0..kv_heads).map(|head| k.exponents(span.clone(), head)).collect();
        let value_exponents: Vec<_> = (0..kv_heads).map(|head| v.exponents(span.clone(), head)).collect();
        for (token, head) in run.flat_map(|token| (0..heads).map(move |head| (token, head))) {
            let Some((words, dq)) = outs.next() else { break };
            let mut stats = Stats::new(words);
            let kv = scoring.kv_head(head);
            let visible = token + 1 - first;
            let padded = visible.next_multiple_of(BLOCK);
            let shift = p.score_shift - q.weights(token, head, &mut query);
            let dout_exponent = dout.weights(token, head, &mut gradient);
            let (key_exponents, value_exponents) = (&key_exponents[kv][..padded], &value_exponents[kv][..padded]);

            probabilities.resize(padded, 0);
            gradients.resize(padded, 0i64);
            let (probabilities, gradients) = (&mut probabilities[..padded], &mut gradients[..padded]);
            for at in (0..padded).step_by(LANES) {
                let features = at * head_dim..;
                let scores = tile(&query, &key_features[kv][features.clone()], LANES);
                let dps = tile(&gradient, &value_features[kv][features], LANES);
                let (Some(probabilities), Some(gradients), Some(key_exponents), Some(value_exponents)) = (
                    probabilities[at..].first_chunk_mut::<LANES>(),
                    gradients[at..].first_chunk_mut::<LANES>(),
                    key_exponents[at..].first_chunk::<LANES>(),
                    value_exponents[at..].first_chunk::<LANES>(),
                ) else {
                    break;
                };
                for lane in 0..LANES {
                    let seen = at + lane < visible;
                    let (score, _) = score(scores[lane] * mantissa, shift - key_exponents[lane]);
                    let probability = stats.probability(table, score);
                    probabilities[lane] = if seen { probability } else { 0 };
                    let folded = (dps[lane] << RAISE) >> distance(stats.top, value_exponents[lane]);
                    gradients[lane] = if seen { folded } else { 0 };
                }
            }
            stats.shift = shift_for(magnitude(gradients), ROW_BITS);
            gradients.iter_mut().for_each(|gradient| *gradient = round_even(*gradient, stats.shift));
            let products = gradients.iter().zip(&*probabilities).map(|(&dp, &p)| i64::from(p) * dp);
            stats.mean = round_even(products.sum(), 30) as i32;
            words[5] = stats.mean as u32;
            words[6] = stats.shift;

            let top = key_exponents[..visible].iter().copied().max().unwrap_or(ZERO_EXPONENT);
            let index = dither::index(dither, token) * p.heads + head as u32;
            sums.fill(0);
            let blocks = probabilities.as_chunks::<BLOCK>().0.iter().zip(gradients.as_chunks::<BLOCK>().0);
            for (block, ((probabilities, gradients), exponents)) in
                blocks.zip(key_exponents.as_chunks::<BLOCK>().0).enumerate()
            {
                let mut folded = [0; BLOCK];
                for i in 0..BLOCK {
                    let gradient = i64::from(probabilities[i]) * (gradients[i] - i64::from(stats.mean));
                    folded[i] = (round_even(gradient, 30) << 30) >> distance(top, exponents[i]);
                }
                let shift = shift_for(magnitude(&folded), WIDE_BITS);
                let dithers = stream.columns(index, (block * BLOCK) as u32);
                for i in 0..BLOCK {
                    folded[i] = round_dither(folded[i], shift, dithers[i]);
                }
                let weights = planes(&folded);
                let rows = &keys[kv][block * BLOCK * k.stride()..];
                let count = BLOCK.min(visible - block * BLOCK);
                for (c, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let exact = tile(&weights[..count], &rows[c * LANES..], k.stride());
                    // The sums are in units of 2^(dS exponent + top − 4).
                    sums.iter_mut().zip(exact).for_each(|(sum, exact)| *sum += align(exact, shift as i32 - 26));
                }
            }
            put_row(dq, head_dim, &sums[..head_dim], inverse_root, stats.exponent(dout_exponent), top - 4);
        }
    }
    false
}
