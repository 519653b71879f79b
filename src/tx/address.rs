//! Addresses of accounts: the bech32 encoding of `RIPEMD-160(SHA-256(public key))`, where the public key is a
//! compressed secp256k1 key.

use super::{ADDRESS_PREFIX, TxError};
use cosmrs::{AccountId, crypto::PublicKey};

/// Returns the address of the account that has the public key `key`.
pub(super) fn address(key: &PublicKey) -> Result<String, TxError> {
    Ok(key.account_id(ADDRESS_PREFIX).map_err(|_| TxError::Key)?.to_string())
}

/// Checks that a text is an address of this chain: a bech32 text with the prefix [`ADDRESS_PREFIX`] and 20 bytes of
/// data.
pub fn check_address(text: &str) -> Result<(), TxError> {
    match text.parse::<AccountId>() {
        Ok(id) if id.prefix() == ADDRESS_PREFIX && id.to_bytes().len() == 20 => Ok(()),
        _ => Err(TxError::Address(text.chars().take(64).collect())),
    }
}
