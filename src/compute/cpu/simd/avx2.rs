//! The part of the ternary matrix products that is implemented with AVX2. The instruction `vpmaddubsw` multiplies codes
//! (trits plus 1) by bytes (the int8 elements of a row), and adds neighboring products in pairs, in i16.
//!
//! A code is 0..=2 and a byte is −128..=127, so the sum of two products is in −512..=508. The results of [`FLUSH`] = 64
//! instructions are also added in i16. Their sum is in −32,768..=32,512, which i16 just holds.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
    wide::{self, WideTile},
};
use std::arch::x86_64::*;

/// The number of steps after which the i16 sums are added to the i32 sums. In each step, four neighboring elements of a
/// row are multiplied by four codes (trits plus 1) of each column.
const FLUSH: usize = 64;

/// The register tile for AVX2: the block of sums that is held in vector registers, at most 6 rows × 16 columns (2
/// vectors of 8 columns for each row). The computation uses all 16 vector registers: 12 for sums, 2 for codes (trits
/// plus 1), one for four int8 elements of a row, and one for a product.
pub(in crate::compute::cpu) struct Tile;

impl RegisterTile for Tile {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    #[target_feature(enable = "avx2")]
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>) {
        panel.unpack::<{ Self::COLUMNS / 4 }>(steps, from);
    }

    #[target_feature(enable = "avx2")]
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
        for_rows!(sums.len() / Self::COLUMNS, [1, 2, 3, 4, 5, 6], multiply(rows, stride, panel, sums))
    }
}

#[target_feature(enable = "avx2")]
fn multiply<const ROWS: usize>(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
    let (panel, _) = panel.as_chunks::<{ Tile::COLUMNS }>();
    let (sums, _) = sums.as_chunks_mut::<8>();
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && sums.len() == 2 * ROWS);
    for (at, panel) in panel.chunks(FLUSH).enumerate() {
        let mut lanes = [[_mm256_setzero_si256(); 2]; ROWS];
        for (step, codes) in panel.iter().enumerate() {
            // SAFETY: both loads are inside the 16 words of `codes`.
            let codes = unsafe { [0, 8].map(|word| _mm256_loadu_si256(codes[word..].as_ptr().cast())) };
            for (row, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: row < ROWS and at · FLUSH + step < the panel's steps; the assertion above bounds the index.
                let bytes = unsafe { *rows.get_unchecked(row * stride + at * FLUSH + step) };
                let bytes = _mm256_set1_epi32(bytes as i32);
                for (lanes, codes) in lanes.iter_mut().zip(codes) {
                    *lanes = _mm256_add_epi16(*lanes, _mm256_maddubs_epi16(codes, bytes));
                }
            }
        }
        for (lanes, sums) in lanes.iter().flatten().zip(&mut *sums) {
            let wide = _mm256_madd_epi16(*lanes, _mm256_set1_epi16(1));
            // SAFETY: `sums` has 8 elements.
            unsafe {
                let sums = sums.as_mut_ptr().cast();
                _mm256_storeu_si256(sums, _mm256_add_epi32(_mm256_loadu_si256(sums), wide));
            }
        }
    }
}

/// The register tile of inner products of wide rows: at most 2 rows × 16 columns (2 vectors of 8 columns for each row).
/// The computation uses 16 vector registers: 8 for the two sums of each inner product, 6 for the columns of three
/// steps, one for a word of a row, and one for a product.
impl WideTile for Tile {
    const ROWS: usize = 2;

    #[target_feature(enable = "avx2")]
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[[u32; wide::COLUMNS]], dots: &mut [[i64; wide::COLUMNS]]) {
        for_rows!(dots.len(), [1, 2], multiply_wide(rows, stride, panel, dots))
    }
}

#[target_feature(enable = "avx2")]
fn multiply_wide<const ROWS: usize>(
    rows: &[u32],
    stride: usize,
    panel: &[[u32; wide::COLUMNS]],
    dots: &mut [[i64; wide::COLUMNS]],
) {
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && dots.len() == ROWS);
    let mut sums = [[[_mm256_setzero_si256(); 2]; 2]; ROWS];
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
        for ((low, high), dots) in low.iter().zip(high).zip(dots.as_chunks_mut::<8>().0) {
            let rest = _mm256_sub_epi32(*low, _mm256_slli_epi32::<16>(*high));
            for (half, dots) in dots.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let half = |vector| match half {
                    0 => _mm256_castsi256_si128(vector),
                    _ => _mm256_extracti128_si256::<1>(vector),
                };
                let high = _mm256_slli_epi64::<16>(_mm256_cvtepi32_epi64(half(*high)));
                let dot = _mm256_add_epi64(high, _mm256_cvtepu32_epi64(half(rest)));
                // SAFETY: `dots` has 4 elements.
                unsafe { _mm256_storeu_si256(dots.as_mut_ptr().cast(), dot) };
            }
        }
    }
}

/// Adds the products of a few steps to `sums`: for each row, the two vectors of `low` and the two of `high`.
///
/// # Safety
/// `rows` must have the words of the `STEPS` steps from `step` on, for each row.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add<const ROWS: usize, const STEPS: usize>(
    sums: &mut [[[__m256i; 2]; 2]; ROWS],
    rows: &[u32],
    stride: usize,
    step: usize,
    panel: &[[u32; wide::COLUMNS]; STEPS],
) {
    for (row, [low, high]) in sums.iter_mut().enumerate() {
        for (vector, (low, high)) in low.iter_mut().zip(high).enumerate() {
            let mut sum = _mm256_setzero_si256();
            for (at, columns) in panel.iter().enumerate() {
                // SAFETY: the caller guarantees that the word exists; the load is inside the 16 words of `columns`.
                let (word, columns) = unsafe {
                    (
                        *rows.get_unchecked(row * stride + step + at),
                        _mm256_loadu_si256(columns[8 * vector..].as_ptr().cast()),
                    )
                };
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_set1_epi32(word as i32), columns));
            }
            *low = _mm256_add_epi32(*low, sum);
            *high = _mm256_add_epi32(*high, _mm256_srai_epi32::<16>(sum));
        }
    }
}
