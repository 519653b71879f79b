//! The word programs of attention's gradients. The program [`BY_QUERY`] computes words of the gradient with respect to
//! queries. The program [`BY_KEY`] computes words of the gradient with respect to keys and values. The first steps of
//! both process a few query–key pairs each, and store the softmax probability of each pair. `BY_QUERY` also stores dP,
//! the gradient of the probability, and then computes the mean of dP in one step. `BY_KEY` also stores dS, the gradient
//! of the score. The last steps add the contributions of the pairs, in blocks of 32, to the row that contains the word.

use super::{
    RESULT, StepContext, WordFault, WordPlace, WordProgram,
    attention::{dot, normalizer, scored},
    bounded,
    step_context::part,
    vocabulary::exp2,
};
use crate::{
    kernels::{
        INFO,
        attention::{self, STATS},
        attention_backward_key as by_key,
        attention_backward_query::{self as by_query, RAISE, Stats, put_row},
        shared::blocks::{BLOCK, ZERO_EXPONENT, align, distance},
    },
    numbers::fixed::{ROW_BITS, Scale, WIDE_BITS, round_dither, round_even, shift_for},
};

pub(super) const BY_QUERY: WordProgram = WordProgram {
    kernel: &by_query::KERNEL,
    scratch: |p| {
        let p = by_query::Params::read(p);
        pairs_at(p.head_dim as usize) + QUERY_PAIR * p.tokens as usize
    },
    steps: |p, place| {
        let tokens = by_query::Params::read(p).tokens as usize;
        let summed = if place.binding == 7 { SUBSTEPS * tokens.div_ceil(BLOCK) } else { 0 };
        tokens.div_ceil(QUERY_KEYS) + 1 + summed
    },
    step: query_step,
};

pub(super) const BY_KEY: WordProgram = WordProgram {
    kernel: &by_key::KERNEL,
    scratch: |p| {
        let p = by_key::Params::read(p);
        pairs_at(p.head_dim as usize) + KEY_PAIR * p.group as usize * padded(p)
    },
    steps: |p, _| {
        let p = by_key::Params::read(p);
        2 * p.group as usize * padded(p) / SUMMED
    },
    step: key_step,
};

/// The number of keys for which one step of [`BY_QUERY`] computes the score of the query and the key.
const QUERY_KEYS: usize = 4;
/// The number of weighted rows that one step adds to the sums: a quarter of a block of 32.
const SUMMED: usize = 8;
const SUBSTEPS: usize = BLOCK / SUMMED;
/// The number of scratch words that [`BY_QUERY`] stores for a query–key pair: the softmax probability (one word); the
/// gradient of the probability, aligned to the largest exponent of the value rows (two words); and the exponent of the
/// key row (one word).
const QUERY_PAIR: usize = 4;
/// The number of scratch words that [`BY_KEY`] stores for a query–key pair: the softmax probability (one word); dS, the
/// gradient of the score (two words); the exponent of dS · q, where q is the query row (one word); the exponent of the
/// row of `dout`, the gradient of attention's output (one word); and three words of padding.
const KEY_PAIR: usize = 8;

/// Address of the scratch word that holds the largest exponent found so far. In [`BY_QUERY`], it is an exponent of a
/// key row. In [`BY_KEY`], it is an exponent of a product dS · q, where dS is the gradient of a score and q is a query
/// row.
const TOP: usize = RESULT;
/// Address of the scratch word in which [`BY_KEY`] holds the largest exponent of any row of `dout` (the gradient of
/// attention's output) that it has read so far.
const VALUE_TOP: usize = RESULT + 1;
const MAX: usize = RESULT + 2;
const MEAN: usize = RESULT + 4;
const SHIFT: usize = RESULT + 5;
const SUMS: usize = 16;

fn partial_at(head_dim: usize) -> usize {
    SUMS + 2 * head_dim
}

fn pairs_at(head_dim: usize) -> usize {
    SUMS + 4 * head_dim
}

/// Returns the number of tokens in a sequence, rounded up to a multiple of 32.
fn padded(p: &by_key::Params) -> usize {
    (p.context as usize).next_multiple_of(BLOCK)
}

/// A head row (the values of one token for one attention head): its integers, and the exponent that they share.
type HeadRow = (Vec<i64>, i32);

/// Returns the softmax statistics of one query and head, such as the largest score. They are row `row` of the buffer
/// with index `binding`. Fails if a value is out of range.
fn stats(ctx: &mut StepContext, binding: usize, row: usize) -> Result<Stats, WordFault> {
    let mut words = [0; STATS];
    for (at, word) in words.iter_mut().enumerate() {
        *word = ctx.word(binding, row * STATS + at)?;
    }
    ctx.exponent(binding, row * STATS + 4)?;
    normalizer([words[1], words[2]])?;
    let stats = Stats::new(&words);
    let fits = stats.max.unsigned_abs() <= 1 << 30 && stats.shift <= 34;
    if fits { Ok(stats) } else { Err(WordFault::Format("a row of softmax statistics")) }
}

/// Returns the softmax probability of a key, with 30 fraction bits. It is computed from the key's score and the
/// statistics of the query. `tables` is the index of the buffer with the exp2 table.
fn probability(ctx: &mut StepContext, tables: usize, stats: &Stats, score: i32) -> Result<u32, WordFault> {
    let exponential = exp2(ctx, tables, stats.max.max(score).abs_diff(score))?;
    Ok(stats.normalizer.probability(exponential))
}

/// Returns dP, the gradient of a softmax probability: the inner product of `dout` (a row of the gradient of attention's
/// output) and `value` (a value row). The product is shifted right by the difference between `top` and the exponent of
/// `value`, where `top` is the largest exponent of the value rows of all tokens to which the query attends. The unit of
/// the result is `2^(dout exponent + top − 25)`.
fn folded(stats: &Stats, dout: &HeadRow, value: &HeadRow) -> i64 {
    align(dot(&dout.0, &value.0) << RAISE, -(distance(stats.top, value.1) as i32))
}

/// Returns dS, the gradient of the score of a key: `probability · (dP − mean)`. The key's softmax `probability` has 30
/// fraction bits. dP is the gradient of this probability: `folded`, shifted right by `shift` bits. `mean` is the mean
/// of dP over the query's keys, weighted with their probabilities.
fn gradient(probability: u32, folded: i64, shift: u32, mean: i32) -> Result<i64, WordFault> {
    let difference = i128::from(round_even(folded, shift)) - i128::from(mean);
    Ok(round_even(bounded(i128::from(probability) * difference)?, 30))
}

/// Multiplies `rows` by their weights, and adds them to the partial sums of a block of 32 rows. After the last rows of
/// the block, adds the partial sums, shifted left by `shift`, to the stored sums.
fn add(
    ctx: &mut StepContext,
    rows: &[(i64, HeadRow)],
    head_dim: usize,
    substep: usize,
    shift: i32,
) -> Result<(), WordFault> {
    for c in 0..head_dim {
        let at = partial_at(head_dim) + 2 * c;
        let before = if substep == 0 { 0 } else { ctx.load_i64(at)? };
        let partial = before + rows.iter().map(|(weight, row)| weight * row.0[c]).sum::<i64>();
        ctx.store_i64(at, partial)?;
        if substep + 1 == SUBSTEPS {
            let sum = i128::from(ctx.load_i64(SUMS + 2 * c)?) + i128::from(align(partial, shift));
            ctx.store_i64(SUMS + 2 * c, bounded(sum)?)?;
        }
    }
    Ok(())
}

/// Sets the result to word `word` of the output row, which is computed from the stored sums. The sums are in units of
/// `factor · 2^(a + b)`.
fn put(ctx: &mut StepContext, head_dim: usize, word: usize, factor: Scale, a: i32, b: i32) -> Result<(), WordFault> {
    let sums = (0..head_dim).map(|c| ctx.load_i64(SUMS + 2 * c)).collect::<Result<Vec<_>, _>>()?;
    let mut row = vec![0; head_dim + INFO];
    put_row(&mut row, head_dim, &sums, factor, a + b, 0);
    ctx.set_result(row[word])
}

/// Returns the right shift that brings the values of a block within ±2^14, the range of the weights with which [`add`]
/// multiplies rows.
fn block_shift(values: &[i64]) -> u32 {
    shift_for(values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0), WIDE_BITS)
}

fn query_step(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = by_query::Params::read(ctx.params);
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let (pair, word) = ctx.unit(if ctx.binding() == 6 { STATS } else { head_dim + INFO });
    let (token, head) = (pair / heads, pair % heads);
    let scoring = p.attention();
    let mut stats = stats(ctx, 6, pair)?;
    if stats.first > token {
        return Err(WordFault::Format("an index"));
    }
    let keys = token + 1 - stats.first;
    let row = |i: usize| (stats.first + i) * kv_heads + scoring.kv_head(head);
    let at_pair = |i: usize| pairs_at(head_dim) + QUERY_PAIR * i;
    let scored_steps = (p.tokens as usize).div_ceil(QUERY_KEYS);
    if at < scored_steps {
        if at == 0 {
            ctx.store(TOP, i32::MIN as u32)?;
        }
        let (query, dout) = (ctx.head(0, head_dim, pair)?, ctx.head(3, head_dim, pair)?);
        for i in part(keys.max(at * QUERY_KEYS), QUERY_KEYS, at) {
            let (key, value) = (ctx.head(1, head_dim, row(i))?, ctx.head(2, head_dim, row(i))?);
            let probability = probability(ctx, 4, &stats, scored(&scoring, &query, &key)?.0)?;
            let folded = folded(&stats, &dout, &value);
            ctx.store(at_pair(i), probability)?;
            ctx.store_i64(at_pair(i) + 1, folded)?;
            ctx.store(at_pair(i) + 3, key.1 as u32)?;
            ctx.store_max(MAX, folded.unsigned_abs())?;
            let top = (ctx.load(TOP)? as i32).max(key.1);
            ctx.store(TOP, top as u32)?;
        }
        return Ok(());
    }
    if at == scored_steps {
        let shift = shift_for(ctx.load_i64(MAX)? as u64, ROW_BITS);
        let mut mean = 0i128;
        for i in 0..keys {
            let dp = round_even(ctx.load_i64(at_pair(i) + 1)?, shift);
            mean += i128::from(ctx.load(at_pair(i))?) * i128::from(dp);
        }
        let mean = round_even(bounded(mean)?, 30) as i32;
        ctx.store(MEAN, mean as u32)?;
        ctx.store(SHIFT, shift)?;
        return match (ctx.binding(), word) {
            (6, 5) => ctx.set_result(mean as u32),
            (6, 6) => ctx.set_result(shift),
            (6, _) => ctx.before().and_then(|word| ctx.set_result(word)),
            _ => Ok(()),
        };
    }
    let at = at - scored_steps - 1;
    let (block, substep) = (at / SUBSTEPS, at % SUBSTEPS);
    let block = part(keys.max(block * BLOCK), BLOCK, block);
    stats.mean = ctx.load(MEAN)? as i32;
    stats.shift = ctx.load(SHIFT)?.min(34);
    let top = ctx.load_exponent(TOP)?;
    let mut values = [0i64; BLOCK];
    for (value, i) in values.iter_mut().zip(block.clone()) {
        let ds = gradient(ctx.load(at_pair(i))?, ctx.load_i64(at_pair(i) + 1)?, stats.shift, stats.mean)?;
        let exponent = ctx.load_exponent(at_pair(i) + 3)?;
        *value = align(bounded(i128::from(ds) << 30)?, -(distance(top, exponent) as i32));
    }
    let shift = block_shift(&values);
    let mut rows = Vec::with_capacity(SUMMED);
    for i in part(block.len(), SUMMED, substep) {
        let (stream, index) = ctx.dither(5, p.stream, token)?;
        let index = index.wrapping_mul(p.heads).wrapping_add(head as u32);
        let weight = round_dither(values[i], shift, stream.at(index, (block.start + i) as u32));
        rows.push((weight, ctx.head(1, head_dim, row(block.start + i))?));
    }
    add(ctx, &rows, head_dim, substep, shift as i32 - 26)?;
    let dout = ctx.head(3, head_dim, pair)?;
    let factor = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    put(ctx, head_dim, word, factor, stats.exponent(dout.1), top - 4)
}

/// Finds the row that contains an output word. The rows are the gradients of keys and of values. Returns the token of
/// the row, whether the row is the gradient of a value (true) or of a key (false), the key/value head, and the index of
/// the word in the row.
fn key_place(p: &by_key::Params, place: WordPlace) -> (usize, bool, usize, usize) {
    let (kv_heads, stride) = (p.kv_heads as usize, p.head_dim as usize + INFO);
    let row = place.word as usize / stride;
    (row / (2 * kv_heads), row / kv_heads % 2 == 1, row % kv_heads, place.word as usize % stride)
}

fn key_step(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = by_key::Params::read(ctx.params);
    let (heads, kv_heads, head_dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let (token, of_value, kv_head, word) = key_place(p, ctx.place);
    let first = stats(ctx, 4, token * heads)?.first;
    if first > token || token - first >= p.context as usize {
        return Err(WordFault::Format("an index"));
    }
    let all = p.group as usize * padded(p);
    let summing = at >= all / SUMMED;
    let at = SUMMED * at % all;
    let (own, start) = (at / padded(p), at % padded(p));
    let head = kv_head * p.group as usize + own;
    let row = |i: usize| (first + i) * heads + head;
    let at_pair = |i: usize| pairs_at(head_dim) + KEY_PAIR * (own * padded(p) + i);
    let visible = |i: &usize| *i >= token - first && *i < p.context as usize;
    if !summing {
        if at == 0 {
            ctx.store(TOP, i32::MIN as u32)?;
            ctx.store(VALUE_TOP, i32::MIN as u32)?;
        }
        let pair = token * kv_heads + kv_head;
        let (key, value) = (ctx.head(1, head_dim, pair)?, ctx.head(2, head_dim, pair)?);
        for i in (start..start + SUMMED).filter(visible) {
            store_pair(ctx, p, row(i), at_pair(i), &key, &value)?;
        }
        return Ok(());
    }
    let (block, substep) = (start / BLOCK * BLOCK, start % BLOCK / SUMMED);
    let top = ctx.load_exponent(if of_value { VALUE_TOP } else { TOP })?;
    let mut values = [0i64; BLOCK];
    for (value, i) in values.iter_mut().zip(block..).filter(|(_, i)| visible(i)) {
        *value = if of_value {
            (i64::from(ctx.load(at_pair(i))?) << 31) >> distance(top, ctx.load_exponent(at_pair(i) + 4)?)
        } else {
            let raised = bounded(i128::from(ctx.load_i64(at_pair(i) + 1)?) << 30)?;
            align(raised, -(distance(top, ctx.load_exponent(at_pair(i) + 3)?) as i32))
        };
    }
    let shift = block_shift(&values);
    let mut rows = Vec::with_capacity(SUMMED);
    for i in (start..start + SUMMED).filter(visible) {
        let (stream, index) = ctx.dither(6, if of_value { p.value_stream } else { p.key_stream }, first + i)?;
        let index = index.wrapping_mul(p.heads).wrapping_add(head as u32);
        let weight = round_dither(values[i - block], shift, stream.at(index, (token - first) as u32));
        rows.push((weight, ctx.head(if of_value { 3 } else { 0 }, head_dim, row(i))?));
    }
    add(ctx, &rows, head_dim, substep, shift as i32 - if of_value { 41 } else { 28 })?;
    let inverse_root = Scale { mantissa: p.inverse_root, exponent: p.inverse_root_exponent };
    let (factor, b) = if of_value { (Scale::ONE, -20) } else { (inverse_root, -2) };
    put(ctx, head_dim, word, factor, top, b)
}

/// Computes and stores what the later steps need to know about a query and a `key`: the softmax probability, dS (the
/// gradient of the score), the exponent of dS · q (q is the query row), and the exponent of the row of `dout` (the
/// gradient of attention's output). Also raises the stored largest exponents of dS · q and of `dout`, if those of this
/// pair are larger.
fn store_pair(
    ctx: &mut StepContext,
    p: &by_key::Params,
    row: usize,
    at: usize,
    key: &HeadRow,
    value: &HeadRow,
) -> Result<(), WordFault> {
    let head_dim = p.head_dim as usize;
    let scoring = attention::Params {
        head_dim: p.head_dim,
        score_mantissa: p.score_mantissa,
        score_shift: p.score_shift,
        ..Default::default()
    };
    let (query, dout, stats) = (ctx.head(0, head_dim, row)?, ctx.head(3, head_dim, row)?, stats(ctx, 4, row)?);
    let probability = probability(ctx, 5, &stats, scored(&scoring, &query, key)?.0)?;
    let ds = gradient(probability, folded(&stats, &dout, value), stats.shift, stats.mean)?;
    let key_exponent = match (stats.exponent(dout.1), query.1) {
        (ZERO_EXPONENT, _) | (_, ZERO_EXPONENT) => ZERO_EXPONENT,
        (a, b) => a + b,
    };
    ctx.store(at, probability)?;
    ctx.store_i64(at + 1, ds)?;
    for (top, exponent, word) in [(TOP, key_exponent, at + 3), (VALUE_TOP, dout.1, at + 4)] {
        ctx.store(word, exponent as u32)?;
        let top_exponent = (ctx.load(top)? as i32).max(exponent);
        ctx.store(top, top_exponent as u32)?;
    }
    Ok(())
}
