//! Ternary matrices, whose elements are trits: −1, 0 or +1. Two bits encode a trit, and one 32-bit word contains a
//! block of 4×4 trits.
//!
//! In the block with row index `n4` and column index `k4`, the trit of matrix row `4·n4 + j` and matrix column
//! `4·k4 + b` is encoded by the code (trit + 1) at bit `8·b + 2·j` of the word. Therefore `(word >> 2j) & 0x03030303`
//! is row j of the block, with one column in each byte. If the word is [transposed](transpose_block) first,
//! `(word >> 2b) & 0x03030303` is column b of the block, with one row in each byte. So a single copy of a matrix serves
//! both the forward product and the gradient of that product's input.

use crate::{error::Error, numbers::fixed::Scale};
use std::sync::Arc;

/// Rows of matrices are padded with zeros to a multiple of this number of elements. The zeros do not change the result
/// of a matrix product.
pub const ROW_ALIGN: usize = 32;

/// The word of a 4×4 block whose trits are all 0. It pads a matrix to whole blocks.
const PADDING: u32 = 0x5555_5555;

/// Returns the number of words in a row of `width` bytes, including the padding to a multiple of 32 bytes.
pub const fn row_words(width: usize) -> usize {
    width.div_ceil(ROW_ALIGN) * (ROW_ALIGN / 4)
}

/// A ternary matrix `[rows, columns]`, and the scale by which its trits are multiplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ternary {
    /// The number of rows. For the weights of a linear layer, it is the number of output features.
    pub rows: usize,
    /// The number of columns. For the weights of a linear layer, it is the number of input features.
    pub columns: usize,
    /// One word for each 4×4 block. The rows and the columns are padded with zero trits to multiples of 32, so there
    /// are `[row_words(rows), row_words(columns)]` words. `row_words(n)` rounds n up to a multiple of 32 and divides it
    /// by 4.
    pub words: Arc<[u32]>,
    /// The dequantization scale, which is the real value of the trit 1.
    pub dequant_scale: Scale,
}

impl Ternary {
    /// Packs trits that are given row by row. Returns an error if the matrix is empty, if there are not exactly
    /// `rows · columns` trits, or if one of them is outside −1..=1.
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

    /// Packs a matrix from the codes of its trits (trit + 1). `read` is called for each row, in order. It writes the
    /// codes of the row with the given index into a slice of length `columns`. Returns an error if `read` does, or if a
    /// code is larger than 2.
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

    /// Writes the codes (trit + 1) of a row into a slice of length `columns`. The inverse
    /// function, which packs a matrix from codes, is [`Self::from_codes`].
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

/// Returns the trit at (`row`, `column`) of a matrix of 4×4 blocks. `words` contains one word for each block, and
/// `column_blocks` is the number of blocks in one row of blocks.
#[inline(always)]
pub fn trit(words: &[u32], column_blocks: usize, row: usize, column: usize) -> i32 {
    (words[row / 4 * column_blocks + column / 4] >> (8 * (column % 4) + 2 * (row % 4)) & 3) as i32 - 1
}

/// Returns the word of the transposed 4×4 block. Two delta swaps (exchanges of bits within the word) transpose it.
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
