//! WebAssembly simd128: `i32x4.dot_i16x8` sums widened codes times widened bytes in pairs, in i32.

use super::{
    panel::{Blocks, Panel},
    product::RegisterTile,
};
use std::arch::wasm32::*;

/// 2 rows × 4 vectors of 2 columns (each in two lanes): 8 sums, 4 vectors of codes, a row's word.
pub(super) struct Tile;

impl RegisterTile for Tile {
    const ROWS: usize = 2;
    const COLUMNS: usize = 8;

    unsafe fn unpack(panel: &mut Panel, steps: usize, from: Blocks<'_>) {
        panel.unpack::<{ Self::COLUMNS / 4 }>(steps, from);
    }

    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
        match sums.len() / Self::COLUMNS {
            1 => multiply::<1>(rows, stride, panel, sums),
            2 => multiply::<2>(rows, stride, panel, sums),
            rows => unreachable!("{rows} rows"),
        }
    }
}

fn multiply<const ROWS: usize>(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
    let (panel, _) = panel.as_chunks::<{ Tile::COLUMNS }>();
    let (sums, _) = sums.as_chunks_mut::<4>();
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && sums.len() == 2 * ROWS);
    let mut lanes = [[i32x4_splat(0); 4]; ROWS];
    for (step, codes) in panel.iter().enumerate() {
        // SAFETY: the four loads are inside the 8 words of `codes`.
        let codes = unsafe { [0, 2, 4, 6].map(|word| i16x8_load_extend_u8x8(codes[word..].as_ptr().cast())) };
        for (row, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: row < ROWS and step < panel steps; the assertion above bounds their word.
            let bytes = unsafe { *rows.get_unchecked(row * stride + step) };
            let bytes = i16x8_extend_low_i8x16(u32x4_splat(bytes));
            for (lanes, codes) in lanes.iter_mut().zip(codes) {
                *lanes = i32x4_add(*lanes, i32x4_dot_i16x8(codes, bytes));
            }
        }
    }
    let pairs = lanes.as_flattened().chunks_exact(2);
    for (lanes, sums) in pairs.zip(sums) {
        let even = i32x4_shuffle::<0, 2, 4, 6>(lanes[0], lanes[1]);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(lanes[0], lanes[1]);
        // SAFETY: `sums` is 4 words.
        unsafe {
            let sums = sums.as_mut_ptr().cast();
            v128_store(sums, i32x4_add(v128_load(sums), i32x4_add(even, odd)));
        }
    }
}
