//! Exact inner products `Σ a · b` of int16 and int8 integers. Partial sums are i32, and results are i64.
//!
//! A wide value is an integer of magnitude ≤ 2^14. A wide value times a byte (int8) is ≤ 2^21 in magnitude, so i32
//! holds the sum of [`CHUNK`] such products. To multiply two wide values, one of them is split into two bytes,
//! `256 · high + low`. The sums for `high` and for `low` are computed separately and then joined in i64.

use crate::kernels::shared::wide;

/// The number of neighboring results (sums of products) that are computed together in vector registers.
pub(super) const LANES: usize = 16;
/// The largest number of terms that are added in i32. A term is the product of a wide value (≤ 2^14 in magnitude) and a
/// byte (int8). The number must be less than 2^10, because a term can reach 2^21, and i32 cannot hold
/// `2^10 · 2^21 = 2^31`.
const CHUNK: usize = 992;

/// Splits a wide value (an integer ≤ 2^14 in magnitude) into two signed bytes `[high, low]`, so that the value is
/// `256 · high + low`.
#[inline(always)]
pub(super) fn split(value: i32) -> [i32; 2] {
    [(value + 128) >> 8, i32::from(value as i8)]
}

/// Decodes the first `out.len()` values of a wide row, in which each value is stored as two bytes, `256 · high + low`.
/// `row` holds the bytes: all high bytes, then all low bytes.
#[inline(always)]
pub(super) fn join(row: &[i8], out: &mut [i16]) {
    let (high, low) = row.split_at(row.len() / 2);
    for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
        *out = 256 * i16::from(high) + i16::from(low);
    }
}

/// Converts int8 values to int16.
#[inline(always)]
pub(super) fn widen(bytes: &[i8], out: &mut [i16]) {
    out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = byte.into());
}

/// Returns the inner product `Σ_i bytes[i] · wide[i]` of int8 values and wide values (integers ≤ 2^14 in magnitude).
/// The int8 values are passed as int16, because vector instructions multiply int16.
#[inline(always)]
pub(super) fn dot(bytes: &[i16], wide: &[i16]) -> i64 {
    let mut total = 0;
    for (bytes, wide) in bytes.chunks(CHUNK).zip(wide.chunks(CHUNK)) {
        let mut sum = 0i32;
        for (&byte, &wide) in bytes.iter().zip(wide) {
            sum += i32::from(byte) * i32::from(wide);
        }
        total += i64::from(sum);
    }
    total
}

/// Multiplies a vector of weights by 16 neighboring columns of a matrix. A weight `256 · high + low` is given as
/// `[high, low]`, and `stride` is the length of the rows of the matrix. Returns
/// `Σ_i (256 · weights[i][0] + weights[i][1]) · rows[i · stride + lane]` for each `lane` from 0 to 15. There must be at
/// most [`CHUNK`] weights.
#[inline(always)]
pub(super) fn tile(weights: &[[i32; 2]], rows: &[i16], stride: usize) -> [i64; LANES] {
    let (mut highs, mut lows) = ([0i32; LANES], [0i32; LANES]);
    for (&[high, low], row) in weights.iter().zip(rows.chunks(stride)) {
        let Some(row) = row.first_chunk::<LANES>() else { break };
        for lane in 0..LANES {
            highs[lane] += high * i32::from(row[lane]);
            lows[lane] += low * i32::from(row[lane]);
        }
    }
    let mut sums = [0; LANES];
    for lane in 0..LANES {
        sums[lane] = 256 * i64::from(highs[lane]) + i64::from(lows[lane]);
    }
    sums
}

/// Decodes a matrix of [wide rows](crate::kernels) (rows of integers, each split into two int8 values), and transposes
/// each group of [`LANES`] rows. The result has the shape `[groups, columns, LANES]`; the last group is padded with
/// zeros.
#[inline(always)]
pub(super) fn columns<'a>(rows: impl ExactSizeIterator<Item = &'a [i8]>, columns: usize) -> Vec<i16> {
    let mut tiles = vec![0; rows.len().div_ceil(LANES) * LANES * columns];
    for (at, row) in rows.enumerate() {
        let tile = &mut tiles[at / LANES * LANES * columns..][..LANES * columns];
        for (column, lanes) in tile.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            lanes[at % LANES] = wide::get(row, column) as i16;
        }
    }
    tiles
}
