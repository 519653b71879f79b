//! The commitments of commit/reveal. A first message publishes a hash, and a message in a later block reveals the
//! values that were hashed, so that nobody can copy another account's values in time.

use super::{MsgRevealAggregation, MsgRevealAttestation};
use sha2::{Digest, Sha256};

impl MsgRevealAttestation {
    /// Returns the commitment for [`MsgCommitAttestation`](super::MsgCommitAttestation): SHA-256 of
    /// `r3mes/attestation-commitment/1`, followed by verifier, challenge, result, gradient hash, leaf and salt, each of
    /// which is preceded by its length (u32 LE).
    pub fn commitment(&self) -> [u8; 32] {
        let Self { verifier, challenge_id, result, gradient_hash, leaf, salt } = self;
        hash_fields(
            "r3mes/attestation-commitment/1",
            [
                verifier.as_bytes(),
                &challenge_id.to_le_bytes(),
                result.as_bytes(),
                gradient_hash.as_bytes(),
                leaf.as_bytes(),
                salt,
            ],
        )
    }
}

impl MsgRevealAggregation {
    /// Returns the commitment for [`MsgCommitAggregation`](super::MsgCommitAggregation), which states it in
    /// hexadecimal: SHA-256 of `r3mes/aggregation-commitment/1`, followed by proposer, round, adapter, layout root,
    /// Merkle root and salt, each of which is preceded by its length (u32 LE).
    pub fn commitment(&self) -> [u8; 32] {
        let Self { proposer, training_round_id, adapter, layout_root, merkle_root, salt, .. } = self;
        hash_fields(
            "r3mes/aggregation-commitment/1",
            [
                proposer.as_bytes(),
                &training_round_id.to_le_bytes(),
                adapter.as_bytes(),
                layout_root.as_bytes(),
                merkle_root.as_bytes(),
                salt,
            ],
        )
    }
}

fn hash_fields(domain: &str, fields: [&[u8]; 6]) -> [u8; 32] {
    let mut hash = Sha256::new().chain_update(domain);
    for field in fields {
        hash.update((field.len() as u32).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
