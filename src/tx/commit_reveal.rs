//! The commitments of the commit/reveal protocol. An account first publishes the hash of a statement. It publishes the
//! statement itself in a later block, so no other account can copy the statement in time.

use super::{MsgRevealAggregation, MsgRevealAttestation, MsgRevealBeacon};
use sha2::{Digest, Sha256};

impl MsgRevealAttestation {
    /// Returns the commitment that [`MsgCommitAttestation`](super::MsgCommitAttestation) publishes before the
    /// attestation is revealed. It is the SHA-256 hash of the text `r3mes/attestation-commitment/1`, followed by the
    /// verifier, the challenge ID, the result, the gradient hash, the attestation leaf (the hash of a part of the
    /// gradient) and the salt. Each of these six fields is preceded by its length in bytes (u32, little-endian).
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
    /// Returns the commitment that [`MsgCommitAggregation`](super::MsgCommitAggregation) publishes (in hexadecimal)
    /// before the aggregate is revealed. It is the SHA-256 hash of the text `r3mes/aggregation-commitment/1`, followed
    /// by the proposer, the round, the adapter, the layout root, the Merkle root and the salt. Each of these six fields
    /// is preceded by its length in bytes (u32, little-endian).
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

impl MsgRevealBeacon {
    /// Returns the commitment with which a validator promises a secret number to the beacon, the source of the
    /// network's random values. The commitment is the SHA-256 hash of the text `r3mes/beacon-commitment/1`, followed by
    /// the validator's address and the number, each preceded by its length in bytes (u32, little-endian).
    pub fn commitment(validator: &str, number: &[u8]) -> [u8; 32] {
        hash_fields("r3mes/beacon-commitment/1", [validator.as_bytes(), number])
    }
}

fn hash_fields<const N: usize>(domain: &str, fields: [&[u8]; N]) -> [u8; 32] {
    let mut hash = Sha256::new().chain_update(domain);
    for field in fields {
        hash.update((field.len() as u32).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
