//! Head rows: one head is small enough for one step.

use super::{
    Desk, Fault, Tape, bounded,
    quantize::{POSITIONS, turn},
    single::single,
};
use crate::{
    kernels::{
        INFO, head_gradient_quantize, rope,
        shared::heads::{head_words, put},
    },
    rng::Dither,
};

pub(super) const ROPE: Tape = single(&rope::KERNEL, rope);
pub(super) const HEAD_GRADIENT_QUANTIZE: Tape = single(&head_gradient_quantize::KERNEL, head_gradient_quantize);

fn rope(desk: &mut Desk, _: usize) -> Result<(), Fault> {
    let p = rope::Params::read(desk.params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (token, at) = desk.unit(heads * head_words(head_dim));
    let row = token * (heads * head_dim + INFO);
    let scale = desk.scale(0, row + heads * head_dim)?;
    let position = desk.index(1, token, POSITIONS)? * p.position_stride as usize;
    let first = row + at / head_words(head_dim) * head_dim;
    let half = head_dim / 2;
    let mut values = vec![0; head_dim];
    for i in 0..half {
        let pair = [desk.int(0, first + i)?, desk.int(0, first + half + i)?];
        let turned = turn(desk, position * head_dim + 2 * i, pair)?;
        for (column, turned) in [i, half + i].into_iter().zip(turned) {
            values[column] = bounded(i128::from(turned) * i128::from(scale.mantissa))?;
        }
    }
    answer(desk, head_dim, at, &values, scale.exponent + 1, None)
}

fn head_gradient_quantize(desk: &mut Desk, _: usize) -> Result<(), Fault> {
    let p = head_gradient_quantize::Params::read(desk.params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (token, at) = desk.unit(heads * head_words(head_dim));
    let head = at / head_words(head_dim);
    let row = token * (heads * head_dim + INFO);
    let scale = desk.scale(0, row + heads * head_dim)?;
    let (stream, index) = desk.dither(1, p.stream, token)?;
    let mut values = vec![0; head_dim];
    for (i, value) in values.iter_mut().enumerate() {
        *value = desk.int(0, row + head * head_dim + i)? * i64::from(scale.mantissa);
    }
    let index = index.wrapping_mul(p.heads).wrapping_add(head as u32);
    answer(desk, head_dim, at, &values, scale.exponent, Some((stream, index)))
}

fn answer(
    desk: &mut Desk,
    head_dim: usize,
    at: usize,
    values: &[i64],
    exponent: i32,
    dither: Option<(Dither, u32)>,
) -> Result<(), Fault> {
    let mut row = vec![0; head_words(head_dim)];
    put(&mut row, head_dim, values, exponent, dither);
    desk.answer(row[at % head_words(head_dim)])
}
