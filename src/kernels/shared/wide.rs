//! Wide rows: rows of integers of magnitude ≤ 2^14. Each integer is stored as two int8 values, `256 · high + low`. All
//! high values of a row come first, then all low values.

use crate::numbers::{
    fixed::{WIDE_BITS, round_dither, round_even, shift_for},
    rng::Dither,
    ternary::row_words,
};

/// Returns the number of words of a wide row with `width` integers. Each integer is stored as two bytes, and the high
/// bytes and the low bytes are padded separately.
pub const fn wide_words(width: usize) -> usize {
    2 * row_words(width)
}

/// Returns the integer with the index `i` in a wide row, in which each integer is stored as two bytes,
/// `256 · high + low`. `row` contains the bytes of the wide row.
#[inline(always)]
pub fn get(row: &[i8], i: usize) -> i32 {
    256 * i32::from(row[i]) + i32::from(row[row.len() / 2 + i])
}

/// Returns the bytes of the wide row with the index `row` in a buffer of wide rows. A wide row contains `width`
/// integers, each stored as two bytes.
#[inline(always)]
pub fn row(words: &[u32], width: usize, row: usize) -> &[i8] {
    bytemuck::cast_slice(&words[row * wide_words(width)..][..wide_words(width)])
}

/// Sets the integer with the index `i` in a wide row to `value`. A wide row stores each integer as two bytes,
/// `256 · high + low`. `row` contains the bytes of the wide row.
#[inline(always)]
pub fn set(row: &mut [i8], i: usize, value: i32) {
    let half = row.len() / 2;
    row[i] = ((value + 128) >> 8) as i8;
    row[half + i] = value as i8;
}

/// Writes the integers `values / 2^shift`, rounded to nearest, ties to even, as a wide row. `shift` is the smallest
/// shift for which all quotients are below 2^14 in magnitude; rounding can raise a magnitude to 2^14. Returns `shift`
/// and the sum of the rounded integers.
#[inline(always)]
pub fn write_even(out: &mut [u32], values: &[i64]) -> (u32, i32) {
    write(out, values, None)
}

/// Writes the integers `values / 2^shift`, rounded stochastically, as a wide row. `shift` is the smallest shift for
/// which all quotients are below 2^14 in magnitude; rounding can raise a magnitude to 2^14. `dither` is a stream of
/// pseudorandom bits, addressed by row and column. The value `values[i]` uses the bits at row `index` and column `i`.
/// Returns `shift` and the sum of the rounded integers.
#[inline(always)]
pub fn write_dither(out: &mut [u32], values: &[i64], dither: Dither, index: u32) -> (u32, i32) {
    write(out, values, Some((dither, index)))
}

/// The number of columns for which the pseudorandom bits (dither) are computed in one call.
const GROUP: usize = 32;

#[inline(always)]
fn write(out: &mut [u32], values: &[i64], dither: Option<(Dither, u32)>) -> (u32, i32) {
    // The bitwise OR of all magnitudes has as many bits as the largest magnitude.
    let bits = values.iter().fold(0, |bits, value| bits | value.unsigned_abs());
    let shift = shift_for(bits, WIDE_BITS);
    let bytes: &mut [i8] = bytemuck::cast_slice_mut(out);
    let (high, low) = bytes.split_at_mut(bytes.len() / 2);
    high[values.len()..].fill(0);
    low[values.len()..].fill(0);
    let mut sum = 0;
    let (high, low) = (&mut high[..values.len()], &mut low[..values.len()]);
    let groups = values.chunks(GROUP).zip(high.chunks_mut(GROUP)).zip(low.chunks_mut(GROUP));
    for (group, ((values, high), low)) in groups.enumerate() {
        let mut rounded = [0i64; GROUP];
        match dither {
            Some((dither, index)) => {
                let dithers = dither.columns(index, (group * GROUP) as u32);
                for ((rounded, &value), dither) in rounded.iter_mut().zip(values).zip(dithers) {
                    *rounded = round_dither(value, shift, dither);
                }
            }
            None => {
                for (rounded, &value) in rounded.iter_mut().zip(values) {
                    *rounded = round_even(value, shift);
                }
            }
        }
        for ((rounded, high), low) in rounded.into_iter().zip(high).zip(low) {
            let rounded = rounded as i32;
            sum += rounded;
            *high = ((rounded + 128) >> 8) as i8;
            *low = rounded as i8;
        }
    }
    (shift, sum)
}
