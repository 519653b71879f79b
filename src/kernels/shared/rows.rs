//! Rows of integers with a scale. An integer times the scale of its row is the real value that the integer represents.

use crate::{kernels::INFO, numbers::fixed::Scale};

/// Returns the scale of the row with the index `row`. `info` is the buffer with the row info of all rows.
#[inline(always)]
pub fn info(info: &[u32], row: usize) -> Scale {
    Scale::from_words(&info[row * INFO..])
}

/// Writes the row info of one row: the mantissa and the exponent of its scale, the sum of its integers, and a zero.
#[inline(always)]
pub fn put_info(info: &mut [u32], scale: Scale, sum: i32) {
    info[..INFO].copy_from_slice(&[scale.mantissa, scale.exponent as u32, sum as u32, 0]);
}

/// Returns the integers and the scale of the row with the index `row` in a buffer of i32 rows (integers, then the scale
/// of the row). `width` is the number of integers in a row.
#[inline(always)]
pub fn row(rows: &[u32], width: usize, row: usize) -> (&[i32], Scale) {
    let words = &rows[row * (width + INFO)..][..width + INFO];
    (bytemuck::cast_slice(&words[..width]), Scale::from_words(&words[width..]))
}

/// Splits an i32 row of `width` integers into two mutable slices: its integers and its row info, which contains the
/// scale of the row.
#[inline(always)]
pub fn split(row: &mut [u32], width: usize) -> (&mut [i32], &mut [u32]) {
    let (values, info) = row.split_at_mut(width);
    (bytemuck::cast_slice_mut(values), info)
}

/// Returns the largest magnitude among the values, or 0 if there are no values.
#[inline(always)]
pub fn max_magnitude(values: &[i32]) -> u32 {
    values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0)
}
