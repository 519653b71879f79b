//! The ternary matrix product, `out[t, c] = join_p(Σ_s row[t, p, s] · code[s, c]) − Σ row[t]`, for token `t`, plane
//! `p`, element `s` of the row, and column `c`. `join` is `256 · plane 0 + plane 1`, or the plane itself if there is
//! only one. A code is a trit plus 1, so the sum of the row is subtracted. An instruction set whose panel holds the
//! trits themselves leaves out this last term.
//!
//! The summed axis is divided into parts, so that a panel of codes stays in the first-level cache. A panel is unpacked
//! once for up to [`SHARED_ROWS`] rows, whose sums stay in the second-level cache until they are complete. Sums wrap
//! modulo 2^32, but the result is exact, because the limits of the kernels ensure that it fits in i32.

use super::panel::{MatrixBlocks, Panel};
use crate::{kernels::INFO, numbers::ternary::ROW_ALIGN};

/// The number of rows for which a panel is unpacked once. A token has one row for each plane. With this many rows,
/// unpacking takes a small part of the time (even with 128 rows, it takes only 2 %), and the bytes and sums of the rows
/// still fit in the second-level cache.
const SHARED_ROWS: usize = 256;

/// The part of a ternary matrix product that each level (instruction set) implements: unpacking codes, and computing
/// sums in registers.
pub(super) trait RegisterTile {
    /// The largest number of rows of one tile of sums.
    const ROWS: usize;
    /// The number of columns of a panel and of a tile of sums. It must divide [`ROW_ALIGN`].
    const COLUMNS: usize;
    /// The difference between an element of the panel and its trit: 1 if the panel holds codes, 0 if it holds trits.
    const OFFSET: i32 = 1;

    /// Unpacks [`COLUMNS`](Self::COLUMNS) columns, `steps` steps (of four elements) of each, into the panel. This is
    /// [`Panel::unpack`], compiled for the instruction set of this level.
    ///
    /// # Safety
    /// The processor must support the instruction set of this level.
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>);

    /// Computes `sums[r, c] += Σ_s Σ_b rows[r, s].byte(b) · panel[s, c].byte(b)` for row `r`, column `c`, step `s` and
    /// the four bytes `b` of a word. `sums` has [`COLUMNS`](Self::COLUMNS) columns and at most [`ROWS`](Self::ROWS)
    /// rows. `stride` is the number of words from one row in `rows` to the next.
    ///
    /// # Safety
    /// The processor must support the instruction set of this level.
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]);
}

/// The operands of a ternary matrix product. The rows begin with the first token to compute.
pub(super) struct Product<'a> {
    /// The number of rows of each token: 1 for byte rows; 2, one for each plane, for wide rows.
    pub(super) planes: usize,
    /// The length of a row in words, which is the number of steps of the product.
    pub(super) steps: usize,
    /// The rows of int8 integers, four to a word: `[tokens, planes, steps]`.
    pub(super) rows: &'a [u32],
    /// The row info of each token, `[tokens, INFO]`. Only the third word is used: the sum of the row's integers.
    pub(super) infos: &'a [u32],
    /// The whole ternary matrix, in 4×4 blocks.
    pub(super) blocks: MatrixBlocks<'a>,
    /// The number of columns of the result, without padding.
    pub(super) columns: usize,
    /// The number of elements from one token to the next in `out`. Only the first `columns` of them are written.
    pub(super) out_stride: usize,
}

impl Product<'_> {
    /// Computes the product for the first `tokens` tokens and writes it to `out`.
    ///
    /// # Safety
    /// The processor must support the instruction set of `T`.
    pub(super) unsafe fn compute<T: RegisterTile>(&self, tokens: usize, out: &mut [i32]) {
        const { assert!(ROW_ALIGN.is_multiple_of(T::COLUMNS), "all columns of a panel are in the padded matrix") };
        let mut panel = Panel::new();
        let mut sums = vec![0; SHARED_ROWS.min(tokens * self.planes) * T::COLUMNS];
        for first_token in (0..tokens).step_by(SHARED_ROWS / self.planes) {
            let first_row = first_token * self.planes;
            let rows = SHARED_ROWS.min(tokens * self.planes - first_row);
            let sums = &mut sums[..rows * T::COLUMNS];
            for first_column in (0..self.columns).step_by(T::COLUMNS) {
                sums.fill(0);
                for first_step in (0..self.steps).step_by(Panel::steps(T::COLUMNS)) {
                    let steps = Panel::steps(T::COLUMNS).min(self.steps - first_step);
                    let bytes = &self.rows[first_row * self.steps + first_step..];
                    // SAFETY: the caller guarantees that the processor supports the instruction set of `T`.
                    unsafe {
                        T::unpack(&mut panel, steps, self.blocks.from(first_step, first_column));
                        self.multiply::<T>(bytes, panel.codes(steps, T::COLUMNS), sums);
                    }
                }
                self.join::<T>(first_token, first_column, sums, out);
            }
        }
    }

    /// Adds the product of the rows `bytes` and the columns `codes` to `sums`, `[rows, T::COLUMNS]`. The rows are
    /// divided into as few register tiles as possible, with nearly the same number of rows in each.
    ///
    /// # Safety
    /// The processor must support the instruction set of `T`.
    unsafe fn multiply<T: RegisterTile>(&self, mut bytes: &[u32], codes: &[u32], mut sums: &mut [i32]) {
        while !sums.is_empty() {
            let rows = sums.len() / T::COLUMNS;
            let height = rows.div_ceil(rows.div_ceil(T::ROWS));
            let (tile, below) = sums.split_at_mut(height * T::COLUMNS);
            // SAFETY: the caller guarantees that the processor supports the instruction set of `T`.
            unsafe { T::multiply(bytes, self.steps, codes, tile) };
            sums = below;
            bytes = bytes.get(height * self.steps..).unwrap_or_default();
        }
    }

    /// Joins the planes of the sums `[tokens, planes, T::COLUMNS]`, subtracts `OFFSET · Σ row`, and writes the results
    /// to `out` from `first_token` and `first_column` on.
    fn join<T: RegisterTile>(&self, first_token: usize, first_column: usize, sums: &[i32], out: &mut [i32]) {
        let columns = T::COLUMNS.min(self.columns - first_column);
        for (token, sums) in (first_token..).zip(sums.chunks_exact(self.planes * T::COLUMNS)) {
            let out = &mut out[token * self.out_stride + first_column..][..columns];
            let row_sum = T::OFFSET * self.infos[token * INFO + 2] as i32;
            match self.planes {
                1 => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum.wrapping_sub(row_sum)),
                _ => {
                    let (high, low) = sums.split_at(T::COLUMNS);
                    for ((out, high), low) in out.iter_mut().zip(high).zip(low) {
                        *out = high.wrapping_mul(256).wrapping_add(*low).wrapping_sub(row_sum);
                    }
                }
            }
        }
    }
}
