//! A tensor as a file holds it: a type, a shape, bytes.

use crate::error::Error;

/// What one element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TensorKind {
    F32,
    F16,
    BF16,
    U8,
    I8,
    /// Any other, by the name that messages give it.
    Other(&'static str),
}

/// A tensor of a file, by name.
#[derive(Clone, Debug)]
pub(super) struct FileTensor<'a> {
    pub(super) name: String,
    pub(super) kind: TensorKind,
    /// Slowest axis first.
    pub(super) shape: Vec<usize>,
    pub(super) bytes: &'a [u8],
}

impl<'a> FileTensor<'a> {
    /// That something is wrong with it.
    pub(super) fn error(&self, reason: impl std::fmt::Display) -> Error {
        let Self { name, kind, shape, .. } = self;
        Error::Malformed { what: "tensor", reason: format!("{name} ({kind:?} {shape:?}): {reason}") }
    }

    /// Checks the shape.
    pub(super) fn shaped(&self, shape: &[usize]) -> Result<(), Error> {
        if self.shape == shape { Ok(()) } else { Err(self.error(format_args!("expected {shape:?}"))) }
    }

    /// A reader of its reals, `[width]` at a time; `None` where its kind is not one of reals.
    pub(super) fn rows(&self, width: usize) -> Option<impl Fn(usize, &mut [f32]) + use<'a>> {
        let (kind, bytes) = (self.kind, self.bytes);
        let size = match kind {
            TensorKind::F32 => 4,
            TensorKind::F16 | TensorKind::BF16 => 2,
            _ => return None,
        };
        Some(move |row: usize, out: &mut [f32]| {
            let bytes = &bytes[row * width * size..][..width * size];
            match kind {
                TensorKind::F32 => {
                    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, four)| *out = f32::from_le_bytes(*four));
                }
                TensorKind::F16 => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, two)| *out = half(*two)),
                _ => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, two)| {
                    *out = f32::from_bits(u32::from(u16::from_le_bytes(*two)) << 16);
                }),
            }
        })
    }

    /// All of its reals, of a shape.
    pub(super) fn reals(&self, shape: &[usize]) -> Result<Vec<f32>, Error> {
        self.shaped(shape)?;
        let width = shape.iter().product();
        let read = self.rows(width).ok_or_else(|| self.error("expected F32, F16 or BF16"))?;
        let mut out = vec![0.0; width];
        read(0, &mut out);
        Ok(out)
    }

    /// Its one real, positive.
    pub(super) fn positive(&self) -> Result<f32, Error> {
        let shape: &[usize] = if self.shape.is_empty() { &[] } else { &[1] };
        match self.reals(shape)?[0] {
            value if value.is_finite() && value > 0.0 => Ok(value),
            value => Err(self.error(format_args!("{value} is not a positive number"))),
        }
    }
}

/// IEEE binary16 as f32, exactly; infinities are NaN.
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bytes);
    let (exponent, fraction) = (bits >> 10 & 31, bits & 1023);
    let magnitude = match exponent {
        0 => f32::from(fraction) * f32::from_bits((127 - 24) << 23),
        31 => f32::NAN,
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | u32::from(fraction) << 13),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_exact() {
        for (bits, value) in
            [(0x3c00u16, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x7bff, 65_504.0), (0x3555, 0.333_251_95)]
        {
            assert_eq!(half(bits.to_le_bytes()), value);
        }
    }
}
