//! Test cases for the kernels of RMSNorm and of its gradient.

use super::{
    Case, CaseSource, Draw,
    rows::{self, CONTENTS, sign},
};
use crate::{
    kernels::{
        INFO, Kernel, rms_norm_backward, rms_norm_quantize, rms_norm_wide,
        shared::{rms::Rms, rows::row, wide::wide_words},
    },
    numbers::{fixed::Scale, ternary::row_words},
};

const GAINS: [Draw; 4] =
    [|s| s.within(0, 65_535), |s| sign(s) * 65_535, |s| s.within(-65_535, 65_535), |s| s.within(-1, 1)];
const GAIN_EXPONENT: i32 = -15;
/// Epsilon, the constant that RMSNorm adds to the mean square: about 1e-5.
const EPSILON: Scale = Scale { mantissa: 0x53e2_d624, exponent: -47 };

pub(super) fn quantize(source: &mut CaseSource) -> Vec<Case> {
    norm(source, &rms_norm_quantize::KERNEL, row_words)
}

pub(super) fn wide(source: &mut CaseSource) -> Vec<Case> {
    norm(source, &rms_norm_wide::KERNEL, wide_words)
}

/// Returns the test cases of a kernel that computes RMSNorm. `words` returns the number of words of an output row,
/// given the number of features.
fn norm(source: &mut CaseSource, kernel: &'static Kernel, words: fn(usize) -> usize) -> Vec<Case> {
    let mut cases = Vec::new();
    rows::each(&mut |shape, content| {
        let [tokens, width] = shape;
        let inverse_width = Scale::new(width as u64, 0).reciprocal();
        let params = rms_norm_quantize::Params {
            tokens: tokens as u32,
            width: width as u32,
            gain_exponent: GAIN_EXPONENT,
            inverse_width: inverse_width.mantissa,
            inverse_width_exponent: inverse_width.exponent,
            epsilon: EPSILON.mantissa,
            epsilon_exponent: EPSILON.exponent,
            ..Default::default()
        };
        let x = rows::i32_rows(source, shape, content);
        let gain = gains(source, width, cases.len());
        let owned = [tokens * words(width), tokens * INFO, tokens * INFO];
        let [out, out_info, norm_info] = owned.map(|owned| source.before_write(owned));
        cases.push(Case {
            kernel,
            label: format!("{tokens} tokens, {width} features, {values}", values = content.label),
            params: params.words(),
            inputs: vec![x, gain, out, out_info, norm_info],
        });
    });
    cases
}

pub(super) fn backward(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    rows::each(&mut |shape, content| {
        let ([tokens, width], count) = (shape, cases.len());
        let (slots, residual_stride) = (1 + count % 3, usize::from(count % 5 != 3));
        let inverse_width = Scale::new(width as u64, 0).reciprocal();
        let params = rms_norm_backward::Params {
            tokens: tokens as u32,
            width: width as u32,
            slots: slots as u32,
            residual_stride: residual_stride as u32,
            gain_exponent: GAIN_EXPONENT,
            inverse_width: inverse_width.mantissa,
            inverse_width_exponent: inverse_width.exponent,
            ..Default::default()
        };
        let dn = rows::i32_rows(source, [tokens * slots, width], content);
        let x = rows::i32_rows(source, shape, CONTENTS[[0, 1, 4, 5, 7][count % 5]]);
        let norms = (0..tokens).flat_map(|token| {
            let (values, scale) = row(&x, width, token);
            Rms::new(values, scale, inverse_width, EPSILON).words()
        });
        let norm_info = norms.collect();
        let residual = if residual_stride == 0 {
            [vec![0; width + INFO], source.words(2 * width)].concat() // the words after the row must not be used
        } else {
            rows::i32_rows(source, shape, CONTENTS[count % CONTENTS.len() * 5 % 7])
        };
        let gain = gains(source, width, count);
        cases.push(Case {
            kernel: &rms_norm_backward::KERNEL,
            label: format!(
                "{tokens} tokens, {width} features, {}, {slots} gradients, residual stride {residual_stride}",
                content.label
            ),
            params: params.words(),
            inputs: vec![dn, x, gain, norm_info, residual, source.before_write(tokens * (width + INFO))],
        });
    });
    cases
}

/// Returns `width` random gains (the weights of the norm), followed by three words that the kernel must not use.
/// `count` is the number of the kernel's test cases so far. It determines the range of the gains.
fn gains(source: &mut CaseSource, width: usize, count: usize) -> Vec<u32> {
    (0..width + 3).map(|_| GAINS[count % GAINS.len()](source) as u32).collect()
}
