//! The part of the ternary matrix products that is implemented with the simd128 instructions of WebAssembly. The trits
//! of two columns are packed into one int16: the trit of the first column, plus 2^14 times the trit of the second. One
//! instruction, `i32x4.dot_i16x8`, therefore multiplies bytes (the int8 elements of a row) by both columns.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
    wide::{self, WideTile},
};
use std::arch::wasm32::*;

/// The register tile for simd128: the block of sums that is held in vector registers, at most 2 rows × 16 columns. Each
/// row takes 4 vectors of four lanes. A vector holds 2 pairs of columns, each pair as two partial sums in two lanes.
/// The computation needs 11 vector registers: 8 for sums, one for trits, and 2 for the bytes of the rows.
pub(in crate::compute::cpu) struct Tile;

/// The number of steps after which the sums of column pairs are split into sums of single columns. A lane holds the
/// sums of both columns of a pair. In each step, two products of a byte and a trit are added for each of these columns.
/// After 31 steps, the sum of a column is at most 31 · 2 · 128 < 2^13 in magnitude, so 14 bits hold the sum of the
/// first column of a pair.
const SPLIT: usize = 31;

impl RegisterTile for Tile {
    const ROWS: usize = 2;
    const COLUMNS: usize = 16;
    const OFFSET: i32 = 0;

    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>) {
        panel.unpack::<{ Self::COLUMNS / 4 }>(steps, from);
        let (eights, _) = panel.codes_mut(steps, Self::COLUMNS).as_chunks_mut::<8>();
        eights.iter_mut().for_each(pair);
    }

    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
        for_rows!(sums.len() / Self::COLUMNS, [1, 2], multiply(rows, stride, panel, sums))
    }
}

/// Converts the codes (trits plus 1) of 8 columns, four codes in each word, to pairs of trits, each pair packed into
/// one int16. The paired columns are 0 and 4, 1 and 5, 2 and 6, and 3 and 7.
fn pair(words: &mut [u32; 8]) {
    let words = words.as_mut_ptr().cast::<v128>();
    // A packed pair of codes is the packed pair of trits plus `ones`.
    let ones = i16x8_splat(1 + (1 << 14));
    let join = |low, high| i16x8_sub(v128_or(low, i16x8_shl(high, 14)), ones);
    // SAFETY: the two vectors are exactly the 8 words.
    unsafe {
        let (low, high) = (v128_load(words), v128_load(words.add(1)));
        v128_store(words, join(i16x8_extend_low_i8x16(low), i16x8_extend_low_i8x16(high)));
        v128_store(words.add(1), join(i16x8_extend_high_i8x16(low), i16x8_extend_high_i8x16(high)));
    }
}

fn multiply<const ROWS: usize>(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
    let (panel, _) = panel.as_chunks::<{ Tile::COLUMNS }>();
    let (sums, _) = sums.as_chunks_mut::<8>();
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && sums.len() == 2 * ROWS);
    for (panel, first) in panel.chunks(SPLIT).zip((0..).step_by(SPLIT)) {
        let mut lanes = [[i32x4_splat(0); 4]; ROWS];
        for (pairs, step) in panel.iter().zip(first..) {
            // SAFETY: the four loads are inside the 16 words of `pairs`.
            let pairs = unsafe { [0, 4, 8, 12].map(|word| v128_load(pairs[word..].as_ptr().cast())) };
            for (row, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: row < ROWS and step < the steps of the panel; the assertion above bounds the index.
                let bytes = unsafe { v128_load32_splat(rows.get_unchecked(row * stride + step)) };
                let bytes = i16x8_extend_low_i8x16(bytes);
                for (lanes, pairs) in lanes.iter_mut().zip(pairs) {
                    *lanes = i32x4_add(*lanes, i32x4_dot_i16x8(pairs, bytes));
                }
            }
        }
        let (lanes, _) = lanes.as_flattened().as_chunks();
        lanes.iter().zip(sums.iter_mut()).for_each(|(lanes, sums)| split(lanes, sums));
    }
}

/// Splits the sums of column pairs into the sums of their columns, and adds these to `sums`, the sums of 8 columns. A
/// lane of `lanes` holds the sum of the first column of a pair, plus 2^14 times the sum of the second.
fn split(lanes: &[v128; 2], sums: &mut [i32; 8]) {
    let low = lanes.map(|lanes| i32x4_shr(i32x4_shl(lanes, 18), 18));
    let high = lanes.map(|lanes| i32x4_shr(i32x4_add(lanes, i32x4_splat(1 << 13)), 14));
    let sums = sums.as_mut_ptr().cast::<v128>();
    for (part, at) in [low, high].into_iter().zip(0..) {
        let even = i32x4_shuffle::<0, 2, 4, 6>(part[0], part[1]);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(part[0], part[1]);
        // SAFETY: `sums` has 8 elements, and `at` is 0 or 1.
        unsafe {
            let sums = sums.add(at);
            v128_store(sums, i32x4_add(v128_load(sums), i32x4_add(even, odd)));
        }
    }
}

/// The register tile of inner products of wide rows: at most 2 rows × 16 columns, 4 vectors of four columns for each
/// row.
impl WideTile for Tile {
    const ROWS: usize = 2;

    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[[u32; wide::COLUMNS]], dots: &mut [[i64; wide::COLUMNS]]) {
        for_rows!(dots.len(), [1, 2], multiply_wide(rows, stride, panel, dots))
    }
}

fn multiply_wide<const ROWS: usize>(
    rows: &[u32],
    stride: usize,
    panel: &[[u32; wide::COLUMNS]],
    dots: &mut [[i64; wide::COLUMNS]],
) {
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && dots.len() == ROWS);
    let (groups, rest) = panel.as_chunks::<{ wide::GROUP }>();
    // Two of the four vectors of a row at a time, so that the sums stay in registers.
    for first in [0, 2] {
        let mut sums = [[[i32x4_splat(0); 2]; 2]; ROWS];
        for (at, group) in groups.iter().enumerate() {
            // SAFETY: the steps from `at · GROUP` on are in the panel; the assertion above bounds the rows.
            unsafe { add(&mut sums, rows, stride, at * wide::GROUP, first, group) };
        }
        for (step, columns) in (groups.len() * wide::GROUP..).zip(rest) {
            // SAFETY: as above.
            unsafe { add(&mut sums, rows, stride, step, first, &[*columns]) };
        }
        for ([low, high], dots) in sums.iter().zip(dots.iter_mut()) {
            for ((low, high), dots) in low.iter().zip(high).zip(dots.as_chunks_mut::<4>().0[first..].iter_mut()) {
                let rest = i32x4_sub(*low, i32x4_shl(*high, 16));
                let first = i64x2_add(i64x2_shl(i64x2_extend_low_i32x4(*high), 16), u64x2_extend_low_u32x4(rest));
                let second = i64x2_add(i64x2_shl(i64x2_extend_high_i32x4(*high), 16), u64x2_extend_high_u32x4(rest));
                let dots = dots.as_mut_ptr().cast::<v128>();
                // SAFETY: `dots` has 4 elements, which are two vectors.
                unsafe {
                    v128_store(dots, first);
                    v128_store(dots.add(1), second);
                }
            }
        }
    }
}

/// Adds the products of a few steps to `sums`: for each row, two vectors of `low` and two of `high`. `first` is the
/// first of the two vectors of columns.
///
/// # Safety
/// `rows` must have the words of the `STEPS` steps from `step` on, for each row, and `first` must be at most 2.
#[inline]
unsafe fn add<const ROWS: usize, const STEPS: usize>(
    sums: &mut [[[v128; 2]; 2]; ROWS],
    rows: &[u32],
    stride: usize,
    step: usize,
    first: usize,
    panel: &[[u32; wide::COLUMNS]; STEPS],
) {
    for (row, [low, high]) in sums.iter_mut().enumerate() {
        for (vector, (low, high)) in (first..).zip(low.iter_mut().zip(high)) {
            let mut sum = i32x4_splat(0);
            for (at, columns) in panel.iter().enumerate() {
                // SAFETY: the caller guarantees that the word exists; the load is inside the 16 words of `columns`.
                let (word, columns) = unsafe {
                    (
                        v128_load32_splat(rows.get_unchecked(row * stride + step + at)),
                        v128_load(columns[4 * vector..].as_ptr().cast()),
                    )
                };
                sum = i32x4_add(sum, i32x4_dot_i16x8(word, columns));
            }
            *low = i32x4_add(*low, sum);
            *high = i32x4_add(*high, i32x4_shr(sum, 16));
        }
    }
}
