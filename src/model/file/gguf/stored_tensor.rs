//! A tensor as a GGUF file stores it.

use super::types;
use crate::{
    error::Error,
    model::file::tensor::{FileTensor, TensorKind},
};

/// A tensor that the header lists: its name, GGUF's number for its element type, and its shape with the slowest axis
/// first.
#[derive(Clone, Debug)]
pub(super) struct StoredTensor<'a> {
    pub(super) name: &'a str,
    pub(super) number: u32,
    pub(super) shape: Vec<usize>,
    /// The file's bytes from the first byte of the tensor to the end of the file.
    pub(super) bytes: &'a [u8],
}

impl<'a> StoredTensor<'a> {
    pub(super) fn error(&self, reason: impl std::fmt::Display) -> Error {
        malformed(format!("{} (type {}, {:?}): {reason}", self.name, types::type_name(self.number), self.shape))
    }

    /// Returns the first `count` bytes.
    pub(super) fn bytes(&self, count: usize) -> Result<&'a [u8], Error> {
        self.bytes
            .get(..count)
            .ok_or_else(|| self.error(format_args!("the file ends before the end of its {count} bytes")))
    }

    /// Returns the tensor if its type is a floating-point one, and an error otherwise.
    pub(super) fn float_tensor(&self) -> Result<FileTensor<'a>, Error> {
        let (kind, size) = match self.number {
            types::F32 => (TensorKind::F32, 4),
            types::F16 => (TensorKind::F16, 2),
            types::BF16 => (TensorKind::BF16, 2),
            _ => return Err(self.error("the type must be F32, F16 or BF16")),
        };
        let bytes = self.bytes(size * self.elements())?;
        Ok(FileTensor { name: self.name.into(), kind, shape: self.shape.clone(), bytes })
    }

    /// Returns the number of elements. The header reader has checked that it fits usize.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

pub(super) fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { what: "GGUF", reason: reason.into() }
}
