//! Reads the linear layers of a `BitNetForCausalLM` model. Each layer becomes a matrix of trits (−1, 0 or 1) and one
//! scale. The trits multiplied by the scale are the weights that `integrations/bitnet.py` in the library `transformers`
//! computes from the same file.
//!
//! A packed weight tensor is U8 `[ceil(rows / 4), columns]`. Each of its bytes holds the two-bit codes (trit + 1) of up
//! to four matrix rows: bits 2i and 2i + 1 of a byte in row `r` belong to matrix row `r + i · ceil(rows / 4)`.
//!
//! The scale is rounded to binary32 (f32), because this program writes scales in this type. Therefore a model does not
//! change when it is written and read back.

use super::{
    config::ScaleConvention,
    tensor::{FileTensor, TensorKind},
};
use crate::{
    error::Error,
    numbers::{fixed::Scale, ternary::Ternary},
};

/// The lower limit of the mean magnitude by which full-precision weights are divided. The class `WeightQuant` in
/// `transformers` has the same limit.
const MIN_MEAN: f32 = 1e-5;

/// Reads the weights `[rows, columns]` of a linear layer. `weight` is the tensor of the weights, packed or in floating
/// point. `scale` is the tensor `weight_scale`, or `None` if the file has no such tensor.
pub(super) fn linear(
    weight: &FileTensor,
    scale: Option<&FileTensor>,
    [rows, columns]: [usize; 2],
    convention: ScaleConvention,
) -> Result<Ternary, Error> {
    match weight.kind {
        TensorKind::U8 if convention == ScaleConvention::Online => {
            Err(weight.error("its weights are packed, but quantization_mode is \"online\""))
        }
        TensorKind::U8 => packed(weight, dequant_scale(weight, scale, convention)?, rows, columns),
        TensorKind::F32 | TensorKind::F16 | TensorKind::BF16 => {
            weight.check_shape(&[rows, columns])?;
            match (convention, scale) {
                (ScaleConvention::Divides, _) => {
                    Err(weight.error("linear_class \"bitlinear\" requires packed weights (U8)"))
                }
                (ScaleConvention::Multiplies, _) => {
                    trits(weight, dequant_scale(weight, scale, convention)?, rows, columns)
                }
                (ScaleConvention::Online, _) => full_precision(weight, rows, columns),
            }
        }
        _ => Err(weight.error("the type must be U8 (packed), F32, F16 or BF16")),
    }
}

/// Returns the factor by which trits are multiplied: the value of the tensor `scale`, or its reciprocal if `convention`
/// is `Divides`.
fn dequant_scale(weight: &FileTensor, scale: Option<&FileTensor>, convention: ScaleConvention) -> Result<Scale, Error> {
    let scale = scale.ok_or_else(|| Error::Missing { name: format!("{}_scale", weight.name) })?;
    let value = f64::from(scale.positive_scalar()?);
    let dequant_scale = if convention == ScaleConvention::Divides { 1.0 / value } else { value } as f32;
    match Scale::from_f64(dequant_scale.into()) {
        Some(dequant_scale) if dequant_scale.mantissa != 0 => Ok(dequant_scale),
        _ => Err(scale.error(format_args!("1 / {value} is not a finite number"))),
    }
}

/// Reads packed weights. Each byte holds up to four two-bit codes.
fn packed(weight: &FileTensor, scale: Scale, rows: usize, columns: usize) -> Result<Ternary, Error> {
    let quarter = rows.div_ceil(4);
    weight.check_shape(&[quarter, columns])?;
    Ternary::from_codes(rows, columns, scale, |row, codes| {
        let shift = 2 * (row / quarter);
        for (code, byte) in codes.iter_mut().zip(&weight.bytes[row % quarter * columns..]) {
            *code = byte >> shift & 3;
        }
        Ok(())
    })
    .map_err(|error| weight.error(error))
}

/// Reads weights that are stored as floating-point numbers, each of which must be −1, 0 or 1.
fn trits(weight: &FileTensor, scale: Scale, rows: usize, columns: usize) -> Result<Ternary, Error> {
    let (read, mut reals) = (row_reader(weight, columns)?, vec![0.0; columns]);
    Ternary::from_codes(rows, columns, scale, |row, codes| {
        read(row, &mut reals);
        for (code, &real) in codes.iter_mut().zip(&reals) {
            if ![-1.0, 0.0, 1.0].contains(&real) {
                return Err(weight.error(format_args!("the weight {real} has a scale, so it must be −1, 0 or 1")));
            }
            *code = (real + 1.0) as u8;
        }
        Ok(())
    })
}

/// Quantizes full-precision weights. A weight `w` becomes the trit `round(w / mean |w|)`, clamped to ±1, and `mean |w|`
/// is the scale of the trits. The magnitudes are summed in f64, row by row. If the mean is below [`MIN_MEAN`], it is
/// replaced by this limit.
fn full_precision(weight: &FileTensor, rows: usize, columns: usize) -> Result<Ternary, Error> {
    let (read, mut reals) = (row_reader(weight, columns)?, vec![0.0; columns]);
    let mut sum = 0.0;
    for row in 0..rows {
        read(row, &mut reals);
        sum += reals.iter().map(|real| f64::from(real.abs())).sum::<f64>();
    }
    let mean = (sum / (rows * columns) as f64) as f32;
    if !mean.is_finite() {
        return Err(weight.error("a weight is not finite"));
    }
    let inverse = 1.0 / mean.max(MIN_MEAN);
    let scale = Scale::from_f64((1.0 / inverse).into()).unwrap_or(Scale::ZERO);
    Ternary::from_codes(rows, columns, scale, |row, codes| {
        read(row, &mut reals);
        for (code, real) in codes.iter_mut().zip(&reals) {
            *code = ((real * inverse).round_ties_even().clamp(-1.0, 1.0) + 1.0) as u8;
        }
        Ok(())
    })
}

/// Returns a function that converts one row of a floating-point tensor to f32 and writes it into a slice. The first
/// argument of the function is the index of the row.
fn row_reader<'a>(weight: &FileTensor<'a>, columns: usize) -> Result<impl Fn(usize, &mut [f32]) + use<'a>, Error> {
    weight.rows(columns).ok_or_else(|| weight.error("the type must be F32, F16 or BF16"))
}
