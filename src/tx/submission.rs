//! The inner signature, which a submission itself contains:
//! `secp256k1(SHA-256("chain|miner|cid|model|round|shard|hash|arch|nonce"))`.
//!
//! The signature has 64 bytes, `r‖s`, where `s` is the smaller of the two possible values. It is made with the key that
//! signs the transaction. For a submission inside a `MsgExec`, this is the session key.

use super::transaction::check_signature;
use super::{Message, MsgSubmitGradient, TxError};
use k256::ecdsa::VerifyingKey;
use sha2::{Digest, Sha256};

impl MsgSubmitGradient {
    /// Returns the text that the miner signs for the inner signature. This is the signature that the submission itself
    /// contains.
    pub fn signed_text(&self, chain_id: &str) -> String {
        let Self { miner, ipfs_hash, model_version, training_round_id, shard_id, gradient_hash, .. } = self;
        let Self { gpu_architecture, nonce, .. } = self;
        format!(
            "{chain_id}|{miner}|{ipfs_hash}|{model_version}|{training_round_id}|{shard_id}|{gradient_hash}|\
             {gpu_architecture}|{nonce}"
        )
    }

    /// Returns whether the submission contains a valid proof of work. The SHA-256 of `h ‖ nonce` must have at least
    /// `bits` leading zero bits, where `h` is the SHA-256 of the submission's signed text and `nonce` is the field
    /// `proof_of_work_nonce` as a big-endian u64.
    pub fn proves_work(&self, chain_id: &str, bits: u32) -> bool {
        zero_bits(&Sha256::digest(self.signed_text(chain_id)).into(), self.proof_of_work_nonce) >= bits
    }

    /// Searches for a valid proof of work with at least `bits` leading zero bits, and adds it to the submission. The
    /// search takes 2^`bits` hashes on average.
    pub fn prove_work(&mut self, chain_id: &str, bits: u32) {
        let text = Sha256::digest(self.signed_text(chain_id)).into();
        let found = (0..=u64::MAX).find(|nonce| zero_bits(&text, *nonce) >= bits);
        self.proof_of_work_nonce = found.unwrap_or_default();
    }
}

/// Returns the number of leading zero bits of the SHA-256 of `text ‖ nonce`, where the nonce is a big-endian u64.
fn zero_bits(text: &[u8; 32], nonce: u64) -> u32 {
    let proof = Sha256::new().chain_update(text).chain_update(nonce.to_be_bytes()).finalize();
    let zeros: u32 = proof.iter().map_while(|byte| (*byte == 0).then_some(8)).sum();
    zeros + proof.iter().find(|byte| **byte != 0).map_or(0, |byte| byte.leading_zeros())
}

/// A function that returns the signature of the given bytes.
type Signer<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, TxError>;

/// Returns a copy of the message in which every submission, also inside a `MsgExec`, has its inner signature (the
/// signature that a submission itself contains).
pub(super) fn sign(message: &Message, chain_id: &str, signer: Signer) -> Result<Message, TxError> {
    Ok(match message {
        Message::SubmitGradient(message) => {
            let mut message = message.clone();
            message.signature = signer(message.signed_text(chain_id).as_bytes())?;
            Message::SubmitGradient(message)
        }
        Message::Exec(grantee, messages) => {
            let signed = messages.iter().map(|message| sign(message, chain_id, signer));
            Message::Exec(grantee.clone(), signed.collect::<Result<_, _>>()?)
        }
        message => message.clone(),
    })
}

/// Checks the inner signature of every submission in a message: the signature that the submission itself contains. It
/// must have been made with `key`, the key that signed the transaction.
pub(super) fn verify(message: &Message, chain_id: &str, key: &VerifyingKey) -> Result<(), TxError> {
    for message in message.mining_messages() {
        let Message::SubmitGradient(message) = message else { continue };
        if !check_signature(key, message.signed_text(chain_id).as_bytes(), &message.signature) {
            return Err(TxError::Submission(message.miner.clone()));
        }
    }
    Ok(())
}
