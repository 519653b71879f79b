//! The part of the ternary matrix products that is implemented with NEON and the dot product of Armv8.2. The
//! instruction `sdot` multiplies codes (trits plus 1) by bytes (the int8 elements of a row), and adds four neighboring
//! products to a sum, in i32.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
    wide::{self, WideTile},
};
use std::arch::{aarch64::*, asm};

/// The register tile for NEON: the block of sums that is held in vector registers, at most 6 rows × 16 columns (4
/// vectors of 4 columns for each row). The computation uses 29 vector registers: 24 for sums, 4 for codes (trits plus
/// 1), and one for four int8 elements of a row.
pub(in crate::compute::cpu) struct Tile;

impl RegisterTile for Tile {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>) {
        panel.unpack::<{ Self::COLUMNS / 4 }>(steps, from);
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
        for_rows!(sums.len() / Self::COLUMNS, [1, 2, 3, 4, 5, 6], multiply(rows, stride, panel, sums))
    }
}

#[target_feature(enable = "neon,dotprod")]
fn multiply<const ROWS: usize>(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]) {
    let (panel, _) = panel.as_chunks::<{ Tile::COLUMNS }>();
    let (sums, _) = sums.as_chunks_mut::<4>();
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && sums.len() == 4 * ROWS);
    let mut lanes = [[vdupq_n_s32(0); 4]; ROWS];
    for (step, codes) in panel.iter().enumerate() {
        // SAFETY: the four loads are inside the 16 words of `codes`.
        let codes = unsafe { [0, 4, 8, 12].map(|word| vreinterpretq_s8_u32(vld1q_u32(codes[word..].as_ptr()))) };
        for (row, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: row < ROWS and step < panel.len(); the assertion above bounds the index.
            let bytes = unsafe { *rows.get_unchecked(row * stride + step) };
            let bytes = vreinterpretq_s8_u32(vdupq_n_u32(bytes));
            for (lanes, codes) in lanes.iter_mut().zip(codes) {
                *lanes = dot(*lanes, codes, bytes);
            }
        }
    }
    for (lanes, sums) in lanes.iter().flatten().zip(sums) {
        // SAFETY: `sums` has 4 elements.
        unsafe { vst1q_s32(sums.as_mut_ptr(), vaddq_s32(vld1q_s32(sums.as_ptr()), *lanes)) };
    }
}

/// Executes the instruction `sdot`: to each of the four `sums`, it adds the products of four codes (trits plus 1) and
/// the four bytes at the same positions. Returns the new sums. The instruction is written in assembly, because Rust's
/// function for it, `vdotq_s32`, is available only from Rust 1.98 on.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut sums: int32x4_t, codes: int8x16_t, bytes: int8x16_t) -> int32x4_t {
    // SAFETY: the code is one instruction, which the enabled features include and which accesses registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums, in(vreg) codes, in(vreg) bytes,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// The register tile of inner products of wide rows: at most 2 rows × 16 columns (4 vectors of 4 columns for each row).
/// The computation uses 28 vector registers: 16 for the two sums of each inner product, 8 for the columns of a step,
/// and 4 for products and words of rows.
impl WideTile for Tile {
    const ROWS: usize = 2;

    #[target_feature(enable = "neon")]
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[[u32; wide::COLUMNS]], dots: &mut [[i64; wide::COLUMNS]]) {
        for_rows!(dots.len(), [1, 2], multiply_wide(rows, stride, panel, dots))
    }
}

#[target_feature(enable = "neon")]
fn multiply_wide<const ROWS: usize>(
    rows: &[u32],
    stride: usize,
    panel: &[[u32; wide::COLUMNS]],
    dots: &mut [[i64; wide::COLUMNS]],
) {
    assert!(rows.len() >= (ROWS - 1) * stride + panel.len() && dots.len() == ROWS);
    let mut sums = [[[vdupq_n_s32(0); 4]; 2]; ROWS];
    for (group, first) in panel.chunks(wide::GROUP).zip((0..).step_by(wide::GROUP)) {
        let mut products = [[vdupq_n_s32(0); 4]; ROWS];
        for (columns, step) in group.iter().zip(first..) {
            // The first values of all columns, and their second values.
            // SAFETY: the two loads are inside the 16 words of `columns`.
            let columns = unsafe { [0, 8].map(|word| vld2q_s16(columns[word..].as_ptr().cast())) };
            for (row, products) in products.iter_mut().enumerate() {
                // SAFETY: row < ROWS and step < panel.len(); the assertion above bounds the index.
                let word = unsafe { *rows.get_unchecked(row * stride + step) };
                let values = [word as i16, (word >> 16) as i16].map(|value| vdupq_n_s16(value));
                for (products, columns) in products.as_chunks_mut::<2>().0.iter_mut().zip(&columns) {
                    for (column, value) in [columns.0, columns.1].into_iter().zip(values) {
                        products[0] = vmlal_s16(products[0], vget_low_s16(column), vget_low_s16(value));
                        products[1] = vmlal_high_s16(products[1], column, value);
                    }
                }
            }
        }
        for ([low, high], products) in sums.iter_mut().zip(products) {
            for ((low, high), product) in low.iter_mut().zip(high).zip(products) {
                *low = vaddq_s32(*low, product);
                *high = vsraq_n_s32::<16>(*high, product);
            }
        }
    }
    for ([low, high], dots) in sums.iter().zip(dots) {
        for ((low, high), dots) in low.iter().zip(high).zip(dots.as_chunks_mut::<4>().0) {
            let rest = vreinterpretq_u32_s32(vsubq_s32(*low, vshlq_n_s32::<16>(*high)));
            let join = |high, rest| vaddq_s64(vshll_n_s32::<16>(high), vreinterpretq_s64_u64(vmovl_u32(rest)));
            let dots = dots.as_mut_ptr();
            // SAFETY: `dots` has 4 elements, which are two vectors.
            unsafe {
                vst1q_s64(dots, join(vget_low_s32(*high), vget_low_u32(rest)));
                vst1q_s64(dots.add(2), join(vget_high_s32(*high), vget_high_u32(rest)));
            }
        }
    }
}
