//! Test cases for the feed-forward nonlinearity, for its gradient, and for `gradient_quantize`, which rounds gradients
//! of the residual stream.

use super::{
    Case, CaseSource,
    rows::{self, CONTENTS},
};
use crate::kernels::{
    INFO, gated_relu_squared, gated_relu_squared_backward, gradient_quantize, shared::wide::wide_words,
};

pub(super) fn gated(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    rows::each(&mut |shape, content| {
        let [tokens, width] = shape;
        let params = gated_relu_squared::Params { tokens: tokens as u32, width: width as u32, ..Default::default() };
        let gate = rows::i32_rows(source, shape, content);
        let up = rows::i32_rows(source, shape, CONTENTS[cases.len() % CONTENTS.len() / 3]);
        cases.push(Case {
            kernel: &gated_relu_squared::KERNEL,
            label: format!("{tokens} tokens, {width} features, {values}", values = content.label),
            params: params.words(),
            inputs: vec![gate, up, source.before_write(tokens * (width + INFO))],
        });
    });
    cases
}

pub(super) fn gated_backward(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    rows::each(&mut |shape, content| {
        let [tokens, width] = shape;
        let params = gated_relu_squared_backward::Params {
            tokens: tokens as u32,
            width: width as u32,
            gate_stream: 0,
            up_stream: 2,
            ..Default::default()
        };
        let dout = rows::i32_rows(source, shape, content);
        let gate = rows::i32_rows(source, shape, CONTENTS[cases.len() % CONTENTS.len() / 2]);
        let up = rows::i32_rows(source, shape, CONTENTS[cases.len() % 5]);
        let dither = source.dither(2);
        let owned = [tokens * wide_words(width), tokens * INFO];
        let [dgate, dgate_info] = owned.map(|owned| source.before_write(owned));
        let [dup, dup_info] = owned.map(|owned| source.before_write(owned));
        cases.push(Case {
            kernel: &gated_relu_squared_backward::KERNEL,
            label: format!("{tokens} tokens, {width} features, {values}", values = content.label),
            params: params.words(),
            inputs: vec![dout, gate, up, dither, dgate, dgate_info, dup, dup_info],
        });
    });
    cases
}

pub(super) fn quantize(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    rows::each(&mut |shape, content| {
        let [tokens, width] = shape;
        let params =
            gradient_quantize::Params { tokens: tokens as u32, width: width as u32, stream: 1, ..Default::default() };
        let gradient = rows::i32_rows(source, shape, content);
        let owned = [tokens * wide_words(width), tokens * INFO];
        let [dy, dy_info] = owned.map(|owned| source.before_write(owned));
        cases.push(Case {
            kernel: &gradient_quantize::KERNEL,
            label: format!("{tokens} tokens, {width} features, {values}", values = content.label),
            params: params.words(),
            inputs: vec![gradient, source.dither(1), dy, dy_info],
        });
    });
    cases
}
