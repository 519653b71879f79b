//! The token embedding, stored as integers. Each of its values is `int8 · row_scale · 2^(exponent − 16)`.

use crate::{
    error::Error,
    kernels::as_bytes,
    numbers::{fixed::Scale, ternary::row_words},
};
use std::sync::Arc;

/// An embedding table `[vocab, width]`: int8 values, a 16-bit scale for each row, and a power of two for the whole
/// table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// The int8 values, four packed into each 32-bit word, `[vocab, row_words(width)]`.
    pub words: Arc<[u32]>,
    /// The scales of the rows, `[vocab]`. Each is an integer of 16 bits, in units of 2^(exponent − 16).
    pub row_scales: Arc<[u32]>,
    /// Exponent that all rows share: a value of the table is `int8 · row_scale · 2^(exponent − 16)`.
    pub exponent: i32,
}

impl Embedding {
    /// Quantizes finite f32 values `[vocab, width]` to int8, relative to the largest magnitude of each row. The scale
    /// of a row is this magnitude divided by 127, rounded to 16 bits.
    pub fn quantize(values: &[f32], width: usize) -> Result<Self, Error> {
        let row = |row: usize, out: &mut [f32]| out.copy_from_slice(&values[row * width..][..width]);
        Self::quantize_rows(values.len() / width, width, row)
    }

    /// Quantizes `vocab` rows of f32 values to int8, as [`Self::quantize`] does. `read` takes the index of a row and
    /// writes the `width` values of that row to a slice. `read` is called twice for each row.
    pub fn quantize_rows(vocab: usize, width: usize, read: impl Fn(usize, &mut [f32])) -> Result<Self, Error> {
        let (mut row, mut maxima) = (vec![0f32; width], Vec::with_capacity(vocab));
        for at in 0..vocab {
            read(at, &mut row);
            if !row.iter().all(|value| value.is_finite()) {
                return Err(Error::NotFinite { what: "embedding" });
            }
            maxima.push(f64::from(row.iter().fold(0f32, |max, value| max.max(value.abs()))));
        }
        let exponent = exponent_of(maxima.iter().copied().fold(0f64, f64::max) / 127.0);
        let unit = Scale::power_of_two(exponent - 16).to_f64();
        let (mut words, mut row_scales) = (vec![0; vocab * row_words(width)], Vec::with_capacity(vocab));
        for (at, max) in maxima.into_iter().enumerate() {
            let scale = round_to_u16(max / 127.0 / unit);
            row_scales.push(scale as u32);
            read(at, &mut row);
            let words = &mut words[at * row_words(width)..][..row_words(width)];
            for (byte, &value) in bytemuck::cast_slice_mut::<u32, i8>(words).iter_mut().zip(&row) {
                *byte = (f64::from(value) / (scale * unit)).round_ties_even().clamp(-127.0, 127.0) as i8;
            }
        }
        Ok(Self { words: words.into(), row_scales: row_scales.into(), exponent })
    }

    /// Creates a table from int8 values `[vocab, width]`, which must be within ±127, and one scale for each row. A
    /// scale must be finite and not negative.
    pub fn from_int8(values: &[i8], width: usize, scales: &[f32]) -> Result<Self, Error> {
        if values.len() != scales.len() * width {
            let (what, expected) = ("int8 embedding", scales.len() * width);
            return Err(Error::Shape { what, expected, found: values.len() });
        }
        if !scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0) {
            return Err(Error::NotFinite { what: "embedding row scale" });
        }
        let rows = || values.chunks_exact(width).zip(scales);
        let used = rows().filter(|(row, _)| row.iter().any(|value| *value != 0));
        let exponent = exponent_of(used.map(|(_, scale)| f64::from(*scale)).fold(0f64, f64::max));
        let unit = Scale::power_of_two(exponent - 16).to_f64();
        let row_scales = scales.iter().map(|&scale| round_to_u16(f64::from(scale) / unit) as u32).collect();
        let mut words = vec![0; scales.len() * row_words(width)];
        for (row, words) in values.chunks_exact(width).zip(words.chunks_exact_mut(row_words(width))) {
            bytemuck::cast_slice_mut(words)[..width].copy_from_slice(row);
        }
        Ok(Self { words: words.into(), row_scales, exponent })
    }

    /// Returns the int8 values `[width]` of the row with the index `at`.
    pub fn row(&self, at: usize, width: usize) -> &[i8] {
        &as_bytes(&self.words[at * row_words(width)..])[..width]
    }

    /// Returns the scale of the row with the index `at`. The conversion to f32 is exact, because the scale has only 16
    /// bits.
    pub fn row_scale(&self, at: usize) -> f32 {
        (f64::from(self.row_scales[at]) * Scale::power_of_two(self.exponent - 16).to_f64()) as f32
    }

    /// Returns all values of the table, `[vocab, width]`. The conversion to f32 is exact, because each value is a
    /// product of integers of 8 and 16 bits.
    pub fn to_f32(&self, width: usize) -> Vec<f32> {
        let row = |at| self.row(at, width).iter().map(move |&value| f32::from(value) * self.row_scale(at));
        (0..self.row_scales.len()).flat_map(row).collect()
    }
}

/// Returns the exponent of the smallest power of two that is greater than `top`, the largest of all row scales.
fn exponent_of(top: f64) -> i32 {
    Scale::from_f64(top).map_or(0, |scale| scale.exponent + 31)
}

/// Rounds the scale of a row, given in units of 2^(exponent − 16), to an integer from 1 to 65,535.
fn round_to_u16(scale: f64) -> f64 {
    scale.round_ties_even().clamp(1.0, 65_535.0)
}
