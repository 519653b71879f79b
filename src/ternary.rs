//! Ternary matrices: values {−1, 0, +1} (trits) at two bits each, packed in 4×4 blocks.
//!
//! `word(n4, k4)` holds the code (trit + 1) of row `4·n4 + j`, column `4·k4 + b` at bit `8·b + 2·j`,
//! so `(word >> 2j) & 0x03030303` is row j as four bytes along the columns, and the same mask on the
//! [transposed](transpose_block) word is column b as four bytes along the rows: one copy serves
//! both the forward product and the gradient of its input.

use crate::{error::Error, fixed::Scale};
use std::sync::Arc;

/// Rows of values that a product contracts are padded with zeros to a multiple of this many elements.
pub const ROW_ALIGN: usize = 32;

/// Words of a padded row of `width` bytes.
pub const fn row_words(width: usize) -> usize {
    width.div_ceil(ROW_ALIGN) * (ROW_ALIGN / 4)
}

/// A ternary matrix `[rows, columns]` times one dequantisation scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ternary {
    /// Rows, the output features of a linear layer.
    pub rows: usize,
    /// Columns, its input features.
    pub columns: usize,
    /// `[row_words(rows), row_words(columns)]` block words; padding holds trit 0.
    pub words: Arc<[u32]>,
    /// What one trit is worth.
    pub dequant_scale: Scale,
}

impl Ternary {
    /// Packs row-major trits. Fails if their count is not `rows · columns` or one is outside −1..=1.
    pub fn pack(rows: usize, columns: usize, trits: &[i8], dequant_scale: Scale) -> Result<Self, Error> {
        if rows == 0 || columns == 0 || trits.len() != rows * columns {
            return Err(Error::Shape { what: "ternary matrix", expected: rows * columns, found: trits.len() });
        }
        if let Some(&trit) = trits.iter().find(|trit| !(-1..=1).contains(*trit)) {
            return Err(Error::Value { what: "trit", value: trit.into() });
        }
        let (row_blocks, column_blocks) = (row_words(rows), row_words(columns));
        let mut words = vec![0x5555_5555u32; row_blocks * column_blocks];
        for (row, values) in trits.chunks_exact(columns).enumerate() {
            for (column, &trit) in values.iter().enumerate() {
                let bit = 8 * (column % 4) + 2 * (row % 4);
                let word = &mut words[row / 4 * column_blocks + column / 4];
                *word = *word & !(3 << bit) | ((trit + 1) as u32) << bit;
            }
        }
        Ok(Self { rows, columns, words: words.into(), dequant_scale })
    }

    /// The trit at (`row`, `column`).
    pub fn trit(&self, row: usize, column: usize) -> i32 {
        trit(&self.words, row_words(self.columns), row, column)
    }
}

/// The trit at (`row`, `column`) of block words with `column_blocks` words to a block row.
#[inline(always)]
pub fn trit(words: &[u32], column_blocks: usize, row: usize, column: usize) -> i32 {
    (words[row / 4 * column_blocks + column / 4] >> (8 * (column % 4) + 2 * (row % 4)) & 3) as i32 - 1
}

/// Transposes the 4×4 block in a word by two delta swaps.
#[inline(always)]
pub const fn transpose_block(mut word: u32) -> u32 {
    let swap = (word >> 6 ^ word) & 0x00CC_00CC;
    word ^= swap ^ swap << 6;
    let swap = (word >> 12 ^ word) & 0x0000_F0F0;
    word ^ swap ^ swap << 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_transposing_keep_every_trit() {
        let (rows, columns) = (7, 37);
        let trits: Vec<i8> = (0..rows * columns).map(|i| (i * i * 7 % 11 % 3) as i8 - 1).collect();
        let matrix = Ternary::pack(rows, columns, &trits, Scale::ONE).unwrap();
        for row in 0..rows {
            for column in 0..columns {
                assert_eq!(matrix.trit(row, column), trits[row * columns + column].into());
                let word = transpose_block(matrix.words[row / 4 * row_words(columns) + column / 4]);
                let code = word >> (8 * (row % 4) + 2 * (column % 4)) & 3;
                assert_eq!(code as i32 - 1, trits[row * columns + column].into());
            }
        }
        assert!(Ternary::pack(1, 2, &[0, 2], Scale::ONE).is_err());
        assert!(Ternary::pack(1, 3, &[0, 1], Scale::ONE).is_err());
    }
}
