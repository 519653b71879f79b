//! A tensor in the form in which a GGUF file stores it.

use super::types;
use crate::{
    error::Error,
    model::file::tensor::{FileTensor, TensorKind},
};

/// A part of the error messages about a file that ends too early: it says what the user can do.
pub(super) const TRUNCATED: &str = "it is truncated, so download it again";

/// A tensor that the header of a GGUF file lists: its name, the number by which GGUF identifies its element type, and
/// its shape, beginning with the slowest axis.
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
        malformed(format!(
            "tensor {} (type {}, shape {:?}): {reason}",
            self.name,
            types::type_name(self.number),
            self.shape
        ))
    }

    /// Returns the first `count` bytes of the tensor, or an error if the file ends before the last of them.
    pub(super) fn bytes(&self, count: usize) -> Result<&'a [u8], Error> {
        self.bytes
            .get(..count)
            .ok_or_else(|| self.error(format_args!("the file ends before the last of its {count} bytes; {TRUNCATED}")))
    }

    /// Returns the tensor with the bytes of its elements. Returns an error unless the type is F32, F16, BF16, Q4_K or
    /// Q6_K, and a row is a whole number of blocks.
    pub(super) fn real_tensor(&self) -> Result<FileTensor<'a>, Error> {
        let kind = match self.number {
            types::F32 => TensorKind::F32,
            types::F16 => TensorKind::F16,
            types::BF16 => TensorKind::BF16,
            types::Q4_K => TensorKind::Q4K,
            types::Q6_K => TensorKind::Q6K,
            _ => return Err(self.error("the type must be F32, F16, BF16, Q4_K or Q6_K")),
        };
        let (block, size) = kind.block().unwrap_or((1, 1));
        if !self.shape.last().is_some_and(|width| width.is_multiple_of(block)) {
            return Err(self.error(format_args!("the length of a row is not a multiple of the block size {block}")));
        }
        let bytes = self.bytes(self.elements() / block * size)?;
        Ok(FileTensor { name: self.name.into(), kind, shape: self.shape.clone(), bytes })
    }

    /// Returns the number of elements. The reader of the header has checked that a usize can hold this number.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

pub(super) fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { what: "GGUF", reason: reason.into() }
}
