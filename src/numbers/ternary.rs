//! Ternary matrices: values {−1, 0, +1} (trits) of two bits each, packed in 4×4 blocks of one word.
//!
//! `word(n4, k4)` holds the code (trit + 1) of row `4·n4 + j`, column `4·k4 + b` at bit `8·b + 2·j`, so
//! `(word >> 2j) & 0x03030303` is row j as four bytes along the columns, and the same mask on the
//! [transposed](transpose_block) word is column b as four bytes along the rows. One copy of a matrix therefore serves
//! both the forward product and the gradient of its input.

use crate::{error::Error, numbers::fixed::Scale};
use std::sync::Arc;

/// Rows that a product sums over are padded with zeros to a multiple of this many elements.
pub const ROW_ALIGN: usize = 32;

/// The word of a block whose trits are all 0.
const PADDING: u32 = 0x5555_5555;

/// Returns the number of words of a row of `width` bytes after padding.
pub const fn row_words(width: usize) -> usize {
    width.div_ceil(ROW_ALIGN) * (ROW_ALIGN / 4)
}

/// A ternary matrix `[rows, columns]` and its dequantization scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ternary {
    /// The number of rows: the output features of a linear layer.
    pub rows: usize,
    /// The number of columns: the input features of a linear layer.
    pub columns: usize,
    /// Block words `[row_words(rows), row_words(columns)]`. Trits of the padding are 0.
    pub words: Arc<[u32]>,
    /// Dequantization scale: the value of the trit 1.
    pub dequant_scale: Scale,
}

impl Ternary {
    /// Packs row-major trits. Returns an error if the matrix is empty, if there are not exactly `rows · columns` trits,
    /// or if one of them is outside −1..=1.
    pub fn pack(rows: usize, columns: usize, trits: &[i8], dequant_scale: Scale) -> Result<Self, Error> {
        if rows == 0 || columns == 0 || trits.len() != rows * columns {
            return Err(Error::Shape { what: "ternary matrix", expected: rows * columns, found: trits.len() });
        }
        Self::from_codes(rows, columns, dequant_scale, |row, codes| {
            for (code, trit) in codes.iter_mut().zip(&trits[row * columns..]) {
                *code = trit.wrapping_add(1) as u8;
            }
            Ok(())
        })
    }

    /// Packs rows of codes (trit + 1). `read` is called for each row in order and writes its codes into a `[columns]`
    /// slice.
    pub fn from_codes(
        rows: usize,
        columns: usize,
        dequant_scale: Scale,
        mut read: impl FnMut(usize, &mut [u8]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let (row_blocks, column_blocks) = (row_words(rows), row_words(columns));
        let mut words = vec![PADDING; row_blocks * column_blocks];
        let mut codes = vec![1u8; 4 * column_blocks];
        for row in 0..rows {
            read(row, &mut codes[..columns])?;
            if let Some(&code) = codes.iter().find(|code| **code > 2) {
                return Err(Error::Value { what: "trit", value: i64::from(code.wrapping_sub(1) as i8) });
            }
            let (bit, line) = (2 * (row % 4), &mut words[row / 4 * column_blocks..][..column_blocks]);
            for (word, codes) in line.iter_mut().zip(codes.as_chunks().0) {
                *word = *word & !(0x0303_0303 << bit) | u32::from_le_bytes(*codes) << bit;
            }
        }
        Ok(Self { rows, columns, words: words.into(), dequant_scale })
    }

    /// Writes the codes of a row into a `[columns]` slice, as [`Self::from_codes`] reads them.
    pub fn codes(&self, row: usize, codes: &mut [u8]) {
        let column_blocks = row_words(self.columns);
        let line = &self.words[row / 4 * column_blocks..][..column_blocks];
        for (codes, word) in codes.chunks_mut(4).zip(line) {
            let four = (word >> (2 * (row % 4)) & 0x0303_0303).to_le_bytes();
            codes.copy_from_slice(&four[..codes.len()]);
        }
    }

    /// Returns the trit at (`row`, `column`).
    pub fn trit(&self, row: usize, column: usize) -> i32 {
        trit(&self.words, row_words(self.columns), row, column)
    }
}

/// Returns the trit at (`row`, `column`) of block words that have `column_blocks` words in a row of blocks.
#[inline(always)]
pub fn trit(words: &[u32], column_blocks: usize, row: usize, column: usize) -> i32 {
    (words[row / 4 * column_blocks + column / 4] >> (8 * (column % 4) + 2 * (row % 4)) & 3) as i32 - 1
}

/// Returns the transpose of the 4×4 block in a word, computed by two delta swaps.
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
                assert_eq!(matrix.trit(row, column), i32::from(trits[row * columns + column]));
                let word = transpose_block(matrix.words[row / 4 * row_words(columns) + column / 4]);
                let code = word >> (8 * (row % 4) + 2 * (column % 4)) & 3;
                assert_eq!(code as i32 - 1, i32::from(trits[row * columns + column]));
            }
        }
        for (row, trits) in trits.chunks_exact(columns).enumerate() {
            let mut codes = vec![9; columns];
            matrix.codes(row, &mut codes);
            assert!(codes.iter().zip(trits).all(|(code, trit)| *code as i8 - 1 == *trit));
        }
        for other in [2, 3, -2, -128, 127] {
            assert!(Ternary::pack(1, 2, &[0, other], Scale::ONE).is_err(), "{other}");
        }
        assert!(Ternary::pack(1, 3, &[0, 1], Scale::ONE).is_err());
    }
}
