//! Sealed words: a hash first, what it hides after. Whoever waits for another's word has no time left to copy it.

use super::{MsgRevealAggregation, MsgSubmitRandomVerifierResult};
use sha2::{Digest, Sha256};

impl MsgSubmitRandomVerifierResult {
    /// SHA-256 of verifier, challenge, result, commitment and evidence after `r3mes/attestation/1`, each preceded by its
    /// length: what a [`MsgCommitAttestation`](super::MsgCommitAttestation) says.
    pub fn commitment(&self) -> [u8; 32] {
        let Self { verifier, challenge_id, result, gradient_hash, evidence, .. } = self;
        seal(
            "r3mes/attestation/1",
            [
                verifier.as_bytes(),
                &challenge_id.to_le_bytes(),
                result.as_bytes(),
                gradient_hash.as_bytes(),
                evidence.as_bytes(),
            ],
        )
    }
}

impl MsgRevealAggregation {
    /// SHA-256 of proposer, round, adapter, root and salt after `r3mes/aggregation/1`, each preceded by its length; in
    /// hexadecimal, what a [`MsgCommitAggregation`](super::MsgCommitAggregation) says.
    pub fn commitment(&self) -> [u8; 32] {
        let Self { proposer, training_round_id, aggregated_gradient_ipfs_hash, merkle_root, salt, .. } = self;
        seal(
            "r3mes/aggregation/1",
            [
                proposer.as_bytes(),
                &training_round_id.to_le_bytes(),
                aggregated_gradient_ipfs_hash.as_bytes(),
                merkle_root.as_bytes(),
                salt.as_bytes(),
            ],
        )
    }
}

fn seal(domain: &str, fields: [&[u8]; 5]) -> [u8; 32] {
    let mut hash = Sha256::new().chain_update(domain);
    for field in fields {
        hash.update((field.len() as u32).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
