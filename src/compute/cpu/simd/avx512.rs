//! The part of the ternary matrix products that is implemented with AVX-512 and VNNI. The instruction `vpdpbusd`
//! multiplies codes (trits plus 1) by bytes (the int8 elements of a row), and adds four neighboring products to a sum,
//! in i32.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
};
use std::arch::x86_64::*;

/// The register tile for AVX-512: the block of sums that is held in vector registers, at most 12 rows × 32 columns (2
/// vectors of 16 columns for each row). The computation uses 27 vector registers: 24 for sums, 2 for codes (trits plus
/// 1), and one for four int8 elements of a row.
pub(super) struct Tile;

impl RegisterTile for Tile {
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>) {
        panel.unpack::<{ Self::COLUMNS / 4 }>(steps, from);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
        for_rows!(
            sums.len() / Self::COLUMNS,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            multiply(rows, stride, panel, sums)
        )
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply<const ROWS: usize>(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
    let (panel, _) = panel.as_chunks::<{ Tile::COLUMNS }>();
    let (sums, _) = sums.as_chunks_mut::<16>();
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && sums.len() == 2 * ROWS);
    let mut lanes = [[_mm512_setzero_si512(); 2]; ROWS];
    for (step, codes) in panel.iter().enumerate() {
        // SAFETY: both loads are inside the 32 words of `codes`.
        let codes = unsafe { [0, 16].map(|word| _mm512_loadu_si512(codes[word..].as_ptr().cast())) };
        for (row, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: row < ROWS and step < panel.len(); the assertion above bounds the index.
            let bytes = unsafe { *rows.get_unchecked(row * stride + step) };
            let bytes = _mm512_set1_epi32(bytes as i32);
            for (lanes, codes) in lanes.iter_mut().zip(codes) {
                *lanes = _mm512_dpbusd_epi32(*lanes, codes, bytes);
            }
        }
    }
    for (lanes, sums) in lanes.iter().flatten().zip(sums) {
        // SAFETY: `sums` has 16 elements.
        unsafe {
            let sums = sums.as_mut_ptr().cast();
            _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), *lanes));
        }
    }
}
