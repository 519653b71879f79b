//! The part of the ternary matrix products that is implemented with NEON and the dot product of Armv8.2. The
//! instruction `sdot` multiplies codes (trits plus 1) by bytes (the int8 elements of a row), and adds four neighboring
//! products to a sum, in i32.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
};
use std::arch::{aarch64::*, asm};

/// The register tile for NEON: the block of sums that is held in vector registers, at most 6 rows × 16 columns (4
/// vectors of 4 columns for each row). The computation uses 29 vector registers: 24 for sums, 4 for codes (trits plus
/// 1), and one for four int8 elements of a row.
pub(super) struct Tile;

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
