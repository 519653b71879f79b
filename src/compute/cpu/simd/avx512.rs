//! The part of the ternary matrix products that is implemented with AVX-512 and VNNI. The instruction `vpdpbusd`
//! multiplies codes (trits plus 1) by bytes (the int8 elements of a row), and adds four neighboring products to a sum,
//! in i32.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
    wide::{self, WideTile},
};
use std::arch::x86_64::*;

/// The register tile for AVX-512: the block of sums that is held in vector registers, at most 12 rows × 32 columns (2
/// vectors of 16 columns for each row). The computation uses 27 vector registers: 24 for sums, 2 for codes (trits plus
/// 1), and one for four int8 elements of a row.
pub(in crate::compute::cpu) struct Tile;

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

/// The register tile of inner products of wide rows: at most 8 rows × 16 columns. The computation uses 20 vector
/// registers: 16 for the two sums of each inner product, 3 for the columns of three steps, and one for a product.
impl WideTile for Tile {
    const ROWS: usize = 8;

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[[u32; wide::COLUMNS]], dots: &mut [[i64; wide::COLUMNS]]) {
        for_rows!(dots.len(), [1, 2, 3, 4, 5, 6, 7, 8], multiply_wide(rows, stride, panel, dots))
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply_wide<const ROWS: usize>(
    rows: &[u32],
    stride: usize,
    panel: &[[u32; wide::COLUMNS]],
    dots: &mut [[i64; wide::COLUMNS]],
) {
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && dots.len() == ROWS);
    let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
    let (groups, rest) = panel.as_chunks::<{ wide::GROUP }>();
    for (at, group) in groups.iter().enumerate() {
        // SAFETY: the steps from `at · GROUP` on are in the panel; the assertion above bounds the rows.
        unsafe { add(&mut sums, rows, stride, at * wide::GROUP, group) };
    }
    for (step, columns) in (groups.len() * wide::GROUP..).zip(rest) {
        // SAFETY: as above.
        unsafe { add(&mut sums, rows, stride, step, &[*columns]) };
    }
    for ([low, high], dots) in sums.iter().zip(dots) {
        let rest = _mm512_sub_epi32(*low, _mm512_slli_epi32::<16>(*high));
        for (half, dots) in dots.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let half = |vector| match half {
                0 => _mm512_castsi512_si256(vector),
                _ => _mm512_extracti64x4_epi64::<1>(vector),
            };
            let high = _mm512_slli_epi64::<16>(_mm512_cvtepi32_epi64(half(*high)));
            let dot = _mm512_add_epi64(high, _mm512_cvtepu32_epi64(half(rest)));
            // SAFETY: `dots` has 8 elements.
            unsafe { _mm512_storeu_si512(dots.as_mut_ptr().cast(), dot) };
        }
    }
}

/// Adds the products of a few steps to the two sums `[low, high]` of each row.
///
/// # Safety
/// `rows` must have the words of the `STEPS` steps from `step` on, for each row.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn add<const ROWS: usize, const STEPS: usize>(
    sums: &mut [[__m512i; 2]; ROWS],
    rows: &[u32],
    stride: usize,
    step: usize,
    panel: &[[u32; wide::COLUMNS]; STEPS],
) {
    // SAFETY: the loads are inside the 16 words of each step's columns.
    let panel = panel.each_ref().map(|columns| unsafe { _mm512_loadu_si512(columns.as_ptr().cast()) });
    for (row, [low, high]) in sums.iter_mut().enumerate() {
        let mut sum = _mm512_setzero_si512();
        for (at, columns) in panel.iter().enumerate() {
            // SAFETY: the caller guarantees that the word exists.
            let word = unsafe { *rows.get_unchecked(row * stride + step + at) };
            sum = _mm512_dpwssd_epi32(sum, _mm512_set1_epi32(word as i32), *columns);
        }
        *low = _mm512_add_epi32(*low, sum);
        *high = _mm512_add_epi32(*high, _mm512_srai_epi32::<16>(sum));
    }
}
