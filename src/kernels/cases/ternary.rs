//! Test cases for `ternary_matmul` and `ternary_matmul_backward`, which multiply by a ternary weight matrix.

use super::{Case, CaseSource, Draw};
use crate::{
    kernels::{INFO, as_bytes_mut, ternary_matmul, ternary_matmul_backward},
    numbers::{
        fixed::Scale,
        ternary::{Ternary, row_words},
    },
};

/// The sizes of the test cases: the number of tokens, of input features, and of output features. Most of these numbers
/// are not multiples of the tile size of a kernel.
const SHAPES: [[usize; 3]; 5] = [[1, 1, 1], [5, 37, 70], [9, 130, 65], [3, 4096, 5], [67, 70, 133]];

/// The number of terms of a long sum, above 2^15. The WGSL implementation `f32` adds its partial sum to the output
/// after every 2^15 terms, because a longer floating-point sum would not be exact.
const LONG: usize = 33_000;

/// How the operands are filled: a label, and three functions, which return a trit (a ternary weight), an int8 value,
/// and an integer of magnitude ≤ 2^14. The largest and the smallest permitted values occur.
const CONTENTS: [(&str, Draw, Draw, Draw); 5] = [
    ("random", |s| s.within(-1, 1), |s| s.within(-127, 127), |s| s.within(-(1 << 14), 1 << 14)),
    ("largest", |_| 1, |_| 127, |_| 1 << 14),
    ("smallest", |_| 1, |_| -127, |_| -(1 << 14)),
    ("negated", |_| -1, |s| 127 * (s.within(0, 1) * 2 - 1), |s| s.within(0, 1) * (1 << 15) - (1 << 14)),
    ("zero", |_| 0, |_| 0, |_| 0),
];

pub(super) fn matmul(source: &mut CaseSource) -> Vec<Case> {
    let each = SHAPES.iter().flat_map(|shape| CONTENTS.map(|content| (*shape, content)));
    let each = each.chain([([2, LONG, 3], CONTENTS[1])]);
    each.map(|(shape, (label, trit, byte, _))| matmul_case(source, shape, label, trit, byte)).collect()
}

pub(super) fn large_matmul(source: &mut CaseSource, tokens: usize) -> Case {
    let (label, trit, byte, _) = CONTENTS[0];
    matmul_case(source, [tokens, 1024, 1024], label, trit, byte)
}

pub(super) fn matmul_backward(source: &mut CaseSource) -> Vec<Case> {
    let layouts = [(2, 1, 0), (2, 3, 1), (1, 2, 1)];
    let each = SHAPES.iter().flat_map(|shape| CONTENTS.map(|content| (*shape, content)));
    let each = each.flat_map(|(shape, content)| layouts.map(|layout| (shape, content, layout)));
    let each = each.chain([([2, 3, LONG], CONTENTS[1], layouts[1])]);
    each.map(|(shape, content, layout)| matmul_backward_case(source, shape, content, layout)).collect()
}

pub(super) fn large_matmul_backward(source: &mut CaseSource, tokens: usize) -> Case {
    matmul_backward_case(source, [tokens, 1024, 1024], CONTENTS[0], (2, 1, 0))
}

fn matmul_case(
    source: &mut CaseSource,
    [tokens, inputs, outputs]: [usize; 3],
    label: &str,
    trit: Draw,
    byte: Draw,
) -> Case {
    let (x, x_info) = rows(source, tokens, inputs, 1, byte);
    let params = ternary_matmul::Params {
        tokens: tokens as u32,
        in_features: inputs as u32,
        out_features: outputs as u32,
        ..Default::default()
    };
    Case {
        kernel: &ternary_matmul::KERNEL,
        label: format!("{tokens} tokens, {inputs} inputs, {outputs} outputs, {label}"),
        params: params.words(),
        inputs: vec![x, x_info, weights(source, outputs, inputs, trit), source.before_write(tokens * (outputs + INFO))],
    }
}

fn matmul_backward_case(
    source: &mut CaseSource,
    [tokens, inputs, outputs]: [usize; 3],
    (label, trit, byte, wide): (&str, Draw, Draw, Draw),
    (planes, slots, slot): (u32, u32, u32),
) -> Case {
    let (dy, dy_info) = rows(source, tokens, outputs, planes as usize, if planes == 1 { byte } else { wide });
    let params = ternary_matmul_backward::Params {
        tokens: tokens as u32,
        in_features: inputs as u32,
        out_features: outputs as u32,
        slot,
        slots,
        planes,
        ..Default::default()
    };
    let owned = tokens * slots as usize * (inputs + INFO);
    Case {
        kernel: &ternary_matmul_backward::KERNEL,
        label: format!(
            "{tokens} tokens, {inputs} inputs, {outputs} outputs, {planes} planes, slot {slot} of {slots}, {label}"
        ),
        params: params.words(),
        inputs: vec![dy, dy_info, weights(source, outputs, inputs, trit), source.before_write(owned)],
    }
}

/// Returns the words of a ternary matrix `[rows, columns]`. Each word packs 4×4 trits (ternary weights). The function
/// `trit` returns each trit.
fn weights(source: &mut CaseSource, rows: usize, columns: usize, trit: Draw) -> Vec<u32> {
    let trits: Vec<i8> = (0..rows * columns).map(|_| trit(source) as i8).collect();
    Ternary::pack(rows, columns, &trits, Scale::ONE).expect("one trit for each element").words.to_vec()
}

/// Returns a row of `width` integers for each token, and a row info of four words for each row. `planes` is the number
/// of int8 values that store an integer. With two planes, a row contains first the high bytes and then the low bytes of
/// integers of magnitude ≤ 2^14. The third word of a row info is the sum of the row's integers, and its other words are
/// random.
fn rows(source: &mut CaseSource, tokens: usize, width: usize, planes: usize, value: Draw) -> (Vec<u32>, Vec<u32>) {
    let stride = 4 * row_words(width);
    let mut words = vec![0u32; tokens * planes * stride / 4];
    let mut info = source.words(tokens * INFO);
    for (token, row) in as_bytes_mut(&mut words).chunks_exact_mut(planes * stride).enumerate() {
        let mut sum = 0i32;
        for column in 0..width {
            let value = value(source);
            sum += value;
            if planes == 1 {
                row[column] = value as i8;
            } else {
                row[column] = ((value + 128) >> 8) as i8;
                row[stride + column] = value as i8;
            }
        }
        info[token * INFO + 2] = sum as u32;
    }
    (words, info)
}
