//! The commitment of a gradient: `SHA-256(arithmetic version, model, adapter, data, job seed, miner, gradient root)`.

use super::task::Task;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// A hash of 32 bytes that binds a gradient to its task and miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl Commitment {
    /// Computes the commitment to a task and a gradient root.
    ///
    /// The hash is over `r3mes/commitment/1` and then the fields in the order above. Each is preceded by its length in bytes.
    /// The lengths and the version are u32, little-endian.
    pub fn new(task: &Task, gradient_root: &[u8; 32]) -> Self {
        let fields: [&[u8]; 8] = [
            b"r3mes/commitment/1",
            &task.job.arithmetic_version.to_le_bytes(),
            &task.job.model.to_bytes(),
            &task.adapter.to_bytes(),
            &task.chunk.to_bytes(),
            &task.seed,
            task.miner.as_bytes(),
            gradient_root,
        ];
        let mut hash = Sha256::new();
        for field in fields {
            hash.update((field.len() as u32).to_le_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }

    /// Parses 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let digits = digits.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
