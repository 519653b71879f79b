//! ADR-36 signatures, which sign texts instead of transactions. They are used with wallets that do not sign a web
//! page's transactions but do sign its texts. The signed document is encoded in amino JSON.
//!
//! <https://docs.cosmos.network/main/build/architecture/adr-036-arbitrary-signature>
//!
//! The signed document has an empty chain ID and the sequence 0. Therefore it can never be executed as a transaction,
//! and the text itself must state for which chain it is valid and how often it may be used.

use super::{TxError, address::address, transaction::check_signature};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::crypto::PublicKey;
use k256::ecdsa::VerifyingKey;

/// Returns the bytes that the account with the address `signer` signs in an ADR-36 signature of `text`. They are a
/// `StdSignDoc` in JSON with sorted keys. All of its fields are empty or 0, except for the text and the signer's
/// address.
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

/// Returns the address of the account with the given public key. Fails unless the key is a compressed secp256k1 key of
/// 33 bytes.
pub fn signer(public_key: &[u8]) -> Result<String, TxError> {
    match public_key.len() {
        33 => address(&PublicKey::from(VerifyingKey::from_sec1_bytes(public_key).map_err(|_| TxError::Key)?)),
        _ => Err(TxError::Key),
    }
}

/// Checks that `signature` is an ADR-36 signature of `text` by the key whose public key is `public_key`.
pub(super) fn verify(public_key: &[u8], text: &str, signature: &[u8]) -> Result<(), TxError> {
    let signer = signer(public_key)?;
    let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| TxError::Key)?;
    match check_signature(&key, &sign_bytes(&signer, text), signature) {
        true => Ok(()),
        false => Err(TxError::Signature(signer)),
    }
}
