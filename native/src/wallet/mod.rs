//! Wallets of this machine: a mnemonic under a passphrase, and what its key signs.

pub(crate) mod folder;
pub(crate) mod keystore;
pub(crate) mod secrets;
pub(crate) mod session;

pub(crate) use session::{operator_secret, session_key};

use anyhow::Result;
use folder::Wallets;
use r3mes_wgpu::tx::SessionKey;
use secrets::{Purpose, passphrase};
use std::path::Path;

/// The key of a wallet; its passphrase comes from a file, the environment or the terminal.
pub(crate) fn unlock(data_dir: &Path, name: &str, passphrase_file: Option<&Path>) -> Result<SessionKey> {
    let keystore = Wallets::of(data_dir).read(name)?;
    keystore.key(&passphrase(passphrase_file, Purpose::Open)?)
}
