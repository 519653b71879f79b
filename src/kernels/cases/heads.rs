//! Test cases for `rope` and `head_gradient_quantize`, which write head rows (the values of one token for one attention
//! head), and for `rope_backward`, which reads the gradients of head rows.

use super::{Case, CaseSource, Draw};
use crate::{
    kernels::{
        INFO, head_gradient_quantize, rope, rope_backward,
        shared::{heads::head_words, wide::wide_words},
    },
    numbers::tables::{identity_rope, rope_table},
};

/// The sizes of the test cases: the number of tokens, the number of attention heads, and the number of features in each
/// head.
const SHAPES: [[usize; 3]; 7] = [[1, 1, 2], [5, 3, 6], [3, 5, 16], [4, 2, 32], [2, 3, 66], [3, 2, 128], [2, 1, 256]];

/// How the rows of a test case are filled: a label, and three functions. The first returns an integer of a row; the
/// others return the mantissa and the exponent of the row's scale.
type RowDraws = (&'static str, Draw, Draw, Draw);

const CONTENTS: [RowDraws; 7] = [
    ("random", |s| s.within(-(1 << 30), 1 << 30), mantissa, |s| s.within(-40, -30)),
    ("small", |s| s.within(-2, 2), mantissa, |s| s.within(-40, -30)),
    ("far apart", |s| s.within(-(1 << 30), 1 << 30), mantissa, |s| s.within(-60, 60)),
    ("tiny", |s| s.within(-(1 << 30), 1 << 30), mantissa, |s| s.within(-1100, -1030)),
    ("largest", |s| if s.word() & 1 == 0 { i32::MAX } else { -i32::MAX }, |_| i32::MAX, |_| -30),
    ("zero among others", |s| s.within(-(1 << 30), 1 << 30), |s| mantissa(s) * s.within(0, 1), |s| s.within(-60, 60)),
    ("zero", |_| 0, |_| 0, |_| 0),
];

fn mantissa(source: &mut CaseSource) -> i32 {
    source.within(1 << 30, i32::MAX)
}

const STREAM: u32 = 1;

pub(super) fn rope(source: &mut CaseSource) -> Vec<Case> {
    each(source, |source, [tokens, heads, head_dim], content, stride| {
        let params = rope::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            position_stride: stride,
            ..Default::default()
        };
        let [positions, table] = turns(source, tokens, head_dim, stride);
        let y = i32_rows(source, tokens, heads * head_dim, content);
        Case {
            kernel: &rope::KERNEL,
            label: format!("{tokens} tokens, {heads} heads of {head_dim} features, {values}", values = content.0),
            params: params.words(),
            inputs: vec![y, positions, table, source.before_write(tokens * heads * head_words(head_dim))],
        }
    })
}

pub(super) fn rope_backward(source: &mut CaseSource) -> Vec<Case> {
    each(source, |source, [tokens, heads, head_dim], content, stride| {
        let (head_stride, head_offset) = (heads + 2 * stride as usize, stride);
        let params = rope_backward::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            position_stride: stride,
            head_stride: head_stride as u32,
            head_offset,
            stream: STREAM,
            ..Default::default()
        };
        let [positions, table] = turns(source, tokens, head_dim, stride);
        let dheads = i32_rows(source, tokens * head_stride, head_dim, content);
        let owned = [tokens * wide_words(heads * head_dim), tokens * INFO];
        let [dy, dy_info] = owned.map(|owned| source.before_write(owned));
        Case {
            kernel: &rope_backward::KERNEL,
            label: format!("{tokens} tokens, {heads} heads of {head_dim} features, {values}", values = content.0),
            params: params.words(),
            inputs: vec![dheads, positions, table, source.dither(STREAM), dy, dy_info],
        }
    })
}

pub(super) fn gradient_quantize(source: &mut CaseSource) -> Vec<Case> {
    each(source, |source, [tokens, heads, head_dim], content, _| {
        let params = head_gradient_quantize::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            stream: STREAM,
            ..Default::default()
        };
        let gradient = i32_rows(source, tokens, heads * head_dim, content);
        Case {
            kernel: &head_gradient_quantize::KERNEL,
            label: format!("{tokens} tokens, {heads} heads of {head_dim} features, {values}", values = content.0),
            params: params.words(),
            inputs: vec![gradient, source.dither(STREAM), source.before_write(tokens * heads * head_words(head_dim))],
        }
    })
}

/// Returns a test case for every combination of a size in `SHAPES` and a kind of values in `CONTENTS`. The function
/// `case` builds a test case. The last argument of this function is the kernel's parameter `position_stride`, which is
/// 0 in every third test case and otherwise 1. If it is 0, all tokens use the first row of the rotary table.
fn each(source: &mut CaseSource, case: impl Fn(&mut CaseSource, [usize; 3], RowDraws, u32) -> Case) -> Vec<Case> {
    let all = SHAPES.iter().flat_map(|shape| CONTENTS.map(|content| (*shape, content)));
    all.zip([1, 1, 0].iter().cycle()).map(|((shape, content), turn)| case(source, shape, content, *turn)).collect()
}

/// Returns a random position for each token, and the table of the cosine and the sine of each rotation. If `stride` is
/// 0, the table has a single row, whose cosines are 1 and whose sines are 0 (no rotation).
fn turns(source: &mut CaseSource, tokens: usize, head_dim: usize, stride: u32) -> [Vec<u32>; 2] {
    const POSITIONS: usize = 10;
    let positions = (0..tokens).map(|_| source.within(0, POSITIONS as i32 - 1) as u32).collect();
    let table = if stride == 0 { identity_rope(head_dim) } else { rope_table(POSITIONS, head_dim, 10_000) };
    [positions, table]
}

fn i32_rows(source: &mut CaseSource, rows: usize, width: usize, (_, value, mantissa, exponent): RowDraws) -> Vec<u32> {
    let mut words = Vec::with_capacity(rows * (width + INFO));
    for _ in 0..rows {
        words.extend((0..width).map(|_| value(source) as u32));
        words.extend([mantissa(source) as u32, exponent(source) as u32, source.word(), source.word()]);
    }
    words
}
