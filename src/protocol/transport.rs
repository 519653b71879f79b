//! The transport: the integer format in which the elements of gradients are sent.

use serde::{Deserialize, Serialize};

/// The integer format in which each element of a gradient is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One byte, whose value is within ±127.
    Int8,
    /// Two bytes in little-endian order, whose value is within ±32,639. This is the range of `256 · high + low` if the
    /// int8 integers `high` and `low` are both within ±127.
    Int16,
}

impl Transport {
    /// Returns the largest magnitude that an element can have in this format.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Int8 => 127,
            Self::Int16 => 32_639,
        }
    }

    /// Returns the size of an element, in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
        }
    }

    /// Returns the smallest shift for which `⌈max / 2^shift⌉` is within the limit of the format, where `max` is the
    /// largest magnitude in a matrix. With this shift, every rounded element of the matrix is within the limit, even if
    /// it is rounded up.
    pub fn shift(self, max: u64) -> u32 {
        (0..64).find(|shift| (u128::from(max)).div_ceil(1 << shift) <= self.limit().into()).unwrap_or(64)
    }
}
