//! Test cases for the kernels that multiply by the factors of a LoRA adapter: `lora_down`, its backward kernel, and
//! `lora_up`.

use super::{
    Case, CaseSource, Draw,
    rows::{self, CONTENTS, OPERANDS},
};
use crate::{
    kernels::{
        INFO, as_bytes_mut, lora_down, lora_down_backward, lora_up,
        shared::wide::{self, wide_words},
    },
    numbers::fixed::Scale,
};

/// The sizes of the test cases: the number of tokens, the number of features, and the rank of the adapter.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [5, 5, 4], [3, 67, 8], [2, 300, 20], [3, 36, 64], [2, 2564, 33]];

fn each() -> impl Iterator<Item = ([usize; 3], (&'static str, Draw, Draw))> {
    SHAPES.iter().flat_map(|shape| OPERANDS.map(|operand| (*shape, operand)))
}

pub(super) fn down(source: &mut CaseSource) -> Vec<Case> {
    let case = |([tokens, width, rank], (label, byte, wide)): ([usize; 3], (&str, Draw, Draw))| {
        let params = lora_down::Params {
            tokens: tokens as u32,
            in_features: width as u32,
            rank: rank as u32,
            ..Default::default()
        };
        let x = rows::byte_rows(source, [tokens, width], byte);
        let a = rows::wide_rows(source, [rank, width], wide);
        let [out, info] = [tokens * wide_words(rank), tokens * INFO].map(|owned| source.before_write(owned));
        Case {
            kernel: &lora_down::KERNEL,
            label: format!("{tokens} tokens, {width} features, rank {rank}, {label}"),
            params: params.words(),
            inputs: vec![x, a, out, info],
        }
    };
    each().map(case).collect()
}

pub(super) fn down_backward(source: &mut CaseSource) -> Vec<Case> {
    let case = |([tokens, width, rank], (label, _, wide)): ([usize; 3], (&str, Draw, Draw))| {
        let params = lora_down_backward::Params {
            tokens: tokens as u32,
            out_features: width as u32,
            rank: rank as u32,
            ..Default::default()
        };
        let dy = rows::wide_rows(source, [tokens, width], wide);
        let b = rows::wide_rows(source, [rank, width], wide);
        let [out, info] = [tokens * wide_words(rank), tokens * INFO].map(|owned| source.before_write(owned));
        Case {
            kernel: &lora_down_backward::KERNEL,
            label: format!("{tokens} tokens, {width} features, rank {rank}, {label}"),
            params: params.words(),
            inputs: vec![dy, b, out, info],
        }
    };
    each().map(case).collect()
}

pub(super) fn up(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    for ([tokens, width, rank], (label, _, wide)) in each() {
        let count = cases.len();
        let (slot, slots) = [(0, 1), (1, 3), (2, 3)][count % 3];
        let rank = if count % 7 == 6 { 0 } else { rank };
        let fraction_bits = [0, 4, 9][count % 3];
        // Depending on the right shift, the adapter's share of the output is ordinary, 0, or so large that it
        // saturates.
        let right = [52, 120, 28, 70][count % 4];
        let product_scale = Scale { mantissa: source.within(1 << 30, i32::MAX) as u32, exponent: -40 };
        let params = lora_up::Params {
            tokens: tokens as u32,
            width: width as u32,
            rank: rank as u32,
            slot,
            slots,
            fraction_bits,
            ratio_at: 3,
            product_scale: product_scale.mantissa,
            product_scale_exponent: product_scale.exponent,
            ..Default::default()
        };
        let x_info = rows::infos(source, tokens, CONTENTS[count % CONTENTS.len()]);
        let [u, factor] = [tokens, width].map(|rows| match rank {
            0 => vec![source.word()], // with rank 0, the kernel does not read this buffer
            _ => rows::wide_rows(source, [rows, rank], wide),
        });
        let u_info = (0..tokens).flat_map(|_| [1 << 30, source.within(-30, -10) as u32, source.word(), 0]).collect();
        let ratio = source.within(1 << 23, (1 << 24) - 1) as u32;
        let lora_info = vec![source.word(), source.word(), source.word(), ratio, right as u32];
        let limit = (1 << (30 - fraction_bits)) - 1;
        let owned = tokens * slots as usize * (width + INFO);
        let mut y = source.before_write(owned);
        y.iter_mut().for_each(|y| *y = source.within(-limit, limit) as u32);
        cases.push(Case {
            kernel: &lora_up::KERNEL,
            label: format!(
                "{tokens} tokens, {width} features, rank {rank}, {label}, right shift {right}, slot {slot} of {slots}"
            ),
            params: params.words(),
            inputs: vec![x_info, u, u_info, factor, lora_info, y],
        });
    }
    cases.push(one_element("adapter's share out of range, sum in range", 20, -5));
    cases.push(one_element("adapter's share in range, sum out of range", 21, (1 << 30) - 1));
    cases
}

/// Returns a test case of `lora_up` whose output is a single number. Its exact value is
/// `y + 2^28 · (2^24 − 1) / 2^right`.
fn one_element(label: &str, right: i32, y: i32) -> Case {
    let params = lora_up::Params { tokens: 1, width: 1, rank: 1, slots: 1, ..Default::default() };
    let largest = {
        let mut words = vec![0; wide_words(1)];
        wide::set(as_bytes_mut(&mut words), 0, 1 << 14);
        words
    };
    let unit = Scale::ONE.words();
    let info = vec![unit[0], unit[1], 0, 0];
    Case {
        kernel: &lora_up::KERNEL,
        label: label.to_owned(),
        params: params.words(),
        inputs: vec![
            info.clone(),
            largest.clone(),
            info,
            largest,
            vec![(1 << 24) - 1, right as u32],
            vec![y as u32, 0, 0, 0, 0],
        ],
    }
}
