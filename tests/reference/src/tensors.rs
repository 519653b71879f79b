//! Converts the stored tensors of a model to f64: `value = integer · mantissa · 2^exponent`, where `mantissa` and
//! `exponent` are those of the scale of the tensor or row.

use r3mes_wgpu::{
    model::weights::{Embedding, Gain},
    numbers::{fixed::Scale, ternary::Ternary},
};

/// Returns the weights `[rows, columns]` of a ternary matrix. The matrix is stored in blocks of 4×4 weights, one word
/// for each block. Each weight is stored as a two-bit code (trit + 1). The code in row j and column b of a block begins
/// at bit 8b + 2j of the word.
pub fn ternary(matrix: &Ternary) -> Vec<f64> {
    let Scale { mantissa, exponent } = matrix.dequant_scale;
    let unit = f64::from(mantissa) * 2f64.powi(exponent);
    let blocks = matrix.columns.div_ceil(32) * 8;
    let cells = (0..matrix.rows).flat_map(|row| (0..matrix.columns).map(move |column| (row, column)));
    let trit = |(row, column): (usize, usize)| {
        let word = matrix.words[row / 4 * blocks + column / 4];
        f64::from(word >> (8 * (column % 4) + 2 * (row % 4)) & 3) - 1.0
    };
    cells.map(|cell| unit * trit(cell)).collect()
}

/// Returns the embedding `[vocab, width]`. Each row is stored as bytes and padded to a multiple of 32 bytes.
pub fn embedding(embedding: &Embedding, width: usize) -> Vec<f64> {
    let unit = 2f64.powi(embedding.exponent - 16);
    let rows = embedding.words.chunks_exact(width.div_ceil(32) * 8).zip(embedding.row_scales.iter());
    let row = |(words, &scale): (&[u32], &u32)| -> Vec<f64> {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        bytes.take(width).map(|byte| f64::from(byte as i8) * f64::from(scale) * unit).collect()
    };
    rows.flat_map(row).collect()
}

/// Returns the gains `[width]` of a norm.
pub fn gain(gain: &Gain) -> Vec<f64> {
    gain.mantissas.iter().map(|&mantissa| f64::from(mantissa as i32) * 2f64.powi(gain.exponent)).collect()
}
