//! A tensor of a model file: its name, element type, shape and bytes.

use crate::{error::Error, model::float_conversion::binary16};

/// The element type of a tensor in a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TensorKind {
    F32,
    F16,
    BF16,
    U8,
    I8,
    /// A type other than F32, F16, BF16, U8 and I8. The text is the name of the type, for error messages.
    Other(&'static str),
}

/// A tensor of a model file. Its elements are not decoded yet.
#[derive(Clone, Debug)]
pub(super) struct FileTensor<'a> {
    pub(super) name: String,
    pub(super) kind: TensorKind,
    /// Lengths of the axes, beginning with the slowest axis.
    pub(super) shape: Vec<usize>,
    pub(super) bytes: &'a [u8],
}

impl<'a> FileTensor<'a> {
    /// Returns an error that states this tensor's name, type and shape, and why the tensor is refused (`reason`).
    pub(super) fn error(&self, reason: impl std::fmt::Display) -> Error {
        let Self { name, kind, shape, .. } = self;
        Error::Malformed { what: "tensor", reason: format!("{name} ({kind:?} {shape:?}): {reason}") }
    }

    /// Returns an error unless the tensor has the shape `shape`.
    pub(super) fn check_shape(&self, shape: &[usize]) -> Result<(), Error> {
        if self.shape == shape { Ok(()) } else { Err(self.error(format_args!("the expected shape is {shape:?}"))) }
    }

    /// Returns a function that decodes one row: it takes the index of the row and writes `width` values as f32 to a
    /// slice. Returns `None` unless the elements are of the type F32, F16 or BF16.
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
                TensorKind::F16 => out
                    .iter_mut()
                    .zip(bytes.as_chunks().0)
                    .for_each(|(out, two)| *out = binary16(u16::from_le_bytes(*two))),
                _ => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, two)| {
                    *out = f32::from_bits(u32::from(u16::from_le_bytes(*two)) << 16);
                }),
            }
        })
    }

    /// Returns all values as f32. Returns an error unless the tensor has the shape `shape` and the type F32, F16 or
    /// BF16.
    pub(super) fn to_f32(&self, shape: &[usize]) -> Result<Vec<f32>, Error> {
        self.check_shape(shape)?;
        let width = shape.iter().product();
        let read = self.rows(width).ok_or_else(|| self.error("the type must be F32, F16 or BF16"))?;
        let mut out = vec![0.0; width];
        read(0, &mut out);
        Ok(out)
    }

    /// Returns the value of a tensor with a single element. Returns an error unless the value is finite and positive.
    pub(super) fn positive_scalar(&self) -> Result<f32, Error> {
        let shape: &[usize] = if self.shape.is_empty() { &[] } else { &[1] };
        match self.to_f32(shape)?[0] {
            value if value.is_finite() && value > 0.0 => Ok(value),
            value => Err(self.error(format_args!("{value} is not a positive number"))),
        }
    }
}
