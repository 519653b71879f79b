//! `out[t, c] (+)= join_p(Σ_s row[t, p, s] · code[s, c]) − Σ row[t]`: rows of bytes times codes.
//!
//! The contracted axis is cut so that the panel stays in the first-level cache, the rows so that
//! their cut stays in the second; a panel is unpacked once for all rows of a cut. `join` is
//! `256 · plane 0 + plane 1`. Sums wrap modulo 2^32: the final value fits by the kernels' bounds.

use super::panel::{self, Blocks};
use crate::kernels::INFO;

/// Rows (a token has one for each plane) that share an unpacked panel.
const SHARED_ROWS: usize = 512;

/// Room for the sums of the largest register tile.
const SUMS: usize = 384;

/// A level: the part of a product that stays in registers.
pub(super) trait RegisterTile {
    /// Most rows at once: even, so that a token's planes share a tile.
    const ROWS: usize;
    /// Columns of a panel: 32 or a divisor of it, the padding of ternary matrices.
    const COLUMNS: usize;

    /// [`Blocks::unpack`] with this level's instructions.
    ///
    /// # Safety
    /// The processor has the level.
    unsafe fn unpack(blocks: Blocks<'_>, orient: impl Fn(u32) -> u32, panel: &mut [u32]);

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
    /// `[steps, columns]`.
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
    pub(super) unsafe fn compute<T: RegisterTile>(
        &self,
        tokens: usize,
        out: &mut [i32],
        orient: impl Fn(u32) -> u32 + Copy,
    ) {
        const { assert!(T::ROWS.is_multiple_of(2) && 32_usize.is_multiple_of(T::COLUMNS) && T::ROWS * T::COLUMNS <= SUMS) }
        let mut memory = panel::EMPTY;
        let (shared_tokens, shared_steps) = (SHARED_ROWS / self.planes, panel::steps(T::COLUMNS));
        for first_token in (0..tokens).step_by(shared_tokens) {
            let last_token = tokens.min(first_token + shared_tokens);
            for first_step in (0..self.steps).step_by(shared_steps) {
                let steps = shared_steps.min(self.steps - first_step);
                for first_column in (0..self.columns).step_by(T::COLUMNS) {
                    let panel = &mut bytemuck::cast_slice_mut(&mut memory)[..steps * T::COLUMNS];
                    // SAFETY: as the caller promises.
                    unsafe { T::unpack(self.blocks.from(first_step, first_column), orient, panel) };
                    let mut token = first_token;
                    while token < last_token {
                        // As few tiles as can be, of equal heights.
                        let left = last_token - token;
                        let height = left.div_ceil(left.div_ceil(T::ROWS / self.planes));
                        let mut sums = [0; SUMS];
                        let sums = &mut sums[..height * self.planes * T::COLUMNS];
                        let rows = &self.rows[token * self.planes * self.steps + first_step..];
                        // SAFETY: as the caller promises.
                        unsafe { T::multiply(rows, self.steps, panel, sums) };
                        self.add(token, first_step, first_column, sums, T::COLUMNS, out);
                        token += height;
                    }
                }
            }
        }
    }
    /// Adds one tile's sums `[height · planes, sum_columns]` to `out`, which starts as −Σ row.
    fn add(
        &self,
        first_token: usize,
        first_step: usize,
        first_column: usize,
        sums: &[i32],
        sum_columns: usize,
        out: &mut [i32],
    ) {
        let columns = sum_columns.min(self.columns - first_column);
        for (token, sums) in (first_token..).zip(sums.chunks_exact(self.planes * sum_columns)) {
            let out = &mut out[token * self.out_stride + first_column..][..columns];
            if first_step == 0 {
                out.fill((self.infos[token * INFO + 2] as i32).wrapping_neg());
            }
            for (column, out) in out.iter_mut().enumerate() {
                let join = |value: i32, plane: &[i32]| value.wrapping_mul(256).wrapping_add(plane[column]);
                *out = out.wrapping_add(sums.chunks_exact(sum_columns).fold(0, join));
            }
        }
    }
}
