//! The ternary matrix product: multiplies vectors of integers, one for each token, by a matrix of trits (−1, 0 or 1).
//! The code uses these terms:
//! - A *row* consists of int8 values. The vector of a token is stored either as one row, its only *plane*, or as two
//!   rows, its two planes. In the latter case, each integer is `256 · high + low`, where plane 0 contains `high` and
//!   plane 1 contains `low`.
//! - A *code* is a trit plus 1.
//! - A *panel* is a part of the ternary matrix, unpacked to one code in each byte. It consists of a few columns of the
//!   product and a part of the axis over which the product sums.
//!
//! For token `t`, plane `p` and column `c`, the planes are first multiplied separately:
//! `sum[t, p, c] = Σ_s row[t, p, s] · code[s, c]`, where `s` runs over the elements of the row. The planes are then
//! joined: `out[t, c] = 256 · sum[t, 0, c] + sum[t, 1, c] − total[t]`, or `out[t, c] = sum[t, 0, c] − total[t]` if
//! there is only one plane. Here `total[t]` is the sum of the integers of token `t`. It is subtracted because each code
//! is a trit plus 1. An instruction set whose panel holds the trits themselves leaves out this last term.
//!
//! The axis over which the product sums is divided into parts, so that a panel stays in the first-level cache. A panel
//! is unpacked once for up to [`SHARED_ROWS`] rows, whose sums stay in the second-level cache until they are complete.
//! Sums wrap modulo 2^32, but the result is exact, because the limits of the kernels ensure that it fits in i32.

use super::panel::{MatrixBlocks, Panel};
use crate::{kernels::INFO, numbers::ternary::ROW_ALIGN};

/// The largest number of int8 rows that are multiplied by a panel (an unpacked part of the ternary matrix) before the
/// next panel is unpacked. A token has one or two int8 rows. With this many rows, the unpacking takes a small part of
/// the time (even with 128 rows, it takes only 2 %), and the bytes and sums of the rows still fit in the second-level
/// cache.
const SHARED_ROWS: usize = 256;

/// The part of a ternary matrix product that each level (instruction set) implements: unpacking codes (trits plus 1),
/// and computing a tile, which is a block of sums that is held in vector registers.
pub(super) trait RegisterTile {
    /// The largest number of rows of a tile, the block of sums that is held in vector registers.
    const ROWS: usize;
    /// The number of columns of a panel (an unpacked part of the ternary matrix) and of a tile (the block of sums that
    /// is held in vector registers). It must be a divisor of [`ROW_ALIGN`]: the matrix is padded to a multiple of
    /// `ROW_ALIGN`, so that it consists of whole panels.
    const COLUMNS: usize;
    /// The difference between an element of the panel (the unpacked part of the ternary matrix) and the trit for which
    /// it stands: 1 if the panel holds codes (trits plus 1), and 0 if it holds trits.
    const OFFSET: i32 = 1;

    /// Unpacks a part of the ternary matrix into the panel: [`COLUMNS`](Self::COLUMNS) columns, and `4 · steps`
    /// elements of each. This is [`Panel::unpack`], compiled for the instruction set of this level.
    ///
    /// # Safety
    /// The processor must support the instruction set of this level.
    unsafe fn unpack(panel: &mut Panel, steps: usize, from: MatrixBlocks<'_>);

    /// Multiplies int8 rows by the columns of a panel, and adds the products to `sums`. For row `r` and column `c`, it
    /// computes `sums[r, c] += Σ_s Σ_b rows[r, s].byte(b) · panel[s, c].byte(b)`, where `s` runs over the words of a
    /// row, and `b` over the four bytes of a word. `sums` has [`COLUMNS`](Self::COLUMNS) columns and at most
    /// [`ROWS`](Self::ROWS) rows. `stride` is the number of words from one row in `rows` to the next.
    ///
    /// # Safety
    /// The processor must support the instruction set of this level.
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[u32], sums: &mut [i32]);
}

/// The operands of a ternary matrix product, and the sizes of its result. The product is computed for consecutive
/// tokens. The fields `rows` and `infos` begin with the data of the first of these tokens.
pub(super) struct Product<'a> {
    /// The number of int8 rows (planes) of each token: 1 if its integers are int8, and 2 if each of its integers is
    /// stored as two int8 values, `256 · plane 0 + plane 1`.
    pub(super) planes: usize,
    /// The length of an int8 row in words of four elements. This is also the number of steps of the product, because
    /// one step multiplies one word of each row.
    pub(super) steps: usize,
    /// The int8 rows of all tokens, four elements in a word: `[tokens, planes, steps]`.
    pub(super) rows: &'a [u32],
    /// Four words about each token (its row info), `[tokens, INFO]`. Only the third word is used: the sum of the
    /// token's integers.
    pub(super) infos: &'a [u32],
    /// The whole ternary matrix, in blocks of 4×4 trits, one word each.
    pub(super) blocks: MatrixBlocks<'a>,
    /// The number of columns of the result, without padding.
    pub(super) columns: usize,
    /// The number of elements from one token to the next in the buffer of the result. Only the first `columns` elements
    /// of each token are written.
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

    /// Adds the product of the int8 rows `bytes` and the panel `codes` to `sums`, `[rows, T::COLUMNS]`. The sums are
    /// divided into as few register tiles (blocks that are held in vector registers) as possible, with nearly the same
    /// number of rows in each.
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

    /// Computes the results of a few columns from their complete sums, `[tokens, planes, T::COLUMNS]`. If a token has
    /// two planes, the sum of plane 0 is multiplied by 256 and added to the sum of plane 1. `T::OFFSET` times the sum
    /// of the token's integers is then subtracted. The results are written to `out`, from `first_token` and
    /// `first_column` on.
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
