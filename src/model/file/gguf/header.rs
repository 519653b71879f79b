//! Reads the header of a little-endian GGUF file of version 2 or 3, as `ggml/docs/gguf.md` specifies it. The header
//! consists of the magic bytes, the version, the number of tensors, the number of key-value pairs, the key-value pairs,
//! and one entry for each tensor. The data of all tensors follows the header, at the next multiple of the alignment.
//! The entry of a tensor states where the tensor's data starts, as an offset from the start of all data.
//!
//! Counts and lengths in a file are not trusted: they never determine how much memory is allocated, and the bytes that
//! they describe must be present.

use super::stored_tensor::{StoredTensor, TRUNCATED, malformed};
use crate::{error::Error, model::file::contents::recognize};
use std::{collections::BTreeMap, fmt};

/// A metadata value of a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MetadataValue<'a> {
    Integer(i128),
    Float(f64),
    Bool(bool),
    String(&'a str),
    /// An array. Only the number of its elements is kept, because this program never needs the elements.
    Array(usize),
}

impl MetadataValue<'_> {
    /// Returns whether two values are equal. A float equals the integer of the same value.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(real), Self::Integer(integer)) | (Self::Integer(integer), Self::Float(real)) => {
                *real == *integer as f64
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for MetadataValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::String(value) => write!(f, "{:?}", value.chars().take(80).collect::<String>()),
            Self::Array(length) => write!(f, "an array of {length} values"),
        }
    }
}

/// The metadata and the tensors that the header of a GGUF file lists, in two maps whose keys are names.
pub(super) struct GgufHeader<'a> {
    pub(super) values: BTreeMap<&'a str, MetadataValue<'a>>,
    pub(super) tensors: BTreeMap<&'a str, StoredTensor<'a>>,
}

/// A reader for the header. Its slice contains the bytes of the file that have not been read yet.
struct HeaderReader<'a>(&'a [u8]);

impl<'a> HeaderReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| malformed(format!("the file ends inside its header; {TRUNCATED}")))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let length = self.size()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| malformed("a string in the header is not UTF-8"))
    }

    fn size(&mut self) -> Result<usize, Error> {
        let size = self.u64()?;
        usize::try_from(size).map_err(|_| malformed(format!("a length or count in the header, {size}, is too large")))
    }

    fn value(&mut self, kind: u32) -> Result<MetadataValue<'a>, Error> {
        Ok(match kind {
            0 => MetadataValue::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => MetadataValue::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => MetadataValue::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => MetadataValue::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => MetadataValue::Integer(u32::from_le_bytes(self.array()?).into()),
            5 => MetadataValue::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => MetadataValue::Float(f32::from_le_bytes(self.array()?).into()),
            7 => MetadataValue::Bool(self.take(1)? != [0]),
            8 => MetadataValue::String(self.text()?),
            9 => self.skip_array()?,
            10 => MetadataValue::Integer(u64::from_le_bytes(self.array()?).into()),
            11 => MetadataValue::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => MetadataValue::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(malformed(format!("a metadata value has the unknown type {kind}"))),
        })
    }

    /// Skips an array and returns the number of its elements. Checks only that the bytes of the array are present.
    fn skip_array(&mut self) -> Result<MetadataValue<'a>, Error> {
        let (kind, count) = (self.u32()?, self.size()?);
        let each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                // each string takes at least 8 bytes, so the end of the file bounds this loop
                for _ in 0..count {
                    self.text()?;
                }
                return Ok(MetadataValue::Array(count));
            }
            _ => return Err(malformed(format!("a metadata array has values of the unsupported type {kind}"))),
        };
        self.take(
            count
                .checked_mul(each)
                .ok_or_else(|| malformed(format!("a metadata array of {count} values is too large")))?,
        )?;
        Ok(MetadataValue::Array(count))
    }
}

/// Reads the header of a GGUF file. `bytes` is the whole file. Returns an error if the header is malformed, or if a
/// tensor would start after the end of the file.
pub(super) fn read(bytes: &[u8]) -> Result<GgufHeader<'_>, Error> {
    let mut rest = HeaderReader(bytes);
    if !bytes.starts_with(b"GGUF") {
        return Err(malformed(recognize(bytes).unwrap_or(
            "the file does not begin with GGUF; pass a GGUF file, or the folder with config.json and safetensors files",
        )));
    }
    rest.take(4)?;
    let version = rest.u32()?;
    if !(2..=3).contains(&version) {
        return Err(malformed(format!("GGUF version {version} is not supported; expected 2 or 3, little-endian")));
    }
    let (tensor_count, value_count) = (rest.size()?, rest.size()?);
    let mut values = BTreeMap::new();
    for _ in 0..value_count {
        let (key, kind) = (rest.text()?, rest.u32()?);
        if values.insert(key, rest.value(kind)?).is_some() {
            return Err(malformed(format!("the metadata key {key} occurs twice")));
        }
    }
    let mut infos = Vec::new();
    for _ in 0..tensor_count {
        let (name, axes) = (rest.text()?, rest.u32()?);
        if !(1..=4).contains(&axes) {
            return Err(malformed(format!("the tensor {name} has {axes} axes, but only 1 to 4 are supported")));
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            shape.push(rest.size()?);
        }
        shape.reverse();
        // with at most usize::MAX / 8 elements of four bytes each, sums of sizes do not overflow
        let elements = shape.iter().try_fold(1usize, |product, axis| product.checked_mul(*axis));
        if !elements.is_some_and(|elements| (1..=usize::MAX / 8).contains(&elements)) {
            return Err(malformed(format!("the tensor {name} has the shape {shape:?}, which is empty or too large")));
        }
        infos.push((name, shape, rest.u32()?, rest.size()?));
    }
    let alignment = match values.get("general.alignment") {
        None => 32,
        Some(MetadataValue::Integer(alignment @ 1..=65_536)) if alignment.count_ones() == 1 => *alignment as usize,
        Some(other) => {
            return Err(malformed(format!("general.alignment is {other:?}, which is not a power of two up to 65536")));
        }
    };
    let data = (bytes.len() - rest.0.len()).next_multiple_of(alignment);
    let data = bytes.get(data..).unwrap_or_default();
    let mut tensors = BTreeMap::new();
    for (name, shape, number, offset) in infos {
        let bytes = data
            .get(offset..)
            .ok_or_else(|| malformed(format!("the file ends before the tensor {name}; {TRUNCATED}")))?;
        if tensors.insert(name, StoredTensor { name, number, shape, bytes }).is_some() {
            return Err(malformed(format!("the tensor {name} occurs twice")));
        }
    }
    Ok(GgufHeader { values, tensors })
}
