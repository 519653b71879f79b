//! The inner signature, which a submission itself contains:
//! `secp256k1(SHA-256("chain|miner|cid|model|round|shard|hash|arch|nonce"))`.
//!
//! The signature has 64 bytes, `r‖s`, where `s` is the smaller of the two possible values. It is made with the key that
//! signs the transaction. For a submission inside a `MsgExec`, this is the session key.

use super::transaction::check_signature;
use super::{Message, MsgSubmitGradient, TxError};
use k256::ecdsa::VerifyingKey;

impl MsgSubmitGradient {
    /// Returns the text whose SHA-256 hash the inner signature signs.
    pub fn signed_text(&self, chain_id: &str) -> String {
        let Self { miner, ipfs_hash, model_version, training_round_id, shard_id, gradient_hash, .. } = self;
        let Self { gpu_architecture, nonce, .. } = self;
        format!(
            "{chain_id}|{miner}|{ipfs_hash}|{model_version}|{training_round_id}|{shard_id}|{gradient_hash}|\
             {gpu_architecture}|{nonce}"
        )
    }
}

/// A function that returns the signature of the given bytes.
type Signer<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, TxError>;

/// Returns a copy of the message in which every submission has its inner signature, including submissions inside a
/// `MsgExec`.
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

/// Checks that the inner signature of every submission in a message was made with `key`, the key that signed the
/// transaction.
pub(super) fn verify(message: &Message, chain_id: &str, key: &VerifyingKey) -> Result<(), TxError> {
    for message in message.mining_messages() {
        let Message::SubmitGradient(message) = message else { continue };
        if !check_signature(key, message.signed_text(chain_id).as_bytes(), &message.signature) {
            return Err(TxError::Submission(message.miner.clone()));
        }
    }
    Ok(())
}
