//! Addresses: `RIPEMD-160(SHA-256(compressed secp256k1 public key))`, encoded in bech32.

use super::{ADDRESS_PREFIX, TxError};
use cosmrs::{AccountId, crypto::PublicKey};

/// Returns the address of a public key.
pub(super) fn address(key: &PublicKey) -> Result<String, TxError> {
    Ok(key.account_id(ADDRESS_PREFIX).map_err(|_| TxError::Key)?.to_string())
}

/// Checks that a text is a bech32 address of this chain: 20 bytes with the prefix [`ADDRESS_PREFIX`].
pub fn check_address(text: &str) -> Result<(), TxError> {
    match text.parse::<AccountId>() {
        Ok(id) if id.prefix() == ADDRESS_PREFIX && id.to_bytes().len() == 20 => Ok(()),
        _ => Err(TxError::Address(text.chars().take(64).collect())),
    }
}
