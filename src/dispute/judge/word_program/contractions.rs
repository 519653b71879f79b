//! The word programs of matrix products: `lora_down`, `ternary_matmul`, their backward kernels, and `head_logits`. A
//! word program computes one output word of a kernel in steps; here each step adds as many terms of an inner product as
//! a proof has room for. The sums are exact integers, so a sum may be divided among the steps at any term.

use super::{RESULT, StepContext, WordFault, WordPlace, WordProgram, bounded, single::info_word, step_context::part};
use crate::{
    kernels::{
        INFO, head_logits, lora_down, lora_down_backward,
        shared::{
            scores::score,
            wide::{wide_words, write_even},
        },
        ternary_matmul, ternary_matmul_backward,
    },
    numbers::{
        fixed::{Scale, round_even, round_even_u64},
        ternary::row_words,
    },
};

pub(super) const LORA_DOWN: WordProgram = WordProgram {
    kernel: &lora_down::KERNEL,
    scratch: |p| RESULT + 2 * lora_down::Params::read(p).rank as usize,
    steps: |p, _| {
        let p = lora_down::Params::read(p);
        p.rank as usize * (p.in_features as usize).div_ceil(TERMS) + 1
    },
    step: |ctx, at| down(ctx, at, false),
};

/// The word program of the kernel `lora_down_backward`. It differs from that of `lora_down` only in the rows that it
/// reads: the gradients of a layer's output, with 16 bits per element, instead of the layer's input, with 8 bits.
pub(super) const LORA_DOWN_BACKWARD: WordProgram =
    WordProgram { kernel: &lora_down_backward::KERNEL, step: |ctx, at| down(ctx, at, true), ..LORA_DOWN };

pub(super) const TERNARY: WordProgram = WordProgram {
    kernel: &ternary_matmul::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, place| {
        let p = ternary_matmul::Params::read(p);
        match place.word as usize % (p.out_features as usize + INFO) < p.out_features as usize {
            true => (p.in_features as usize).div_ceil(TERMS),
            false => 1,
        }
    },
    step: ternary,
};

pub(super) const TERNARY_BACKWARD: WordProgram = WordProgram {
    kernel: &ternary_matmul_backward::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, place| {
        let p = ternary_matmul_backward::Params::read(p);
        if column(p, place).is_some() { (p.out_features as usize).div_ceil(BLOCK_TERMS) } else { 1 }
    },
    step: ternary_backward,
};

pub(super) const HEAD_LOGITS: WordProgram = WordProgram {
    kernel: &head_logits::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| (head_logits::Params::read(p).width as usize).div_ceil(TERMS),
    step: head_logits,
};

/// The number of terms of an inner product that one step adds, if the elements of each vector lie in consecutive words.
const TERMS: usize = 4096;
/// The number of terms of an inner product that one step of `ternary_matmul_backward` adds. It is small because every
/// four weights may lie in a different tile (256 words), and the proof must contain each of these tiles.
const BLOCK_TERMS: usize = 64;

const SUM: usize = RESULT;
const SCRATCH_WORDS: usize = RESULT + 2;

/// Adds `sum` to the partial sum in scratch words `at` and `at + 1`, and returns the new partial sum. Fails if the
/// magnitude of the new sum is 2^62 or more.
fn add(ctx: &mut StepContext, at: usize, sum: i128) -> Result<i64, WordFault> {
    let sum = bounded(i128::from(ctx.load_sum(at)?) + sum)?;
    ctx.store_i64(at, sum)?;
    Ok(sum)
}

fn down(ctx: &mut StepContext, at: usize, wide: bool) -> Result<(), WordFault> {
    let p = lora_down::Params::read(ctx.params);
    let (width, rank) = (p.in_features as usize, p.rank as usize);
    let (token, word) = ctx.unit(if ctx.binding() == 2 { wide_words(rank) } else { INFO });
    let parts = width.div_ceil(TERMS);
    if at < rank * parts {
        let r = at / parts;
        let mut sum = 0i128;
        for i in part(width, TERMS, at % parts) {
            let x = match wide {
                true => ctx.wide(0, token * wide_words(width), width, i)?,
                false => ctx.byte(0, token * 4 * row_words(width) + i)?,
            };
            sum += i128::from(x * ctx.wide(1, r * wide_words(width), width, i)?);
        }
        return add(ctx, RESULT + 2 * r, sum).map(|_| ());
    }
    let sums = (0..rank).map(|r| ctx.load_i64(RESULT + 2 * r)).collect::<Result<Vec<_>, _>>()?;
    let mut row = vec![0; wide_words(rank)];
    let (shift, sum) = write_even(&mut row, &sums);
    let info = info_word(Scale::power_of_two(shift as i32), sum, word.min(INFO - 1));
    ctx.set_result(if ctx.binding() == 2 { row[word] } else { info })
}

fn ternary(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = ternary_matmul::Params::read(ctx.params);
    let (in_features, out_features) = (p.in_features as usize, p.out_features as usize);
    let (token, column) = ctx.unit(out_features + INFO);
    if column >= out_features {
        let before = ctx.before()?;
        return ctx.set_result(before);
    }
    let blocks = row_words(in_features);
    let mut sum = 0i128;
    for k in part(in_features, TERMS, at) {
        let block = ctx.word(2, column / 4 * blocks + k / 4)?;
        sum += i128::from(ctx.byte(0, token * 4 * blocks + k)? * trit(block, column, k)?);
    }
    let sum = add(ctx, SUM, sum)?;
    ctx.set_result(sum as u32)
}

/// Returns the weight (−1, 0 or 1) in row `row` and column `column` of a ternary matrix. The weight belongs to a block
/// of 4×4 weights, which is packed in the word `block`. Fails if the weight's two-bit code is 3, which is invalid.
fn trit(block: u32, row: usize, column: usize) -> Result<i64, WordFault> {
    match block >> (8 * (column % 4) + 2 * (row % 4)) & 3 {
        3 => Err(WordFault::Format("a trit")),
        code => Ok(i64::from(code) - 1),
    }
}

/// Returns the column of the output word in its row. Returns `None` if the dispatch leaves the word unchanged, because
/// the word is in a row that another dispatch writes, or in a row info (the four words after a row that contain its
/// scale).
fn column(p: &ternary_matmul_backward::Params, place: WordPlace) -> Option<usize> {
    let stride = p.in_features as usize + INFO;
    let at = place.word as usize % (p.slots as usize * stride);
    (at / stride == p.slot as usize && at % stride < p.in_features as usize).then_some(at % stride)
}

fn ternary_backward(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = ternary_matmul_backward::Params::read(ctx.params);
    let (in_features, out_features, planes) = (p.in_features as usize, p.out_features as usize, p.planes as usize);
    let (token, _) = ctx.unit(p.slots as usize * (in_features + INFO));
    let Some(column) = column(p, ctx.place) else {
        let before = ctx.before()?;
        return ctx.set_result(before);
    };
    let (stride, blocks) = (row_words(out_features), row_words(in_features));
    let row = token * planes * stride;
    let mut sum = 0i128;
    for n in part(out_features, BLOCK_TERMS, at) {
        let dy = if planes == 2 { ctx.wide(0, row, out_features, n)? } else { ctx.byte(0, 4 * row + n)? };
        let block = ctx.word(2, n / 4 * blocks + column / 4)?;
        sum += i128::from(dy * trit(block, n, column)?);
    }
    let sum = add(ctx, SUM, sum)?;
    ctx.set_result(sum as u32)
}

fn head_logits(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = head_logits::Params::read(ctx.params);
    let (width, vocab) = (p.width as usize, p.vocab as usize);
    let (token, v) = ctx.unit(vocab);
    let mut sum = 0i128;
    for i in part(width, TERMS, at) {
        let n = ctx.wide(0, token * wide_words(width), width, i)?;
        sum += i128::from(n * ctx.byte(2, v * 4 * row_words(width) + i)?);
    }
    let sum = add(ctx, SUM, sum)?;
    if at + 1 < width.div_ceil(TERMS) {
        return Ok(());
    }
    let scale = Scale { mantissa: p.score_scale, exponent: p.score_scale_exponent };
    let scale = ctx.scale(1, token * INFO)?.multiply(scale);
    let (mantissa, shift) = (round_even_u64(scale.mantissa.into(), 7), -(scale.exponent + 7));
    let scaled = round_even(bounded(i128::from(sum) * i128::from(ctx.word(3, v)?))?, 16);
    let (value, clamped) = score(bounded(i128::from(scaled) * i128::from(mantissa))?, shift);
    ctx.saturate(clamped)?;
    ctx.set_result(value as u32)
}
