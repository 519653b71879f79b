//! The word programs of kernels whose rows are as long as the vocabulary: the maximum and the sum for the softmax, the
//! cross-entropy, the sum of the losses, and the gradient of the output head's input. A word program computes one
//! output word of a kernel in steps.

use super::{
    RESULT, StepContext, WordFault, WordPlace, WordProgram,
    single::{info_word, single},
    step_context::part,
};
use crate::{
    kernels::{
        INFO,
        cross_entropy::{self, IGNORE, dlogits_words},
        head_backward, logits_max, logits_sum, loss_sum,
        shared::scores::{Normalizer, log2},
    },
    numbers::{
        fixed::{Scale, round_dither},
        tables::TABLE_LEN,
        ternary::row_words,
    },
};

pub(super) const LOGITS_MAX: WordProgram = WordProgram {
    kernel: &logits_max::KERNEL,
    scratch: |_| RESULT + 1,
    steps: |p, _| (logits_max::Params::read(p).vocab as usize).div_ceil(SCORES).max(1),
    step: logits_max,
};

pub(super) const LOGITS_SUM: WordProgram = WordProgram {
    kernel: &logits_sum::KERNEL,
    scratch: |_| RESULT + 2,
    steps: |p, _| (logits_sum::Params::read(p).vocab as usize).div_ceil(SCORES).max(1),
    step: logits_sum,
};

pub(super) const CROSS_ENTROPY: WordProgram = single(&cross_entropy::KERNEL, cross_entropy);

pub(super) const LOSS_SUM: WordProgram = WordProgram {
    kernel: &loss_sum::KERNEL,
    scratch: |_| RESULT + 2,
    steps: |p, _| (loss_sum::Params::read(p).tokens as usize).div_ceil(LOSSES).max(1),
    step: loss_sum,
};

pub(super) const HEAD_BACKWARD: WordProgram = WordProgram {
    kernel: &head_backward::KERNEL,
    scratch: |_| RESULT + 2,
    steps: |p, place| {
        let p = head_backward::Params::read(p);
        match is_info(p, place) {
            true => 1,
            false => (p.vocab as usize).div_ceil(EMBEDDINGS).max(1),
        }
    },
    step: head_backward,
};

/// The number of logits of one token that one step reads in the word programs of `logits_max` and `logits_sum`.
const SCORES: usize = 4096;
/// The number of tokens whose losses one step adds in the word program of `loss_sum`.
const LOSSES: usize = 16;
/// The number of terms that one step adds in the word program of `head_backward`. Each term is the gradient of a logit,
/// multiplied by one element of an embedding.
const EMBEDDINGS: usize = 32;

fn logits_max(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = logits_max::Params::read(ctx.params);
    let (vocab, (token, _)) = (p.vocab as usize, ctx.unit(1));
    let before = match (at, p.shard) {
        (0, 0) => i32::MIN,
        (0, _) => ctx.before()? as i32,
        _ => ctx.load(RESULT)? as i32,
    };
    let mut max = before;
    for v in part(vocab, SCORES, at) {
        max = max.max(ctx.word(0, token * vocab + v)? as i32);
    }
    ctx.store(RESULT, max as u32)?;
    ctx.set_result(max as u32)
}

fn logits_sum(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = logits_sum::Params::read(ctx.params);
    let vocab = p.vocab as usize;
    let (token, word) = ctx.unit(2);
    let max = ctx.word(1, token)? as i32;
    let mut sum = match (at, p.shard) {
        (0, 0) => 0,
        (0, _) => ctx.pair(3, 2 * token)?,
        _ => ctx.load_sum(RESULT)? as u64,
    };
    for v in part(vocab, SCORES, at) {
        let z = ctx.word(0, token * vocab + v)? as i32;
        sum = sum.wrapping_add(exp2(ctx, 2, max.abs_diff(z))?.into());
    }
    ctx.store_i64(RESULT, sum as i64)?;
    ctx.set_result((sum >> (32 * word)) as u32)
}

/// Returns `2^(−below / 2^20)` as an integer with 30 fraction bits. The value is interpolated in the exp2 table,
/// exactly as the kernels do; `tables` is the index of the buffer that contains the table. Fails if an entry of the
/// table is invalid.
pub(super) fn exp2(ctx: &mut StepContext, tables: usize, below: u32) -> Result<u32, WordFault> {
    let (whole, index) = (below >> 20, (below >> 12 & 255) as usize);
    if whole > 31 {
        return Ok(0);
    }
    let (high, low) = (ctx.word(tables, index)?, ctx.word(tables, index + 1)?);
    if high > 1 << 30 || low > high || high - low >= 1 << 22 {
        return Err(WordFault::Format("a table"));
    }
    Ok((high - ((((high - low) >> 2) * (below & 4095)) >> 10)) >> whole)
}

fn cross_entropy(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = cross_entropy::Params::read(ctx.params);
    let vocab = p.vocab as usize;
    let (token, word) = ctx.unit(dlogits_words(vocab));
    let label = ctx.word(3, token)?;
    if label == IGNORE {
        return ctx.set_result(0);
    }
    let (max, sum) = (ctx.word(1, token)? as i32, ctx.pair(2, 2 * token)?);
    if !(1 << 30..1 << 62).contains(&sum) {
        return Err(WordFault::Format("a sum of exponentials"));
    }
    let planes = 3 * row_words(vocab);
    if word >= planes {
        let own = label.wrapping_sub(p.vocab_offset) as usize;
        if own >= vocab {
            return ctx.set_result(0);
        }
        let mut tables = vec![0; 2 * TABLE_LEN];
        for (at, entry) in tables.iter_mut().enumerate().skip(TABLE_LEN) {
            *entry = ctx.word(5, at)?;
        }
        if tables[TABLE_LEN..].windows(2).any(|pair| pair[0] > pair[1] || pair[1] - pair[0] >= 1 << 18) {
            return Err(WordFault::Format("a table"));
        }
        let z = ctx.word(0, token * vocab + own)? as i32;
        let bits = i64::from(max) + log2(&tables, sum) - i64::from(z);
        return ctx.set_result((bits as u64 >> (32 * (word - planes))) as u32);
    }
    let (plane, normalizer) = (word / row_words(vocab), Normalizer::new(sum));
    let (stream, index) = ctx.dither(6, p.stream, token)?;
    let mut result = 0;
    for byte in 0..4 {
        let v = 4 * (word % row_words(vocab)) + byte;
        if v >= vocab {
            break;
        }
        let id = p.vocab_offset + v as u32;
        let z = ctx.word(0, token * vocab + v)? as i32;
        let probability = normalizer.probability(exp2(ctx, 5, max.abs_diff(z))?);
        let difference = i64::from(probability) - (i64::from(label == id) << 30);
        let scaled = difference * i64::from(ctx.word(4, v)?.min(65_535));
        let value = round_dither(scaled, 24, stream.at(index, id)) as i32;
        let rest = (value + 128) >> 8;
        let planes = [(rest + 128) >> 8, rest, value];
        result |= u32::from(planes[plane] as u8) << (8 * byte);
    }
    ctx.set_result(result)
}

fn loss_sum(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = loss_sum::Params::read(ctx.params);
    let words = dlogits_words(p.vocab as usize);
    let mut total = if at == 0 { ctx.pair(1, 0)? } else { ctx.load_sum(RESULT)? as u64 };
    for token in part(p.tokens as usize, LOSSES, at) {
        total = total.wrapping_add(ctx.pair(0, token * words + words - 2)?);
    }
    ctx.store_i64(RESULT, total as i64)?;
    ctx.set_result((total >> (32 * ctx.place.word)) as u32)
}

fn is_info(p: &head_backward::Params, place: WordPlace) -> bool {
    place.word as usize % (p.width as usize + INFO) >= p.width as usize
}

fn head_backward(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = head_backward::Params::read(ctx.params);
    let (width, vocab) = (p.width as usize, p.vocab as usize);
    let (token, column) = ctx.unit(width + INFO);
    if is_info(p, ctx.place) {
        return ctx.set_result(info_word(Scale::power_of_two(p.exponent), 0, column - width));
    }
    let mut sum = match (at, p.shard) {
        (0, 0) => 0,
        (0, _) => ctx.int(2, token * (width + INFO) + column)?,
        _ => ctx.load_i64(RESULT)?,
    };
    let row = 4 * token * dlogits_words(vocab);
    for v in part(vocab, EMBEDDINGS, at) {
        let mut gradient = 0;
        for plane in 0..3 {
            let byte = row + 4 * plane * row_words(vocab) + v;
            gradient = 256 * gradient + i64::from((ctx.word(0, byte / 4)? >> (8 * (byte % 4))) as i8);
        }
        sum += gradient * ctx.byte(1, v * 4 * row_words(width) + column)?;
    }
    ctx.store_i64(RESULT, sum)?;
    ctx.set_result(sum as u32)
}
