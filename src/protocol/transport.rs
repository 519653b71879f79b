//! The transport: the integer format of gradient elements on the network.

use serde::{Deserialize, Serialize};

/// How gradient elements travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One byte, ±127.
    Int8,
    /// Two bytes, little-endian, ±32,639 (what two int8 planes hold).
    Int16,
}

impl Transport {
    /// Largest magnitude.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Int8 => 127,
            Self::Int16 => 32_639,
        }
    }

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
        }
    }

    /// The smallest shift with `⌈max / 2^shift⌉ ≤ limit`: rounding up cannot leave the format.
    pub fn shift(self, max: u64) -> u32 {
        (0..64).find(|shift| (u128::from(max)).div_ceil(1 << shift) <= self.limit().into()).unwrap_or(64)
    }
}
