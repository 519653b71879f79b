//! The wallets and keys of this machine. A wallet is a mnemonic that is encrypted with a passphrase.

pub(crate) mod keystore;
pub(crate) mod machine_keys;
pub(crate) mod secrets;
pub(crate) mod store;

pub(crate) use machine_keys::{operator_secret, session_key};

use anyhow::Result;
use r3mes_wgpu::tx::SessionKey;
use secrets::{Purpose, passphrase};
use std::path::Path;
use store::WalletStore;

/// Decrypts a wallet and returns its signing key. The passphrase is read from a file if one is given, otherwise from
/// the environment, otherwise from the terminal.
pub(crate) fn unlock(data_dir: &Path, name: &str, passphrase_file: Option<&Path>) -> Result<SessionKey> {
    let keystore = WalletStore::of(data_dir).read(name)?;
    keystore.key(&passphrase(passphrase_file, Purpose::Open)?)
}
