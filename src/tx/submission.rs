//! The signature inside a submission: of whoever signs the transaction, so inside a `MsgExec` the session's key, over
//! `sha256("chain|miner|cid|model|round|shard|hash|arch|nonce")`, 64 bytes `r‖s` with the smaller `s`.

use super::{ChainError, Message, MsgSubmitGradient, SessionKey};
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};

impl MsgSubmitGradient {
    /// The text whose hash is signed.
    pub fn signed_text(&self, chain_id: &str) -> String {
        let Self { miner, ipfs_hash, model_version, training_round_id, shard_id, gradient_hash, .. } = self;
        let Self { gpu_architecture, nonce, .. } = self;
        format!(
            "{chain_id}|{miner}|{ipfs_hash}|{model_version}|{training_round_id}|{shard_id}|{gradient_hash}|\
             {gpu_architecture}|{nonce}"
        )
    }
}

/// The message with every submission in it signed.
pub(super) fn sign(message: &Message, chain_id: &str, key: &SessionKey) -> Result<Message, ChainError> {
    Ok(match message {
        Message::SubmitGradient(message) => {
            let mut message = message.clone();
            message.signature = key.sign_bytes(message.signed_text(chain_id).as_bytes())?;
            Message::SubmitGradient(message)
        }
        Message::Exec(grantee, messages) => {
            let signed = messages.iter().map(|message| sign(message, chain_id, key));
            Message::Exec(grantee.clone(), signed.collect::<Result<_, _>>()?)
        }
        message => message.clone(),
    })
}

/// Checks the signature of every submission in a message, by the key that signed the transaction.
pub(super) fn verify(message: &Message, chain_id: &str, key: &VerifyingKey) -> Result<(), ChainError> {
    for message in message.work() {
        let Message::SubmitGradient(message) = message else { continue };
        let wrong = || ChainError::Submission(message.miner.clone());
        let signature = Signature::from_slice(&message.signature).map_err(|_| wrong())?;
        key.verify(message.signed_text(chain_id).as_bytes(), &signature).map_err(|_| wrong())?;
    }
    Ok(())
}
