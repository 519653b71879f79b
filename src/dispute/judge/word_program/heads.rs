//! The word programs of `rope` and `head_gradient_quantize`. Both kernels write head rows, which hold the values of one
//! token for one attention head. A head row is so short that a single step computes it.

use super::{
    StepContext, WordFault, WordProgram, bounded,
    quantize::{POSITIONS, turn},
    single::single,
};
use crate::{
    kernels::{
        INFO, head_gradient_quantize, rope,
        shared::heads::{head_words, put},
    },
    numbers::rng::Dither,
};

pub(super) const ROPE: WordProgram = single(&rope::KERNEL, rope);
pub(super) const HEAD_GRADIENT_QUANTIZE: WordProgram = single(&head_gradient_quantize::KERNEL, head_gradient_quantize);

fn rope(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = rope::Params::read(ctx.params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (token, at) = ctx.unit(heads * head_words(head_dim));
    let row = token * (heads * head_dim + INFO);
    let scale = ctx.scale(0, row + heads * head_dim)?;
    let position = ctx.index(1, token, POSITIONS)? * p.position_stride as usize;
    let first = row + at / head_words(head_dim) * head_dim;
    let half = head_dim / 2;
    let mut values = vec![0; head_dim];
    for i in 0..half {
        let pair = [ctx.int(0, first + i)?, ctx.int(0, first + half + i)?];
        let turned = turn(ctx, position * head_dim + 2 * i, pair)?;
        for (column, turned) in [i, half + i].into_iter().zip(turned) {
            values[column] = bounded(i128::from(turned) * i128::from(scale.mantissa))?;
        }
    }
    set_head_result(ctx, head_dim, at, &values, scale.exponent + 1, None)
}

fn head_gradient_quantize(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = head_gradient_quantize::Params::read(ctx.params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (token, at) = ctx.unit(heads * head_words(head_dim));
    let head = at / head_words(head_dim);
    let row = token * (heads * head_dim + INFO);
    let scale = ctx.scale(0, row + heads * head_dim)?;
    let (stream, index) = ctx.dither(1, p.stream, token)?;
    let mut values = vec![0; head_dim];
    for (i, value) in values.iter_mut().enumerate() {
        *value = ctx.int(0, row + head * head_dim + i)? * i64::from(scale.mantissa);
    }
    let index = index.wrapping_mul(p.heads).wrapping_add(head as u32);
    set_head_result(ctx, head_dim, at, &values, scale.exponent, Some((stream, index)))
}

/// Rounds `values · 2^exponent` to a head row (the values of one token for one attention head), and stores one word of
/// the row as the result. `at` is the index of this word among the words of the token's head rows. If `dither` is
/// given, the values are rounded stochastically. `dither` consists of a key and a row index, which determine the
/// pseudo-random bits. Otherwise the values are rounded to nearest, ties to even.
fn set_head_result(
    ctx: &mut StepContext,
    head_dim: usize,
    at: usize,
    values: &[i64],
    exponent: i32,
    dither: Option<(Dither, u32)>,
) -> Result<(), WordFault> {
    let mut row = vec![0; head_words(head_dim)];
    put(&mut row, head_dim, values, exponent, dither);
    ctx.set_result(row[at % head_words(head_dim)])
}
