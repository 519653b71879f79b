//! The transport: the integer format in which gradient elements are sent.

use serde::{Deserialize, Serialize};

/// The integer format of gradient elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One byte, within ±127.
    Int8,
    /// Two bytes, little-endian, within ±32,639, the range of two int8 planes.
    Int16,
}

impl Transport {
    /// Returns the largest magnitude of an element.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Int8 => 127,
            Self::Int16 => 32_639,
        }
    }

    /// Returns the number of bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
        }
    }

    /// Returns the smallest shift with `⌈max / 2^shift⌉ ≤ limit`, so that a value that is rounded up stays within the
    /// format.
    pub fn shift(self, max: u64) -> u32 {
        (0..64).find(|shift| (u128::from(max)).div_ceil(1 << shift) <= self.limit().into()).unwrap_or(64)
    }
}
