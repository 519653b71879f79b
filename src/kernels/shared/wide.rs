//! Wide rows: magnitude ≤ 2^14, held as two int8 planes `256 · high + low`.

use crate::{
    fixed::{WIDE_BITS, round_dither, round_even, shift_for},
    rng::Dither,
    ternary::row_words,
};

/// Words of a wide row.
pub const fn wide_words(width: usize) -> usize {
    2 * row_words(width)
}

/// Element `i` of a wide row given as bytes.
#[inline(always)]
pub fn get(row: &[i8], i: usize) -> i32 {
    256 * i32::from(row[i]) + i32::from(row[row.len() / 2 + i])
}

/// The `row`-th wide row of a buffer as bytes.
#[inline(always)]
pub fn row(words: &[u32], width: usize, row: usize) -> &[i8] {
    bytemuck::cast_slice(&words[row * wide_words(width)..][..wide_words(width)])
}

/// Sets element `i` of a wide row given as bytes.
#[inline(always)]
pub fn set(row: &mut [i8], i: usize, value: i32) {
    let half = row.len() / 2;
    row[i] = ((value + 128) >> 8) as i8;
    row[half + i] = value as i8;
}

/// Fills a wide row with `values / 2^shift` to nearest even; returns the shift and the row's sum.
#[inline(always)]
pub fn write_even(out: &mut [u32], values: &[i64]) -> (u32, i32) {
    write(out, values, |_, value, shift| round_even(value, shift))
}

/// Fills a wide row with `values / 2^shift`, rounded by the dither of (`index`, column).
#[inline(always)]
pub fn write_dither(out: &mut [u32], values: &[i64], dither: Dither, index: u32) -> (u32, i32) {
    write(out, values, |i, value, shift| round_dither(value, shift, dither.at(index, i as u32)))
}

#[inline(always)]
fn write(out: &mut [u32], values: &[i64], round: impl Fn(usize, i64, u32) -> i64) -> (u32, i32) {
    let max = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
    let shift = shift_for(max, WIDE_BITS);
    let bytes: &mut [i8] = bytemuck::cast_slice_mut(out);
    let (high, low) = bytes.split_at_mut(bytes.len() / 2);
    let mut sum = 0;
    for (i, &value) in values.iter().enumerate() {
        let rounded = round(i, value, shift) as i32;
        sum += rounded;
        high[i] = ((rounded + 128) >> 8) as i8;
        low[i] = rounded as i8;
    }
    high[values.len()..].fill(0);
    low[values.len()..].fill(0);
    (shift, sum)
}
