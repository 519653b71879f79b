//! Conversion of rows of integers to the operands of inner products: rows with two int16 values in each word, and panels
//! of 16 columns, by which [`multiply`](crate::compute::cpu::simd::wide::multiply) multiplies the rows.

use crate::compute::cpu::simd::wide::COLUMNS;

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

/// Decodes rows of `width` values each, and stores two values in each word: `[count, ceil(width / 2)]`. `decode` writes
/// the values of the row with a given index.
#[inline(always)]
pub(super) fn packed_rows(count: usize, width: usize, decode: impl Fn(usize, &mut [i16])) -> Vec<u32> {
    let words = width.div_ceil(2);
    let mut rows = vec![0; count * words];
    for (at, row) in rows.chunks_exact_mut(words).enumerate() {
        decode(at, &mut bytemuck::cast_slice_mut(row)[..width]);
    }
    rows
}

/// Converts rows of `words` words each to panels with one column for each row: `[ceil(rows / 16), words, 16]`. The last
/// panel is padded with zeros.
#[inline(always)]
pub(super) fn row_columns(rows: &[u32], words: usize) -> Vec<[u32; COLUMNS]> {
    let mut panels = vec![[0; COLUMNS]; (rows.len() / words).div_ceil(COLUMNS) * words];
    for (panel, rows) in panels.chunks_exact_mut(words).zip(rows.chunks(COLUMNS * words)) {
        for (column, row) in rows.chunks_exact(words).enumerate() {
            panel.iter_mut().zip(row).for_each(|(columns, &word)| columns[column] = word);
        }
    }
    panels
}

/// Converts `2 · steps` rows of int16 values to panels with one column for each value: `[stride / 16, steps, 16]`. A step
/// contains two neighboring rows. `stride`, the length of a row, must be a multiple of 16.
#[inline(always)]
pub(super) fn value_columns(rows: &[i16], stride: usize, steps: usize, panels: &mut [[u32; COLUMNS]]) {
    for (step, pair) in rows.chunks_exact(2 * stride).take(steps).enumerate() {
        let (first, second) = pair.split_at(stride);
        let groups = first.as_chunks::<COLUMNS>().0.iter().zip(second.as_chunks::<COLUMNS>().0);
        for (panel, (first, second)) in panels.chunks_exact_mut(steps).zip(groups) {
            for (word, (&first, &second)) in panel[step].iter_mut().zip(first.iter().zip(second)) {
                *word = u32::from(first as u16) | u32::from(second as u16) << 16;
            }
        }
    }
}
