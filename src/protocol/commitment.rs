//! A commitment is `SHA-256(arithmetic version, model, adapter, data, job seed, miner, gradient root)`.

use super::task::Task;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Binds a gradient to its task and miner, in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl Commitment {
    /// Hashes the fields in the order above after `r3mes/commitment/1`; each of them is preceded by its length in
    /// bytes, and the length and the version are u32 little-endian.
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

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        Some(Self(HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}
