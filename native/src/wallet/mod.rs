//! The wallets and keys of this machine. A wallet is a mnemonic that is encrypted with a passphrase.

pub(crate) mod keystore;
pub(crate) mod machine_keys;
pub(crate) mod secrets;
pub(crate) mod store;

pub(crate) use machine_keys::session_key;

use anyhow::Result;
use r3mes_wgpu::tx::SessionKey;
use secrets::{Purpose, passphrase};
use std::path::Path;
use store::WalletStore;

/// Returns the key with which a node or a verifier signs. If `wallet` is the name of a wallet, returns the wallet's
/// key, otherwise this machine's operator key. The operator key is created on first use, and its file is not encrypted.
pub(crate) fn operator_key(
    data_dir: &Path,
    wallet: Option<&str>,
    passphrase_file: Option<&Path>,
) -> Result<SessionKey> {
    match wallet {
        Some(name) => unlock(data_dir, name, passphrase_file),
        None => Ok(SessionKey::new(&*machine_keys::operator_secret(data_dir)?)?),
    }
}

/// Decrypts a wallet and returns its signing key. The passphrase is read from a file if one is given, otherwise from
/// the environment, otherwise from the terminal.
pub(crate) fn unlock(data_dir: &Path, name: &str, passphrase_file: Option<&Path>) -> Result<SessionKey> {
    let keystore = WalletStore::of(data_dir).read(name)?;
    keystore.key(&passphrase(passphrase_file, Purpose::Open)?)
}
