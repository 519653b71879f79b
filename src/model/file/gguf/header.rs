//! A GGUF header, version 2 or 3, little-endian, after `ggml/docs/gguf.md`: magic, version, counts, key-values, tensor
//! infos; then, at the next multiple of the alignment, tensors at the offsets that their infos name.
//!
//! Counts and lengths are claims of the file's: nothing is allocated by them, and what they name has to be there.

use super::{StoredTensor, malformed};
use crate::error::Error;
use std::collections::BTreeMap;

pub(super) const F32: u32 = 0;
pub(super) const F16: u32 = 1;
pub(super) const BF16: u32 = 30;
pub(super) const TQ1_0: u32 = 34;
pub(super) const TQ2_0: u32 = 35;
/// bitnet.cpp's own; ggml has no type of this number any more.
pub(super) const I2_S: u32 = 36;

/// Names of types for messages.
const TYPES: [(u32, &str); 20] = [
    (F32, "F32"),
    (F16, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (20, "IQ4_NL"),
    (BF16, "BF16"),
    (TQ1_0, "TQ1_0"),
    (TQ2_0, "TQ2_0"),
    (I2_S, "i2_s"),
    (38, "TL1"),
    (39, "TL2"),
];

/// A value that a model's sizes may come from; others are passed over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MetadataValue<'a> {
    Whole(i128),
    Real(f64),
    Text(&'a str),
    Other,
}

pub(super) struct GgufHeader<'a> {
    pub(super) values: BTreeMap<&'a str, MetadataValue<'a>>,
    pub(super) tensors: BTreeMap<&'a str, StoredTensor<'a>>,
}

pub(super) fn type_name(number: u32) -> String {
    TYPES.iter().find(|(known, _)| *known == number).map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Bytes not read yet.
struct HeaderReader<'a>(&'a [u8]);

impl<'a> HeaderReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| malformed("the file ends within its header"))?;
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
        std::str::from_utf8(self.take(length)?).map_err(|_| malformed("a text in the header is not UTF-8"))
    }

    fn size(&mut self) -> Result<usize, Error> {
        let size = self.u64()?;
        usize::try_from(size).map_err(|_| malformed(format!("a length of {size}")))
    }

    fn value(&mut self, kind: u32) -> Result<MetadataValue<'a>, Error> {
        Ok(match kind {
            0 => MetadataValue::Whole(u8::from_le_bytes(self.array()?).into()),
            1 => MetadataValue::Whole(i8::from_le_bytes(self.array()?).into()),
            2 => MetadataValue::Whole(u16::from_le_bytes(self.array()?).into()),
            3 => MetadataValue::Whole(i16::from_le_bytes(self.array()?).into()),
            4 => MetadataValue::Whole(u32::from_le_bytes(self.array()?).into()),
            5 => MetadataValue::Whole(i32::from_le_bytes(self.array()?).into()),
            6 => MetadataValue::Real(f32::from_le_bytes(self.array()?).into()),
            7 => self.take(1).map(|_| MetadataValue::Other)?,
            8 => MetadataValue::Text(self.text()?),
            9 => self.list()?,
            10 => MetadataValue::Whole(u64::from_le_bytes(self.array()?).into()),
            11 => MetadataValue::Whole(i64::from_le_bytes(self.array()?).into()),
            12 => MetadataValue::Real(f64::from_le_bytes(self.array()?)),
            _ => return Err(malformed(format!("a value of unknown type {kind}"))),
        })
    }

    /// Passes over a list.
    fn list(&mut self) -> Result<MetadataValue<'a>, Error> {
        let (kind, count) = (self.u32()?, self.size()?);
        let each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                // each takes 8 bytes at least, so this ends with the file
                for _ in 0..count {
                    self.text()?;
                }
                return Ok(MetadataValue::Other);
            }
            _ => return Err(malformed(format!("a list of values of type {kind}"))),
        };
        self.take(count.checked_mul(each).ok_or_else(|| malformed(format!("a list of {count}")))?)?;
        Ok(MetadataValue::Other)
    }
}

/// Reads the header of a whole file.
pub(super) fn read(bytes: &[u8]) -> Result<GgufHeader<'_>, Error> {
    let mut rest = HeaderReader(bytes);
    if rest.take(4)? != b"GGUF" {
        return Err(malformed("the file does not begin with GGUF"));
    }
    let version = rest.u32()?;
    if !(2..=3).contains(&version) {
        return Err(malformed(format!("version {version} is not supported, only 2 and 3 in little-endian order")));
    }
    let (tensor_count, value_count) = (rest.size()?, rest.size()?);
    let mut values = BTreeMap::new();
    for _ in 0..value_count {
        let (key, kind) = (rest.text()?, rest.u32()?);
        if values.insert(key, rest.value(kind)?).is_some() {
            return Err(malformed(format!("{key} is there twice")));
        }
    }
    let mut infos = Vec::new();
    for _ in 0..tensor_count {
        let (name, axes) = (rest.text()?, rest.u32()?);
        if !(1..=4).contains(&axes) {
            return Err(malformed(format!("{name} has {axes} axes")));
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            shape.push(rest.size()?);
        }
        shape.reverse();
        // at four bytes an element no sum of sizes overflows
        let elements = shape.iter().try_fold(1usize, |product, axis| product.checked_mul(*axis));
        if !elements.is_some_and(|elements| (1..=usize::MAX / 8).contains(&elements)) {
            return Err(malformed(format!("{name} is of shape {shape:?}")));
        }
        infos.push((name, shape, rest.u32()?, rest.size()?));
    }
    let alignment = match values.get("general.alignment") {
        None => 32,
        Some(MetadataValue::Whole(alignment @ 1..=65_536)) if alignment.count_ones() == 1 => *alignment as usize,
        Some(other) => return Err(malformed(format!("general.alignment is {other:?}"))),
    };
    let data = (bytes.len() - rest.0.len()).next_multiple_of(alignment);
    let data = bytes.get(data..).unwrap_or_default();
    let mut tensors = BTreeMap::new();
    for (name, shape, number, offset) in infos {
        let bytes = data.get(offset..).ok_or_else(|| malformed(format!("the file ends before {name}")))?;
        if tensors.insert(name, StoredTensor { name, number, shape, bytes }).is_some() {
            return Err(malformed(format!("{name} is there twice")));
        }
    }
    Ok(GgufHeader { values, tensors })
}
