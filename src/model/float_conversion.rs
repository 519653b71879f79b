//! Converts f32 values to integer rows (the inputs of kernels), and integer rows (the outputs of kernels) to f32
//! values.

use crate::{
    error::Error,
    kernels::{
        INFO, as_bytes_mut,
        shared::{
            rows,
            wide::{self, wide_words},
        },
    },
    numbers::{
        fixed::{Scale, WIDE_BITS},
        ternary::row_words,
    },
};
use safetensors::{Dtype, tensor::TensorView};

/// Returns an error unless `values` has `expected` elements and all of them are finite. In the error, the values are
/// called `what`.
pub(super) fn check_finite(what: &'static str, values: &[f32], expected: usize) -> Result<(), Error> {
    match values.len() == expected {
        true if values.iter().all(|value| value.is_finite()) => Ok(()),
        true => Err(Error::NotFinite { what }),
        false => Err(Error::Shape { what, expected, found: values.len() }),
    }
}

/// Returns the largest magnitude among `values`, or 0 if `values` is empty.
pub(super) fn absmax(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |absmax, &value| absmax.max(f64::from(value.abs())))
}

/// Returns the transpose of a row-major matrix that has `columns` columns.
pub(super) fn transpose<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|at| values.iter().skip(at).step_by(columns).copied()).collect()
}

/// Quantizes the row `x [width]` of each token to int8: `round(x · 127 / absmax)`, where `absmax` is the largest
/// magnitude in the row. Returns the int8 rows, and the row info (scale and sum) of each row.
pub(super) fn byte_rows(x: &[f32], width: usize) -> (Vec<u32>, Vec<u32>) {
    let tokens = x.len() / width;
    let (mut data, mut info) = (vec![0; tokens * row_words(width)], vec![0; tokens * INFO]);
    let out = data.chunks_exact_mut(row_words(width)).zip(info.chunks_exact_mut(INFO));
    for (x, (data, info)) in x.chunks_exact(width).zip(out) {
        let dequant_scale = Scale::from_f64(absmax(x) / 127.0).unwrap_or(Scale::ZERO);
        if dequant_scale.mantissa == 0 {
            continue;
        }
        let unit = dequant_scale.to_f64();
        let mut sum = 0;
        for (byte, &x) in as_bytes_mut(data).iter_mut().zip(x) {
            *byte = (f64::from(x) / unit).round_ties_even().clamp(-127.0, 127.0) as i8;
            sum += i32::from(*byte);
        }
        rows::put_info(info, dequant_scale, sum);
    }
    (data, info)
}

/// Quantizes the row `dy [width]` of each token to integers of magnitude ≤ 2^14 in units of a power of two. Returns
/// these integers as wide rows, in which each integer is stored as two int8 values, and the row info (scale and sum) of
/// each row.
pub(super) fn wide_rows(dy: &[f32], width: usize) -> (Vec<u32>, Vec<u32>) {
    let tokens = dy.len() / width;
    let (mut data, mut info) = (vec![0; tokens * wide_words(width)], vec![0; tokens * INFO]);
    let out = data.chunks_exact_mut(wide_words(width)).zip(info.chunks_exact_mut(INFO));
    for (dy, (data, info)) in dy.chunks_exact(width).zip(out) {
        let Some(largest) = Scale::from_f64(absmax(dy)).filter(|scale| scale.mantissa > 0) else { continue };
        // A value |dy| < 2^(exponent + 31) becomes an integer ≤ 2^14.
        let unit = Scale::power_of_two(largest.exponent + 31 - WIDE_BITS as i32);
        let mut sum = 0;
        for (at, &value) in dy.iter().enumerate() {
            let value = (f64::from(value) / unit.to_f64()).round_ties_even() as i32;
            wide::set(bytemuck::cast_slice_mut(data), at, value);
            sum += value;
        }
        rows::put_info(info, unit, sum);
    }
    (data, info)
}

/// Converts i32 rows to f32. A row consists of `width` integers and the row info, which contains the scale by which the
/// integers are multiplied.
pub(super) fn rows_to_f32(words: &[u32], width: usize) -> Vec<f32> {
    let rows = words.chunks_exact(width + INFO).flat_map(|row| {
        let unit = Scale::from_words(&row[width..]).to_f64();
        row[..width].iter().map(move |&value| (f64::from(value as i32) * unit) as f32)
    });
    rows.collect()
}

/// Multiplies i64 integers by `2^exponent`, and returns the products as f32. An integer consists of two words, the low
/// word first.
pub(super) fn i64_to_f32(words: &[u32], exponent: i32) -> Vec<f32> {
    let unit = Scale::power_of_two(exponent).to_f64();
    let long = |pair: &[u32; 2]| (u64::from(pair[0]) | u64::from(pair[1]) << 32) as i64;
    words.as_chunks().0.iter().map(|pair| (long(pair) as f64 * unit) as f32).collect()
}

/// Converts the elements of an F32, BF16 or F16 tensor to f32, which holds them exactly. Returns `None` for a tensor of
/// another type.
pub(super) fn tensor_to_f32(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let pairs = || tensor.data().as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
    match tensor.dtype() {
        Dtype::F32 => Some(tensor.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()),
        Dtype::BF16 => Some(pairs().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()),
        Dtype::F16 => Some(pairs().map(binary16).collect()),
        _ => None,
    }
}

/// Converts an IEEE binary16 to f32, exactly. The 15 bits of exponent and fraction, shifted left by 13 bits, form an
/// f32 that is 2^112 times smaller than the magnitude of the value, because the exponent biases of the two formats
/// differ by 112.
pub(super) fn binary16(bits: u16) -> f32 {
    let magnitude = match bits & 0x7fff {
        finite @ ..0x7c00 => f32::from_bits(u32::from(finite) << 13) * f32::from_bits((127 + 112) << 23),
        0x7c00 => f32::INFINITY,
        _ => f32::NAN,
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary16_values_are_exact() {
        let values =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x7bff, 65_504.0), (0x3555, 0.333_251_95)];
        for (bits, value) in values {
            assert_eq!(binary16(bits), value);
        }
        assert_eq!(binary16(0xfc00), f32::NEG_INFINITY);
        assert!(binary16(0x7e00).is_nan());
    }
}
