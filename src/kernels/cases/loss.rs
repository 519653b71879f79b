//! Test cases for the kernels of the output head and the loss: logits, the two passes of the softmax, cross-entropy,
//! and the gradient of the output head.

use super::{Case, CaseSource, Draw, run_reference};
use crate::{
    kernels::{
        INFO, as_bytes_mut,
        cross_entropy::{self, IGNORE, dlogits_words},
        head_backward, head_logits, logits_max, logits_sum,
        shared::{scores::SCORE_LIMIT, wide},
    },
    numbers::{
        tables::{exp2_table, log2_table},
        ternary::row_words,
    },
};

/// The sizes of test cases with a shard of the vocabulary: the number of tokens, the number of vocabulary entries in
/// the shard, and the number of vocabulary entries in all shards before it.
const SHARDS: [[usize; 3]; 7] =
    [[1, 1, 0], [3, 37, 0], [5, 256, 0], [6, 300, 0], [4, 37, 64], [3, 300, 1000], [1, 4100, 0]];

/// The sizes of the test cases of `head_logits`: the number of tokens, of features, and of vocabulary entries.
const SHAPES: [[usize; 3]; 5] = [[1, 1, 1], [5, 37, 37], [3, 130, 256], [6, 64, 300], [9, 300, 65]];

/// How the operands of `head_logits` are filled: a label, and four functions. The functions return an integer of an
/// activation row, a byte of an embedding, the exponent of an activation row, and the row scale of an embedding.
type LogitsDraws = (&'static str, Draw, Draw, Draw, Draw);

const CONTENTS: [LogitsDraws; 6] = [
    ("random", wide, byte, |s| s.within(-34, -29), |s| s.within(0, 65535)),
    ("far apart", wide, byte, |s| s.within(-90, 30), |s| s.within(0, 65535)),
    ("largest", |_| 1 << 14, |_| 127, |_| -34, |_| 65535),
    ("smallest", |_| 1 << 14, |_| -127, |_| -34, |_| 65535),
    ("saturating", wide, byte, |s| s.within(-20, 60), |_| 65535),
    ("zero", |_| 0, byte, |_| 0, |s| s.within(0, 65535)),
];

fn wide(source: &mut CaseSource) -> i32 {
    source.within(-(1 << 14), 1 << 14)
}

fn byte(source: &mut CaseSource) -> i32 {
    source.within(-127, 127)
}

/// How the logits of a test case are filled: a label, and a function that returns one logit. The logits are random
/// within ±8, random within the limits ±1024, only the two limits, or all equal.
const SCORES: [(&str, Draw); 4] = [
    ("random", |s| s.within(-(8 << 20), 8 << 20)),
    ("far apart", |s| s.within(-SCORE_LIMIT, SCORE_LIMIT)),
    ("limits", |s| if s.word() & 1 == 0 { SCORE_LIMIT } else { -SCORE_LIMIT }),
    ("equal", |_| 12345),
];

const STREAM: u32 = 1;

pub(super) fn logits(source: &mut CaseSource) -> Vec<Case> {
    let each = SHAPES.iter().flat_map(|shape| CONTENTS.map(|content| (*shape, content)));
    each.map(|(shape, content)| logits_case(source, shape, content)).collect()
}

/// Returns a test case of `head_logits` in a size that occurs in training.
pub(super) fn large_logits(source: &mut CaseSource, tokens: usize) -> Case {
    logits_case(source, [tokens, 1024, 4096], CONTENTS[0])
}

fn logits_case(source: &mut CaseSource, [tokens, width, vocab]: [usize; 3], content: LogitsDraws) -> Case {
    let (label, value, byte, exponent, row_scale) = content;
    let params = head_logits::Params {
        tokens: tokens as u32,
        width: width as u32,
        vocab: vocab as u32,
        score_scale: source.within(1 << 30, i32::MAX) as u32,
        score_scale_exponent: -30,
        ..Default::default()
    };
    let (mut n, mut n_info) = (Vec::new(), Vec::new());
    for _ in 0..tokens {
        let mut row = vec![0; wide::wide_words(width)];
        for i in 0..width {
            wide::set(as_bytes_mut(&mut row), i, value(source));
        }
        n.extend(row);
        let zero = label == "zero" && source.word() & 1 == 0;
        n_info.extend([if zero { 0 } else { source.within(1 << 30, i32::MAX) as u32 }, exponent(source) as u32, 5, 6]);
    }
    Case {
        kernel: &head_logits::KERNEL,
        label: format!("{tokens} tokens, {width} features, {vocab} token IDs, {label}"),
        params: params.words(),
        inputs: vec![
            n,
            n_info,
            byte_rows(source, vocab, width, byte),
            (0..vocab).map(|_| row_scale(source) as u32).collect(),
            source.before_write(tokens * vocab),
        ],
    }
}

/// Returns `rows` rows of `width` int8 values, each row padded with zeros. The function `byte` returns each value.
fn byte_rows(source: &mut CaseSource, rows: usize, width: usize, byte: Draw) -> Vec<u32> {
    let mut words = vec![0; rows * row_words(width)];
    for row in as_bytes_mut(&mut words).chunks_exact_mut(4 * row_words(width)) {
        row[..width].fill_with(|| byte(source) as i8);
    }
    words
}

pub(super) fn max(source: &mut CaseSource) -> Vec<Case> {
    each_shard(source, |source, [tokens, vocab, offset], label, score| {
        let params = logits_max::Params {
            tokens: tokens as u32,
            vocab: vocab as u32,
            shard: u32::from(offset > 0),
            ..Default::default()
        };
        Case {
            kernel: &logits_max::KERNEL,
            label,
            params: params.words(),
            inputs: vec![scores(source, tokens * vocab, score), source.before_write(tokens)],
        }
    })
}

pub(super) fn sum(source: &mut CaseSource) -> Vec<Case> {
    each_shard(source, sum_case)
}

fn sum_case(source: &mut CaseSource, [tokens, vocab, offset]: [usize; 3], label: String, score: Draw) -> Case {
    let params = logits_sum::Params {
        tokens: tokens as u32,
        vocab: vocab as u32,
        shard: u32::from(offset > 0),
        ..Default::default()
    };
    let z = scores(source, tokens * vocab, score);
    // Another shard may have a larger logit, so the maximum may exceed all logits of this shard.
    let more = |source: &mut CaseSource| if offset > 0 { source.within(0, 3 << 20) } else { 0 };
    let largest = |z: &[u32]| z.iter().map(|&z| z as i32).max().unwrap_or(0);
    let maximum = z.chunks_exact(vocab).map(|z| (largest(z) + more(source)).min(SCORE_LIMIT) as u32).collect();
    let mut sum = source.before_write(2 * tokens);
    for high in sum.iter_mut().skip(1).step_by(2) {
        *high &= 0xffff;
    }
    let tables = [exp2_table(), log2_table()].concat();
    Case { kernel: &logits_sum::KERNEL, label, params: params.words(), inputs: vec![z, maximum, tables, sum] }
}

pub(super) fn entropy(source: &mut CaseSource) -> Vec<Case> {
    each_shard(source, entropy_case)
}

fn entropy_case(source: &mut CaseSource, [tokens, vocab, offset]: [usize; 3], label: String, score: Draw) -> Case {
    let params = cross_entropy::Params {
        tokens: tokens as u32,
        vocab: vocab as u32,
        vocab_offset: offset as u32,
        stream: STREAM,
        ..Default::default()
    };
    let (mut after, _) = run_reference(&sum_case(source, [tokens, vocab, offset], String::new(), score));
    let sum = after.swap_remove(3);
    let labels = (0..tokens).map(|token| match token {
        2 => IGNORE,
        3 => (offset + vocab) as u32,
        4 => offset as u32 / 2,
        _ => source.within(offset as i32, (offset + vocab) as i32 - 1) as u32,
    });
    let labels = labels.collect();
    let row_scales = (0..vocab).map(|_| source.within(0, 65535) as u32).collect();
    let [z, maximum, tables] = [0, 1, 2].map(|i| after[i].clone());
    let (dither, out) = (source.dither(STREAM), source.before_write(tokens * dlogits_words(vocab)));
    Case {
        kernel: &cross_entropy::KERNEL,
        label,
        params: params.words(),
        inputs: vec![z, maximum, sum, labels, row_scales, tables, dither, out],
    }
}

pub(super) fn backward(source: &mut CaseSource) -> Vec<Case> {
    let widths = [1, 37, 130, 300];
    let mut cases = Vec::new();
    for (i, shard) in SHARDS.into_iter().enumerate() {
        for (j, (label, score)) in SCORES.into_iter().enumerate() {
            cases.push(backward_case(source, shard, widths[(i + j) % widths.len()], label, score));
        }
    }
    cases
}

/// Returns a test case of `head_backward` in a size that occurs in training.
pub(super) fn large_backward(source: &mut CaseSource, tokens: usize) -> Case {
    backward_case(source, [tokens, 4096, 0], 1024, SCORES[0].0, SCORES[0].1)
}

fn backward_case(source: &mut CaseSource, shard: [usize; 3], width: usize, label: &str, score: Draw) -> Case {
    let [tokens, vocab, offset] = shard;
    let params = head_backward::Params {
        tokens: tokens as u32,
        width: width as u32,
        vocab: vocab as u32,
        shard: u32::from(offset > 0),
        exponent: source.within(-60, 10),
        ..Default::default()
    };
    let (mut after, _) = run_reference(&entropy_case(source, shard, String::new(), score));
    let embedding = byte_rows(source, vocab, width, if label == "equal" { |_| -127 } else { byte });
    let mut dn = source.before_write(tokens * (width + INFO));
    for value in &mut dn {
        *value = (*value as i32 >> 4) as u32; // within the range of the sum of earlier shards
    }
    let dlogits = after.swap_remove(7);
    Case {
        kernel: &head_backward::KERNEL,
        label: format!("{tokens} tokens, {width} features, {vocab} token IDs from ID {offset} on, {label}"),
        params: params.words(),
        inputs: vec![dlogits, embedding, dn],
    }
}

/// Returns a test case for every combination of a shard of the vocabulary in `SHARDS` and a kind of logits in `SCORES`.
fn each_shard(source: &mut CaseSource, case: impl Fn(&mut CaseSource, [usize; 3], String, Draw) -> Case) -> Vec<Case> {
    let all = SHARDS.iter().flat_map(|shard| SCORES.map(|scores| (*shard, scores)));
    all.map(|(shard, (label, score))| {
        let [tokens, vocab, offset] = shard;
        case(source, shard, format!("{tokens} tokens, {vocab} token IDs from ID {offset} on, {label}"), score)
    })
    .collect()
}

fn scores(source: &mut CaseSource, count: usize, score: Draw) -> Vec<u32> {
    (0..count).map(|_| score(source) as u32).collect()
}
