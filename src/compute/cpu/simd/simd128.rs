//! WebAssembly simd128: `i32x4.dot_i16x8` multiplies bytes by two columns at a time, which are held as
//! `trit + 2^14 · trit′`.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
};
use std::arch::wasm32::*;

/// A tile of 2 rows × 4 vectors of 2 pairs of columns, each pair in two lanes. Its registers hold 8 sums, a vector of
/// trits and the bytes of 2 rows.
pub(super) struct Tile;

/// The number of steps after which pairs are split. |Σ byte · trit| ≤ 31 · 2 · 128 < 2^13 in a lane, so 14 bits hold
/// the sum.
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
        match sums.len() / Self::COLUMNS {
            1 => multiply::<1>(rows, stride, panel, sums),
            2 => multiply::<2>(rows, stride, panel, sums),
            rows => unreachable!("{rows} rows"),
        }
    }
}

/// Converts the codes of columns 0..8, four to a word, to 16-bit pairs of columns 0 and 4, 1 and 5, 2 and 6, 3 and 7.
fn pair(words: &mut [u32; 8]) {
    let words = words.as_mut_ptr().cast::<v128>();
    // A pair of codes is a pair of trits plus `ones`.
    let ones = i16x8_splat(1 + (1 << 14));
    let join = |low, high| i16x8_sub(v128_or(low, i16x8_shl(high, 14)), ones);
    // SAFETY: two vectors are the 8 words.
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
                // SAFETY: row < ROWS and step < panel steps; the assertion above bounds their word.
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

/// Splits pairs of columns and adds them to the sums of columns 0..4 and 4..8.
fn split(lanes: &[v128; 2], sums: &mut [i32; 8]) {
    let low = lanes.map(|lanes| i32x4_shr(i32x4_shl(lanes, 18), 18));
    let high = lanes.map(|lanes| i32x4_shr(i32x4_add(lanes, i32x4_splat(1 << 13)), 14));
    let sums = sums.as_mut_ptr().cast::<v128>();
    for (part, at) in [low, high].into_iter().zip(0..) {
        let even = i32x4_shuffle::<0, 2, 4, 6>(part[0], part[1]);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(part[0], part[1]);
        // SAFETY: two vectors are the 8 sums.
        unsafe {
            let sums = sums.add(at);
            v128_store(sums, i32x4_add(v128_load(sums), i32x4_add(even, odd)));
        }
    }
}
