//! Test cases for the kernels that compute an adapter's gradient as a sum over blocks of up to 32 tokens. The test
//! cases include full blocks, partial blocks, and blocks of one token.

use super::{
    Case, CaseSource, Draw,
    rows::{self, CONTENTS, OPERANDS},
};
use crate::kernels::{
    as_bytes_mut,
    lora_fold::{self, FOLD},
    lora_gradient_a, lora_gradient_b,
    shared::{
        blocks::{BLOCK, ZERO_EXPONENT},
        wide,
    },
};

/// The sizes of the test cases: the number of features, the rank of the adapter, and the number of tokens in each
/// block.
const SHAPES: [(usize, usize, &[u32]); 7] = [
    (1, 1, &[1]),
    (5, 4, &[32]),
    (36, 8, &[32, 7]),
    (67, 20, &[3, 32, 32, 30]),
    (300, 5, &[31, 1]),
    (1030, 64, &[32]),
    (40, 6, &[9; 35]),
];
/// The exponent of the gradient in the test cases: an integer `g` of the gradient represents the real value
/// `g · 2^EXPONENT`. In training, the job states this exponent for each matrix.
const EXPONENT: i32 = -50;
/// Two special values of the parameter `farthest` of a test case. The parameter is the largest number of bits by which
/// the sum of a block is shifted left. If it is `ABOVE`, all elements of the gradient before the dispatch are above the
/// valid range; if it is `BELOW`, they are below this range.
const ABOVE: i32 = 10;
const BELOW: i32 = -20;

/// Returns two words for each block (the index of its first token, and the number of its tokens), and the total number
/// of tokens. Token 0 belongs to no block.
fn spans(blocks: &[u32]) -> (Vec<u32>, usize) {
    let mut first = 1;
    let mut words = Vec::new();
    for tokens in blocks {
        words.extend([first, *tokens]);
        first += tokens;
    }
    (words, first as usize)
}

pub(super) fn fold(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = Vec::new();
    for (_, rank, blocks) in SHAPES {
        for content in CONTENTS {
            let (spans, tokens) = spans(blocks);
            let params = lora_fold::Params {
                blocks: blocks.len() as u32,
                rank: rank as u32,
                scale_at: 1,
                stream: 1,
                ..Default::default()
            };
            let u = rows::wide_rows(source, [tokens, rank], OPERANDS[cases.len() % 3].2);
            let u_info =
                (0..tokens).flat_map(|_| [1 << 30, source.within(-30, -10) as u32, source.word(), 0]).collect();
            let x_info = rows::infos(source, tokens, content);
            let dy_info = rows::infos(source, tokens, CONTENTS[[0, 3, 6][cases.len() % 3]]);
            let lora_info = vec![source.word(), source.within(1 << 30, i32::MAX) as u32, -33i32 as u32];
            let out = source.before_write(blocks.len() * rank * FOLD);
            cases.push(Case {
                kernel: &lora_fold::KERNEL,
                label: format!("rank {rank}, blocks of {blocks:?} tokens, {values}", values = content.label),
                params: params.words(),
                inputs: vec![u, u_info, x_info, dy_info, spans, lora_info, source.dither(1), out],
            });
        }
    }
    cases
}

pub(super) fn gradient_a(source: &mut CaseSource) -> Vec<Case> {
    each(source, case_a)
}

pub(super) fn gradient_b(source: &mut CaseSource) -> Vec<Case> {
    each(source, case_b)
}

/// Returns a test case of `lora_gradient_a` in a size that occurs in training, with blocks of 32 tokens.
pub(super) fn large_gradient_a(source: &mut CaseSource, tokens: usize) -> Case {
    case_a(source, (1024, 8, &large(tokens)), OPERANDS[0], 20)
}

/// Returns a test case of `lora_gradient_b` in a size that occurs in training, with blocks of 32 tokens.
pub(super) fn large_gradient_b(source: &mut CaseSource, tokens: usize) -> Case {
    case_b(source, (1024, 8, &large(tokens)), OPERANDS[0], 20)
}

fn large(tokens: usize) -> Vec<u32> {
    vec![BLOCK as u32; tokens.div_ceil(BLOCK)]
}

fn case_a(source: &mut CaseSource, shape: BlocksShape<'_>, (label, byte, wide): Operand, farthest: i32) -> Case {
    let (width, rank, blocks) = shape;
    let (spans, tokens) = spans(blocks);
    let params = lora_gradient_a::Params {
        blocks: blocks.len() as u32,
        in_features: width as u32,
        rank: rank as u32,
        exponent_at: 2,
        ..Default::default()
    };
    let x = rows::byte_rows(source, [tokens, width], byte);
    let folded = folded_rows(source, rank, blocks, wide, farthest);
    let lora_info = vec![source.word(), source.word(), EXPONENT as u32];
    Case {
        kernel: &lora_gradient_a::KERNEL,
        label: format!(
            "{width} features, rank {rank}, blocks of {blocks:?} tokens, {label}, shifted by at most {farthest} bits"
        ),
        params: params.words(),
        inputs: vec![x, folded, spans, lora_info, gradient(source, rank * width, farthest)],
    }
}

fn case_b(source: &mut CaseSource, shape: BlocksShape<'_>, (label, _, wide): Operand, farthest: i32) -> Case {
    let (width, rank, blocks) = shape;
    let (spans, tokens) = spans(blocks);
    let params = lora_gradient_b::Params {
        blocks: blocks.len() as u32,
        out_features: width as u32,
        rank: rank as u32,
        exponent_at: 2,
        ..Default::default()
    };
    let dy = rows::wide_rows(source, [tokens, width], wide);
    let folded = folded_rows(source, rank, blocks, wide, farthest);
    let lora_info = vec![source.word(), source.word(), EXPONENT as u32];
    Case {
        kernel: &lora_gradient_b::KERNEL,
        label: format!(
            "{width} features, rank {rank}, blocks of {blocks:?} tokens, {label}, shifted by at most {farthest} bits"
        ),
        params: params.words(),
        inputs: vec![dy, folded, spans, lora_info, gradient(source, rank * width, farthest)],
    }
}

type BlocksShape<'a> = (usize, usize, &'a [u32]);
type Operand = (&'static str, Draw, Draw);

/// Returns a test case for every combination of a size in `SHAPES` and a kind of operands in `OPERANDS`. The function
/// `case` builds a test case. The sum of each block is shifted to the exponent of the gradient. The last argument of
/// `case` is the largest number of bits by which a sum is shifted left. A left shift of more than 28 bits sets the
/// saturation flag.
fn each(
    source: &mut CaseSource,
    case: impl Fn(&mut CaseSource, BlocksShape<'static>, Operand, i32) -> Case,
) -> Vec<Case> {
    let all = SHAPES.iter().flat_map(|shape| OPERANDS.map(|operand| (*shape, operand)));
    let all = all.zip([20, 28, BELOW, 29, ABOVE].iter().cycle());
    all.map(|((shape, operand), farthest)| case(source, shape, operand, *farthest)).collect()
}

/// Returns folded rows, as the kernel `lora_fold` writes them. A folded row contains 32 integers, one for each token of
/// a block, and an exponent. If a block has fewer than 32 tokens, the integers after the last token are 0. No exponent
/// of a row exceeds the exponent of the gradient by more than `farthest`.
fn folded_rows(source: &mut CaseSource, rank: usize, blocks: &[u32], value: Draw, farthest: i32) -> Vec<u32> {
    let mut words = vec![0; blocks.len() * rank * FOLD];
    for (row, tokens) in words.chunks_exact_mut(FOLD).zip(blocks.iter().flat_map(|tokens| vec![*tokens; rank])) {
        let (planes, info) = row.split_at_mut(FOLD - 4);
        (0..tokens as usize).for_each(|i| wide::set(as_bytes_mut(planes), i, value(source)));
        let exponent =
            if source.within(0, 7) == 0 { ZERO_EXPONENT - 16 } else { EXPONENT + farthest - source.within(0, 40) };
        info[0] = exponent as u32;
    }
    words
}

/// Returns the words of the gradient's buffer before the dispatch: `count` elements of two words each, and then some
/// words that the kernel must leave unchanged. The elements are above the valid range if `farthest` is `ABOVE`, below
/// it if `farthest` is `BELOW`, and otherwise within it.
fn gradient(source: &mut CaseSource, count: usize, farthest: i32) -> Vec<u32> {
    let mut words = source.before_write(2 * count);
    for high in words[..2 * count].iter_mut().skip(1).step_by(2) {
        *high = match farthest {
            ABOVE => 0x4000_0000 | *high >> 3,
            BELOW => 0x8000_0000 | *high >> 3,
            _ => (*high as i32 >> 4) as u32,
        };
    }
    words
}
