//! ADR-36 signatures: signatures over texts, in amino JSON, for wallets that let a web page sign nothing but texts.
//!
//! <https://docs.cosmos.network/main/build/architecture/adr-036-arbitrary-signature>. The signed document has an empty
//! chain id and the sequence 0, so it can never be a transaction. The text itself must state for which chain it is
//! valid and how often it may be used.

use super::{TxError, address::address};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::crypto::PublicKey;
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};

/// Returns the bytes that `signer` signs for `text`: a `StdSignDoc` with sorted keys, empty except for these two.
pub fn sign_bytes(signer: &str, text: &str) -> Vec<u8> {
    let data = BASE64.encode(text);
    // neither base64 nor an address contains a character that JSON would escape
    format!(
        "{{\"account_number\":\"0\",\"chain_id\":\"\",\"fee\":{{\"amount\":[],\"gas\":\"0\"}},\"memo\":\"\",\"msgs\":\
         [{{\"type\":\"sign/MsgSignData\",\"value\":{{\"data\":\"{data}\",\"signer\":\"{signer}\"}}}}],\
         \"sequence\":\"0\"}}"
    )
    .into_bytes()
}

/// Returns the address of a compressed secp256k1 public key, which must be 33 bytes long.
pub fn signer(public_key: &[u8]) -> Result<String, TxError> {
    match public_key.len() {
        33 => address(&PublicKey::from(VerifyingKey::from_sec1_bytes(public_key).map_err(|_| TxError::Key)?)),
        _ => Err(TxError::Key),
    }
}

/// Checks that `signature` is an ADR-36 signature over `text` by this key.
pub(super) fn verify(public_key: &[u8], text: &str, signature: &[u8]) -> Result<(), TxError> {
    let signer = signer(public_key)?;
    let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| TxError::Key)?;
    let signature = Signature::from_slice(signature).map_err(|_| TxError::Signature(signer.clone()))?;
    key.verify(&sign_bytes(&signer, text), &signature).map_err(|_| TxError::Signature(signer))
}
