//! Functions that return rows of input values for test cases. The values range from ordinary to extreme ones.

use super::{CaseSource, Draw};
use crate::{
    kernels::{INFO, as_bytes_mut, shared::wide},
    numbers::ternary::row_words,
};

/// The sizes of the test cases: the number of rows and the number of columns. No number of columns is a multiple of the
/// size of a workgroup, or of 32 (rows are padded to a multiple of 32 columns). Three of these numbers of columns are
/// not multiples of 4 (the number of int8 values in a word).
pub(super) const SHAPES: [[usize; 2]; 6] = [[1, 1], [5, 5], [3, 36], [4, 67], [2, 300], [2, 1100]];

/// How the rows of a test case are filled: a label, and three functions. The first returns an integer of a row; the
/// others return the mantissa and the exponent of the row's scale.
#[derive(Clone, Copy)]
pub(super) struct RowContent {
    pub(super) label: &'static str,
    pub(super) value: Draw,
    pub(super) mantissa: Draw,
    pub(super) exponent: Draw,
}

const fn content(label: &'static str, value: Draw, mantissa: Draw, exponent: Draw) -> RowContent {
    RowContent { label, value, mantissa, exponent }
}

pub(super) const CONTENTS: [RowContent; 10] = [
    content("random", |s| s.within(-(1 << 30), 1 << 30), mantissa, |s| s.within(-60, -50)),
    content("small", |s| s.within(-2, 2), mantissa, |s| s.within(-40, -30)),
    content("ties", |s| s.within(-4, 4) * (1 << 15) + (1 << 14), |_| 1 << 30, |_| -46),
    content("far apart", |s| s.within(-(1 << 30), 1 << 30), mantissa, |s| s.within(-90, 30)),
    content("tiny", |s| s.within(-(1 << 30), 1 << 30), mantissa, |s| s.within(-1100, -1030)),
    content("largest", |s| sign(s) * i32::MAX, |_| i32::MAX, |_| -60),
    content("spikes", |s| if s.within(0, 9) == 0 { sign(s) * i32::MAX } else { s.within(-9, 9) }, mantissa, |_| -61),
    content("zero among others", |s| s.within(-(1 << 20), 1 << 20), |s| mantissa(s) * s.within(0, 1), |_| -50),
    content("zero", |_| 0, |_| 0, |_| 0),
    content("zero with a large scale", |_| 0, mantissa, |_| 40),
];

pub(super) fn sign(source: &mut CaseSource) -> i32 {
    source.within(0, 1) * 2 - 1
}

fn mantissa(source: &mut CaseSource) -> i32 {
    source.within(1 << 30, i32::MAX)
}

/// Calls `case` with every combination of a size in `SHAPES` and a kind of values in `CONTENTS`.
pub(super) fn each(case: &mut dyn FnMut([usize; 2], RowContent)) {
    for shape in SHAPES {
        CONTENTS.iter().for_each(|content| case(shape, *content));
    }
}

/// Returns `rows` i32 rows: `width` integers each, then the row's scale and two random words. `content` describes the
/// values. All integers of a row are 0 if the mantissa of its scale is 0.
pub(super) fn i32_rows(source: &mut CaseSource, [rows, width]: [usize; 2], content: RowContent) -> Vec<u32> {
    let mut words = Vec::with_capacity(rows * (width + INFO));
    for _ in 0..rows {
        let (mantissa, exponent) = scale(source, content);
        words.extend((0..width).map(|_| if mantissa == 0 { 0 } else { (content.value)(source) as u32 }));
        words.extend([mantissa, exponent, source.word(), source.word()]);
    }
    words
}

/// Returns the row infos of `rows` rows. Each consists of four words: the mantissa and the exponent of the row's scale,
/// and two random words.
pub(super) fn infos(source: &mut CaseSource, rows: usize, content: RowContent) -> Vec<u32> {
    let info = |source: &mut CaseSource| {
        let (mantissa, exponent) = scale(source, content);
        [mantissa, exponent, source.word(), source.word()]
    };
    (0..rows).flat_map(|_| info(source)).collect()
}

fn scale(source: &mut CaseSource, content: RowContent) -> (u32, u32) {
    let (mantissa, exponent) = ((content.mantissa)(source) as u32, (content.exponent)(source) as u32);
    if mantissa == 0 { (0, 0) } else { (mantissa, exponent) }
}

/// Returns `rows` rows of `width` int8 values, each row padded with zeros. The function `value` returns each value.
pub(super) fn byte_rows(source: &mut CaseSource, [rows, width]: [usize; 2], value: Draw) -> Vec<u32> {
    let mut words = vec![0; rows * row_words(width)];
    for row in words.chunks_exact_mut(row_words(width)) {
        as_bytes_mut(row)[..width].iter_mut().for_each(|byte| *byte = value(source) as i8);
    }
    words
}

/// Returns `rows` wide rows of `width` integers. A wide row consists of integers of magnitude ≤ 2^14, each stored as
/// two int8 values. The function `value` returns each integer.
pub(super) fn wide_rows(source: &mut CaseSource, [rows, width]: [usize; 2], value: Draw) -> Vec<u32> {
    let mut words = vec![0; rows * wide::wide_words(width)];
    for row in words.chunks_exact_mut(wide::wide_words(width)) {
        (0..width).for_each(|column| wide::set(as_bytes_mut(row), column, value(source)));
    }
    words
}

/// How the operands of a product are filled: a label, and two functions. The first returns an int8 value; the second
/// returns a wide value, an integer of magnitude ≤ 2^14.
pub(super) const OPERANDS: [(&str, Draw, Draw); 4] = [
    ("random", |s| s.within(-127, 127), |s| s.within(-(1 << 14), 1 << 14)),
    ("largest", |s| sign(s) * 127, |s| sign(s) << 14),
    ("same sign", |_| -127, |_| -(1 << 14)),
    ("zero", |_| 0, |_| 0),
];
