//! A tensor of a model file: its name, element type, shape and bytes.

use super::k_quants;
use crate::{error::Error, model::float_conversion::binary16};

/// The element type of a tensor in a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TensorKind {
    F32,
    F16,
    BF16,
    /// Blocks of 256 elements with 4 bits each, which only GGUF files have.
    Q4K,
    /// Blocks of 256 elements with 6 bits each, which only GGUF files have.
    Q6K,
    U8,
    I8,
    /// A type that this program does not support, with the name of the type. A tensor of the type is refused with an
    /// error message that contains this name.
    Other(&'static str),
}

impl TensorKind {
    /// Returns the number of elements of a block, and the size of the block in bytes. A block is the smallest part of a
    /// tensor that can be decoded. Returns `None` for types whose elements are not real numbers.
    pub(super) fn block(self) -> Option<(usize, usize)> {
        match self {
            Self::F32 => Some((1, 4)),
            Self::F16 | Self::BF16 => Some((1, 2)),
            Self::Q4K => Some((k_quants::BLOCK, k_quants::Q4_K_BYTES)),
            Self::Q6K => Some((k_quants::BLOCK, k_quants::Q6_K_BYTES)),
            Self::U8 | Self::I8 | Self::Other(_) => None,
        }
    }
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
        Error::Malformed { what: "tensor", reason: format!("{name} (type {kind:?}, shape {shape:?}): {reason}") }
    }

    /// Returns an error unless the tensor has the shape `shape`.
    pub(super) fn check_shape(&self, shape: &[usize]) -> Result<(), Error> {
        if self.shape == shape { Ok(()) } else { Err(self.error(format_args!("the expected shape is {shape:?}"))) }
    }

    /// Returns a function that decodes one row: it takes the index of the row and writes `width` values as f32 to a
    /// slice. Returns `None` if the elements are not real numbers, or if a row is not a whole number of blocks.
    pub(super) fn rows(&self, width: usize) -> Option<impl Fn(usize, &mut [f32]) + use<'a>> {
        let (kind, bytes) = (self.kind, self.bytes);
        let (block, size) = kind.block().filter(|(block, _)| width.is_multiple_of(*block))?;
        let row_bytes = width / block * size;
        Some(move |row: usize, out: &mut [f32]| {
            let bytes = &bytes[row * row_bytes..][..row_bytes];
            match kind {
                TensorKind::F32 => {
                    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, four)| *out = f32::from_le_bytes(*four));
                }
                TensorKind::F16 => out
                    .iter_mut()
                    .zip(bytes.as_chunks().0)
                    .for_each(|(out, two)| *out = binary16(u16::from_le_bytes(*two))),
                TensorKind::Q4K => k_quants::q4_k_row(bytes, out),
                TensorKind::Q6K => k_quants::q6_k_row(bytes, out),
                _ => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, two)| {
                    *out = f32::from_bits(u32::from(u16::from_le_bytes(*two)) << 16);
                }),
            }
        })
    }

    /// Returns whether two tensors have the same shape and the same values. If their types are the same, their bytes
    /// are compared. Otherwise, their values are compared as f32, and the function returns false if the elements of
    /// either type are not real numbers.
    pub(super) fn has_values_of(&self, other: &Self) -> bool {
        if self.shape != other.shape || self.kind == other.kind {
            return self.shape == other.shape && self.bytes == other.bytes;
        }
        let width = self.shape.last().copied().unwrap_or(1);
        let (Some(read), Some(read_other)) = (self.rows(width), other.rows(width)) else { return false };
        let (mut row, mut other_row) = (vec![0.0; width], vec![0.0; width]);
        (0..self.shape.iter().rev().skip(1).product()).all(|at| {
            read(at, &mut row);
            read_other(at, &mut other_row);
            row == other_row
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
