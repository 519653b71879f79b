//! Addresses of accounts: the bech32 encoding of `RIPEMD-160(SHA-256(public key))`, where the public key is a
//! compressed secp256k1 key.
//!
//! BIP 173 permits two texts for the same address: one in lower case and one in upper case. The ledger compares and
//! hashes addresses as texts, so every address that enters the program passes through [`canonical_address`], which
//! returns the text in lower case.

use super::{ADDRESS_PREFIX, TxError};
use cosmrs::{AccountId, crypto::PublicKey};

/// Returns the address of the account that has the public key `key`.
pub(super) fn address(key: &PublicKey) -> Result<String, TxError> {
    Ok(key.account_id(ADDRESS_PREFIX).map_err(|_| TxError::Key)?.to_string())
}

/// Reads an address of this chain: a bech32 text with the prefix [`ADDRESS_PREFIX`] and 20 bytes of data, either
/// entirely in lower case or entirely in upper case. Returns the address in lower case, which is the only form that
/// the ledger stores and compares. Fails if the text is not such an address.
pub fn canonical_address(text: &str) -> Result<String, TxError> {
    match text.parse::<AccountId>() {
        Ok(id) if id.prefix() == ADDRESS_PREFIX && id.to_bytes().len() == 20 => Ok(id.to_string()),
        _ => Err(TxError::Address(text.chars().take(64).collect())),
    }
}

/// Returns the bech32 text, such as `remesvalcons1…`, of a CometBFT validator's address. `hash` contains the 20 bytes
/// of this address. Returns `None` if `hash` does not have 20 bytes.
pub fn consensus_address(hash: &[u8]) -> Option<String> {
    let id = (hash.len() == 20).then(|| AccountId::new(&format!("{ADDRESS_PREFIX}valcons"), hash));
    Some(id?.ok()?.to_string())
}
