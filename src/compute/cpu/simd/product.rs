//! `out[t, c] = join_p(Σ_s row[t, p, s] · code[s, c]) − Σ row[t]`: rows of bytes times codes. For a level whose panel
//! holds trits, the last term is left out.
//!
//! The axis that is summed over is divided so that a panel of codes stays in the first-level cache. A panel is unpacked
//! once for up to [`SHARED_ROWS`] rows, whose sums stay in the second-level cache until they are complete. `join` is
//! `256 · plane 0 + plane 1`. Sums wrap modulo 2^32, and the result fits because of the kernels' bounds.

use super::panel::{MatrixBlocks, Panel};
use crate::{kernels::INFO, numbers::ternary::ROW_ALIGN};

/// The number of rows that share an unpacked panel; a token has one row for each plane. So many rows make the cost of
/// unpacking small (2 % of the time at 128 rows), and their bytes and sums still fit in the second-level cache.
const SHARED_ROWS: usize = 256;

/// The part of a product that a level computes in registers.
pub(super) trait RegisterTile {
    /// The largest number of rows that are computed together.
    const ROWS: usize;
    /// The number of columns of a panel, a divisor of [`ROW_ALIGN`].
    const COLUMNS: usize;
    /// The number that is added to each trit in the panel: 1 for codes, 0 for trits.
    const OFFSET: i32 = 1;

    /// Unpacks [`COLUMNS`](Self::COLUMNS) columns into the panel with this level's instructions, as [`Panel::unpack`]
    /// does.
    ///
    /// # Safety
    /// The processor must have the level.
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>);

    /// Computes `sums[r, c] += Σ_s Σ_b rows[r, s].byte(b) · panel[s, c].byte(b)` for `[rows, COLUMNS]` sums of at most
    /// [`ROWS`](Self::ROWS) rows, which are `stride` words apart.
    ///
    /// # Safety
    /// The processor must have the level.
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]);
}

/// A ternary product whose buffers start at the first token to compute.
pub(super) struct Product<'a> {
    /// The number of rows of each token: 1 for byte rows; 2, one for each plane, for wide rows.
    pub(super) planes: usize,
    /// The number of words of a row.
    pub(super) steps: usize,
    /// Rows `[tokens, planes, steps]` of int8, four to a word.
    pub(super) rows: &'a [u32],
    /// Row info `[tokens, INFO]`.
    pub(super) infos: &'a [u32],
    /// Block words of the whole matrix.
    pub(super) blocks: MatrixBlocks<'a>,
    /// The number of columns of the result.
    pub(super) columns: usize,
    /// The number of elements of `out` for each token, of which the first `columns` are the result.
    pub(super) out_stride: usize,
}

impl Product<'_> {
    /// Computes `tokens` rows of `out`.
    ///
    /// # Safety
    /// The processor must have the level `T`.
    pub(super) unsafe fn compute<T: RegisterTile>(&self, tokens: usize, out: &mut [i32]) {
        const { assert!(ROW_ALIGN.is_multiple_of(T::COLUMNS), "a panel's columns are all in the padded matrix") };
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
                    // SAFETY: the caller guarantees that the processor has the level.
                    unsafe {
                        T::unpack(&mut panel, steps, self.blocks.from(first_step, first_column));
                        self.multiply::<T>(bytes, panel.codes(steps, T::COLUMNS), sums);
                    }
                }
                self.join::<T>(first_token, first_column, sums, out);
            }
        }
    }

    /// Computes `sums [rows, T::COLUMNS] += bytes · codes` in the fewest possible register tiles, of nearly equal
    /// heights.
    ///
    /// # Safety
    /// The processor must have the level `T`.
    unsafe fn multiply<T: RegisterTile>(&self, mut bytes: &[u32], codes: &[u32], mut sums: &mut [i32]) {
        while !sums.is_empty() {
            let rows = sums.len() / T::COLUMNS;
            let height = rows.div_ceil(rows.div_ceil(T::ROWS));
            let (tile, below) = sums.split_at_mut(height * T::COLUMNS);
            // SAFETY: the caller guarantees that the processor has the level.
            unsafe { T::multiply(bytes, self.steps, codes, tile) };
            sums = below;
            bytes = bytes.get(height * self.steps..).unwrap_or_default();
        }
    }

    /// Joins the planes of sums `[tokens, planes, T::COLUMNS]`, subtracts OFFSET · Σ row, and stores the results.
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
