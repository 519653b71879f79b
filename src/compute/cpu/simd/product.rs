//! `out[t, c] = join_p(Σ_s row[t, p, s] · code[s, c]) − Σ row[t]`: rows of bytes times codes, or trits by themselves.
//!
//! The contracted axis is cut so that a panel of codes stays in the first-level cache; a panel is
//! unpacked once for up to [`SHARED_ROWS`] rows, whose sums stay in the second until they are whole.
//! `join` is `256 · plane 0 + plane 1`. Sums wrap modulo 2^32: the result fits by the kernels' bounds.

use super::panel::{Blocks, Panel};
use crate::{kernels::INFO, numbers::ternary::ROW_ALIGN};

/// Rows (a token has one for each plane) that share an unpacked panel: enough to hide the unpacking
/// (2 % of the time at 128 rows), few enough that rows and sums fit the second-level cache.
const SHARED_ROWS: usize = 256;

/// A level: the part of a product that stays in registers.
pub(super) trait RegisterTile {
    /// Most rows at once.
    const ROWS: usize;
    /// Columns of a panel: a divisor of [`ROW_ALIGN`].
    const COLUMNS: usize;
    /// What the panel holds is a trit and this.
    const OFFSET: i32 = 1;

    /// [`Panel::unpack`] of [`COLUMNS`](Self::COLUMNS) with this level's instructions.
    ///
    /// # Safety
    /// The processor has the level.
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: Blocks<'_>);

    /// `sums[r, c] += Σ_s Σ_b rows[r, s].byte(b) · panel[s, c].byte(b)` for `[rows, COLUMNS]` sums
    /// of at most [`ROWS`](Self::ROWS) rows, `stride` words apart.
    ///
    /// # Safety
    /// The processor has the level.
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]);
}

/// A product; buffers start at its first token.
pub(super) struct Product<'a> {
    /// Rows of each token: 1, or 2 to join.
    pub(super) planes: usize,
    /// Words of a row.
    pub(super) steps: usize,
    /// `[tokens, planes, steps]` int8, four to a word.
    pub(super) rows: &'a [u32],
    /// `[tokens, INFO]`.
    pub(super) infos: &'a [u32],
    /// The matrix, from its start.
    pub(super) blocks: Blocks<'a>,
    /// Columns of the result.
    pub(super) columns: usize,
    /// The result of a token is the first `columns` of these.
    pub(super) out_stride: usize,
}

impl Product<'_> {
    /// Computes `tokens` rows of `out`.
    ///
    /// # Safety
    /// The processor has the level `T`.
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
                    // SAFETY: as the caller promises.
                    unsafe {
                        T::unpack(&mut panel, steps, self.blocks.from(first_step, first_column));
                        self.multiply::<T>(bytes, panel.codes(steps, T::COLUMNS), sums);
                    }
                }
                self.join::<T>(first_token, first_column, sums, out);
            }
        }
    }

    /// `sums [rows, T::COLUMNS] += bytes · codes`, in as few register tiles as can be, of equal heights.
    ///
    /// # Safety
    /// The processor has the level `T`.
    unsafe fn multiply<T: RegisterTile>(&self, mut bytes: &[u32], codes: &[u32], mut sums: &mut [i32]) {
        while !sums.is_empty() {
            let rows = sums.len() / T::COLUMNS;
            let height = rows.div_ceil(rows.div_ceil(T::ROWS));
            let (tile, below) = sums.split_at_mut(height * T::COLUMNS);
            // SAFETY: as the caller promises.
            unsafe { T::multiply(bytes, self.steps, codes, tile) };
            sums = below;
            bytes = bytes.get(height * self.steps..).unwrap_or_default();
        }
    }

    /// Joins the planes of sums `[tokens, planes, T::COLUMNS]`, takes the offset's share, Σ row, off and stores them.
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
