//! Rows: a row of integers and the scale that makes numbers of them.

use crate::{kernels::INFO, numbers::fixed::Scale};

/// The info of `row`.
#[inline(always)]
pub fn info(info: &[u32], row: usize) -> Scale {
    Scale::from_words(&info[row * INFO..])
}

/// Writes one row info: scale and sum of integers.
#[inline(always)]
pub fn put_info(info: &mut [u32], scale: Scale, sum: i32) {
    info[..INFO].copy_from_slice(&[scale.mantissa, scale.exponent as u32, sum as u32, 0]);
}

/// The integers and scale of `row` of i32 rows.
#[inline(always)]
pub fn row(rows: &[u32], width: usize, row: usize) -> (&[i32], Scale) {
    let words = &rows[row * (width + INFO)..][..width + INFO];
    (bytemuck::cast_slice(&words[..width]), Scale::from_words(&words[width..]))
}

/// The integers and the info words of one i32 row to be written.
#[inline(always)]
pub fn split(row: &mut [u32], width: usize) -> (&mut [i32], &mut [u32]) {
    let (values, info) = row.split_at_mut(width);
    (bytemuck::cast_slice_mut(values), info)
}

/// The largest magnitude.
#[inline(always)]
pub fn max_magnitude(values: &[i32]) -> u32 {
    values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0)
}
