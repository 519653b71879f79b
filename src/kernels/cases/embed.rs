//! Test cases for the two kernels that write the residual stream: `embed`, which initializes it, and `residual_add`,
//! which adds to it.

use super::{
    Case, CaseSource,
    rows::{self, OPERANDS, SHAPES},
};
use crate::kernels::{INFO, embed, residual_add};

pub(super) fn embed(source: &mut CaseSource) -> Vec<Case> {
    const VOCAB: usize = 7;
    // Shards, given by the first ID and the number of IDs: the whole vocabulary, its first shard, its last shard, and
    // one in between.
    const SHARDS: [(u32, u32); 4] = [(0, 7), (0, 4), (4, 3), (2, 4)];
    let each = SHAPES.iter().flat_map(|shape| OPERANDS.map(|operand| (*shape, operand)));
    // Right shifts by no bits, by a few bits, and by all bits; then left shifts (negative), of which the last two
    // saturate.
    let each = each.zip([0, 5, 40, -3, -12, -40].iter().cycle()).enumerate();
    each.map(|(number, ((shape, (label, byte, _)), shift))| {
        let [tokens, width] = shape;
        let (vocab_offset, vocab) = SHARDS[number * 3 % 4];
        let params = embed::Params {
            tokens: tokens as u32,
            width: width as u32,
            shift: *shift,
            fraction_bits: 16,
            vocab_offset,
            vocab,
            ..Default::default()
        };
        let ids = (0..tokens).map(|_| source.within(0, VOCAB as i32 - 1) as u32).collect();
        let embedding = rows::byte_rows(source, [vocab as usize, width], byte);
        let row_scales = (0..vocab).map(|id| if id == 0 { 0xffff } else { source.within(0, 0xffff) as u32 }).collect();
        Case {
            kernel: &embed::KERNEL,
            label: format!(
                "{tokens} tokens, {width} features, {label}, shift {shift}, {vocab} token IDs from ID {vocab_offset} on"
            ),
            params: params.words(),
            inputs: vec![ids, embedding, row_scales, source.before_write(tokens * (width + INFO))],
        }
    })
    .collect()
}

pub(super) fn residual_add(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    rows::each(&mut |shape, content| {
        let fraction_bits = [0, 14, 31][cases.len() % 3];
        let params = residual_add::Params {
            tokens: shape[0] as u32,
            width: shape[1] as u32,
            fraction_bits,
            ..Default::default()
        };
        let residual = rows::i32_rows(source, shape, rows::CONTENTS[cases.len() % 5]);
        let y = rows::i32_rows(source, shape, content);
        cases.push(Case {
            kernel: &residual_add::KERNEL,
            label: format!(
                "{} tokens, {} features, {}, {fraction_bits} fraction bits",
                shape[0], shape[1], content.label
            ),
            params: params.words(),
            inputs: vec![residual, y, source.before_write(shape[0] * (shape[1] + INFO))],
        });
    });
    // `y` alone is out of range, although the sum is in range.
    let mut over = cases[0].clone();
    over.label = "y out of range, sum in range".to_owned();
    over.inputs[0][0] = -5i32 as u32;
    over.inputs[1][..3].copy_from_slice(&[i32::MAX as u32, 1 << 30, 0]);
    cases.push(over);
    cases
}
