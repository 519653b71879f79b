//! NEON with the dot product of Armv8.2: `sdot` adds up codes times bytes in groups of four, in i32.

use super::{
    panel::{MatrixBlocks, Panel},
    product::RegisterTile,
};
use std::arch::{aarch64::*, asm};

/// A tile of 6 rows × 4 vectors of 4 columns. Its registers hold 24 sums, 4 vectors of codes and a word of a row.
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
        match sums.len() / Self::COLUMNS {
            1 => multiply::<1>(rows, stride, panel, sums),
            2 => multiply::<2>(rows, stride, panel, sums),
            3 => multiply::<3>(rows, stride, panel, sums),
            4 => multiply::<4>(rows, stride, panel, sums),
            5 => multiply::<5>(rows, stride, panel, sums),
            6 => multiply::<6>(rows, stride, panel, sums),
            rows => unreachable!("{rows} rows"),
        }
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
            // SAFETY: row < ROWS and step < panel steps; the assertion above bounds their word.
            let bytes = unsafe { *rows.get_unchecked(row * stride + step) };
            let bytes = vreinterpretq_s8_u32(vdupq_n_u32(bytes));
            for (lanes, codes) in lanes.iter_mut().zip(codes) {
                *lanes = dot(*lanes, codes, bytes);
            }
        }
    }
    for (lanes, sums) in lanes.iter().flatten().zip(sums) {
        // SAFETY: `sums` is 4 words.
        unsafe { vst1q_s32(sums.as_mut_ptr(), vaddq_s32(vld1q_s32(sums.as_ptr()), *lanes)) };
    }
}

/// The instruction `sdot`, which Rust offers as `vdotq_s32` from version 1.98 on.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut sums: int32x4_t, codes: int8x16_t, bytes: int8x16_t) -> int32x4_t {
    // SAFETY: this is one instruction of the enabled features, and it uses registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums, in(vreg) codes, in(vreg) bytes,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
