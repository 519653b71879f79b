//! The commitment to a gradient: `SHA-256(arithmetic version, model, adapter, chunk, seed, miner, gradient root)`.

use super::task::Task;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// A hash of 32 bytes that binds a gradient to its task and miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl Commitment {
    /// Computes the commitment to a task and to its gradient. `gradient_root` is the Merkle root that identifies the
    /// gradient.
    ///
    /// The hash covers these fields in order: the text `r3mes/commitment/1`, the arithmetic version, the model root,
    /// the adapter root, the CID of the chunk, the seed, the address of the miner, and the gradient root. The length of
    /// each field, in bytes, precedes the field. Lengths and the arithmetic version are little-endian u32.
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

    /// Parses 64 hexadecimal digits as a commitment. Returns `None` for any other text.
    pub fn from_hex(digits: &str) -> Option<Self> {
        Some(Self(HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}
