//! The word program of attention. A word program computes one output word of a kernel in steps; here the word belongs
//! to one query and one head. Each of the first steps computes the scores of a few keys. The next step computes the
//! normalizer of the softmax. The remaining steps add the value rows, weighted with their softmax probabilities, in
//! blocks of 32.

use super::{
    RESULT, StepContext, WordFault, WordPlace, WordProgram, bounded, single::info_word, step_context::part,
    vocabulary::exp2,
};
use crate::{
    kernels::{
        INFO,
        attention::{self, Params, STATS},
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            heads::head_words,
            scores::{Normalizer, score},
            wide::wide_words,
        },
    },
    numbers::fixed::{Scale, WIDE_BITS, round_even, round_even_u64, shift_for},
};

pub(super) const ATTENTION: WordProgram = WordProgram {
    kernel: &attention::KERNEL,
    scratch: |p| KEYS + 2 * Params::read(p).tokens as usize,
    steps: |p, place| {
        let p = Params::read(p);
        let tokens = p.tokens as usize;
        let weighted = if column(p, place).is_some() { 2 * tokens.div_ceil(BLOCK) } else { 0 };
        tokens.div_ceil(SCORED) + 1 + weighted
    },
    step,
};

/// The number of keys whose scores one step computes.
const SCORED: usize = 8;
/// The number of value rows that one step multiplies by their softmax probabilities and adds: half a block of 32.
const WEIGHTED: usize = BLOCK / 2;

const TOP: usize = RESULT;
const MAX: usize = RESULT + 1;
const NORMALIZER: usize = RESULT + 2;
const SUM: usize = RESULT + 4;
const PARTIAL: usize = RESULT + 6;
/// Address of the first scratch word that is used for the visible keys (those to which the query attends). Each key has
/// two words: its score, and the exponent of its value row.
const KEYS: usize = 16;

/// Returns the column of the output word in attention's output, within the row that contains the word. Returns `None`
/// if the word is in another buffer, or in a row info (the four words after a row that contain its scale).
fn column(p: &Params, place: WordPlace) -> Option<usize> {
    let width = (p.heads * p.head_dim) as usize;
    let column = place.word as usize % (width + INFO);
    (place.binding == 5 && column < width).then_some(column)
}

fn step(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = Params::read(ctx.params);
    let (heads, head_dim, tokens) = (p.heads as usize, p.head_dim as usize, p.tokens as usize);
    let (token, word) = ctx.unit(if ctx.binding() == 5 { heads * head_dim + INFO } else { heads * STATS });
    let head = match column(p, ctx.place) {
        Some(column) => column / head_dim,
        None if ctx.binding() == 5 => 0,
        None => word / STATS,
    };
    let position = ctx.index(3, token, token + 1)?;
    let keys = position + 1;
    let first = token - position;
    let scoring = tokens.div_ceil(SCORED);
    match at.checked_sub(scoring) {
        None => {
            if at == 0 {
                ctx.store(TOP, i32::MIN as u32)?;
            }
            let query = ctx.head(0, head_dim, token * heads + head)?;
            part(keys, SCORED, at).try_for_each(|i| store_key(ctx, p, head, &query, first, i))
        }
        Some(0) => normalize(ctx, keys, (first, word)),
        Some(at) => add_values(ctx, p, (first, keys), at - 1),
    }
}

/// Stores the score of a key and the exponent of the key's value row. `i` is the index of the key among those to which
/// the query attends. Scratch word [`TOP`] holds the largest exponent that any value row has had so far. If a value row
/// of the key's token, for any head, has a larger exponent, that exponent is stored in [`TOP`].
fn store_key(
    ctx: &mut StepContext,
    p: &Params,
    head: usize,
    query: &(Vec<i64>, i32),
    first: usize,
    i: usize,
) -> Result<(), WordFault> {
    let (kv_heads, head_dim) = (p.kv_heads as usize, p.head_dim as usize);
    let key = ctx.head(1, head_dim, (first + i) * kv_heads + p.kv_head(head))?;
    let (score, clamped) = scored(p, query, &key)?;
    ctx.saturate(clamped)?;
    let mut own = 0;
    for kv_head in 0..kv_heads {
        let row = ((first + i) * kv_heads + kv_head) * head_words(head_dim);
        let exponent = ctx.exponent(2, row + wide_words(head_dim))?;
        let top = (ctx.load(TOP)? as i32).max(exponent);
        ctx.store(TOP, top as u32)?;
        if kv_head == p.kv_head(head) {
            own = exponent;
        }
    }
    ctx.store(KEYS + 2 * i, score as u32)?;
    ctx.store(KEYS + 2 * i + 1, own as u32)
}

/// Returns the score of a query and a key, and whether the score was clamped to ±1024. Query and key are head rows:
/// each consists of integers and one exponent that they share.
pub(super) fn scored(p: &Params, query: &(Vec<i64>, i32), key: &(Vec<i64>, i32)) -> Result<(i32, bool), WordFault> {
    let product = bounded(i128::from(dot(&query.0, &key.0)) * i128::from(p.score_mantissa))?;
    Ok(score(product, p.score_shift - query.1 - key.1))
}

/// Returns the exact inner product of two rows of integers. The magnitudes of the integers must be at most 2^14.
pub(super) fn dot(a: &[i64], b: &[i64]) -> i64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Stores the largest score and the normalizer of the softmax. Some output words do not depend on the value rows: the
/// softmax statistics, and the row info (the four words after a row that contain its scale). If the output word is one
/// of these, also sets the result to its value.
fn normalize(ctx: &mut StepContext, keys: usize, (first, word): (usize, usize)) -> Result<(), WordFault> {
    let mut max = i32::MIN;
    for i in 0..keys {
        max = max.max(ctx.load(KEYS + 2 * i)? as i32);
    }
    let mut sum = 0u64;
    for i in 0..keys {
        let below = max.abs_diff(ctx.load(KEYS + 2 * i)? as i32);
        sum += u64::from(exp2(ctx, 4, below)?);
    }
    let Normalizer { mantissa, shift } = Normalizer::new(sum.max(1 << 30));
    ctx.store(MAX, max as u32)?;
    ctx.store(NORMALIZER, mantissa)?;
    ctx.store(NORMALIZER + 1, shift)?;
    let top = ctx.load_exponent(TOP)?;
    if ctx.binding() == 6 {
        return ctx.set_result([max as u32, mantissa, shift, first as u32, top as u32, 0, 0, 0][word % STATS]);
    }
    let p = Params::read(ctx.params);
    let scale = if top == ZERO_EXPONENT { Scale::ZERO } else { Scale::power_of_two(top - 16) };
    match word.checked_sub((p.heads * p.head_dim) as usize) {
        Some(word) => ctx.set_result(info_word(scale, 0, word)),
        None => Ok(()),
    }
}

/// Adds one column of the value rows of 16 keys (half a block), weighted with their softmax probabilities, to a partial
/// sum. The column is that of the output word. After the second half of the block, adds the partial sum to the stored
/// sum. Then, in either half, sets the result to the stored sum, rounded.
fn add_values(ctx: &mut StepContext, p: &Params, (first, keys): (usize, usize), at: usize) -> Result<(), WordFault> {
    let (kv_heads, head_dim) = (p.kv_heads as usize, p.head_dim as usize);
    let Some(column) = column(p, ctx.place) else { return Ok(()) };
    let (kv_head, column) = (p.kv_head(column / head_dim), column % head_dim);
    let (block, half) = (at / 2, at % 2);
    let block = part(keys.max(block * BLOCK), BLOCK, block);
    let normalizer = normalizer([ctx.load(NORMALIZER)?, ctx.load(NORMALIZER + 1)?])?;
    let (top, max) = (ctx.load_exponent(TOP)?, ctx.load(MAX)? as i32);
    let mut folded = [0u64; BLOCK];
    for (folded, i) in folded.iter_mut().zip(block.clone()) {
        let below = max.abs_diff(ctx.load(KEYS + 2 * i)? as i32);
        let probability = normalizer.probability(exp2(ctx, 4, below)?);
        let exponent = ctx.load_exponent(KEYS + 2 * i + 1)?;
        *folded = (u64::from(probability) << 31) >> distance(top, exponent);
    }
    let shift = shift_for(folded.iter().copied().max().unwrap_or(0), WIDE_BITS);
    let mut partial = if half == 0 { 0 } else { ctx.load_i64(PARTIAL)? };
    for i in part(block.len(), WEIGHTED, half) {
        let row = ((first + block.start + i) * kv_heads + kv_head) * head_words(head_dim);
        partial += round_even_u64(folded[i], shift) as i64 * ctx.wide(2, row, head_dim, column)?;
    }
    ctx.store_i64(PARTIAL, partial)?;
    if half == 1 {
        let sum = i128::from(ctx.load_i64(SUM)?) + i128::from(align(partial, shift as i32 - 29));
        ctx.store_i64(SUM, bounded(sum)?)?;
    }
    let sum = ctx.load_i64(SUM)?;
    ctx.set_result(round_even(sum, 16) as u32)
}

/// Returns the normalizer of a softmax, given its mantissa and its shift. Fails if either is out of range.
pub(super) fn normalizer([mantissa, shift]: [u32; 2]) -> Result<Normalizer, WordFault> {
    let fits = (1 << 30..1 << 31).contains(&mantissa) && (30..=62).contains(&shift);
    if fits { Ok(Normalizer { mantissa, shift }) } else { Err(WordFault::Format("a normalizer")) }
}
