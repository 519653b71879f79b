//! Texts signed by wallets that sign nothing else for a page: ADR-36, amino JSON.
//!
//! <https://docs.cosmos.network/main/build/architecture/adr-036-arbitrary-signature>. What is signed has no chain and no
//! sequence and so is never a transaction: whom it is for and how often it counts, the text itself must say.

use super::{ChainError, transaction::address};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::crypto::PublicKey;
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};

/// The bytes under the signature: a `StdSignDoc` with sorted keys, empty but for the text and its signer.
pub fn sign_bytes(signer: &str, text: &str) -> Vec<u8> {
    let data = BASE64.encode(text);
    // neither base64 nor an address has a character that JSON escapes
    format!(
        "{{\"account_number\":\"0\",\"chain_id\":\"\",\"fee\":{{\"amount\":[],\"gas\":\"0\"}},\"memo\":\"\",\"msgs\":\
         [{{\"type\":\"sign/MsgSignData\",\"value\":{{\"data\":\"{data}\",\"signer\":\"{signer}\"}}}}],\
         \"sequence\":\"0\"}}"
    )
    .into_bytes()
}

/// The address of a compressed secp256k1 key.
pub fn signer(public_key: &[u8]) -> Result<String, ChainError> {
    match public_key.len() {
        33 => address(&PublicKey::from(VerifyingKey::from_sec1_bytes(public_key).map_err(|_| ChainError::Key)?)),
        _ => Err(ChainError::Key),
    }
}

/// Checks that the key signed the text.
pub(super) fn verify(public_key: &[u8], text: &str, signature: &[u8]) -> Result<(), ChainError> {
    let signer = signer(public_key)?;
    let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| ChainError::Key)?;
    let signature = Signature::from_slice(signature).map_err(|_| ChainError::Signature(signer.clone()))?;
    key.verify(&sign_bytes(&signer, text), &signature).map_err(|_| ChainError::Signature(signer))
}
