//! Wallets of this machine: a mnemonic under a passphrase, and what its key signs.

pub(crate) mod cli;
mod folder;
mod keystore;
mod make;
mod pay;
pub(crate) mod secrets;
mod session;

pub(crate) use session::{operator_secret, session_key};

use super::{interrupt, output::Exit};
use anyhow::Result;
use cli::WalletCommand;
use folder::Wallets;
use r3mes_wgpu::tx::SessionKey;
use secrets::{Purpose, passphrase};
use std::path::Path;

/// Runs `wallet …`.
pub(crate) fn run(command: &WalletCommand) -> Result<Exit> {
    secrets::keep_out_of_dumps()?;
    interrupt::end_at_once()?;
    match command {
        WalletCommand::New(args) => make::new(args),
        WalletCommand::Import(args) => make::import(args),
        WalletCommand::Show(args) => make::show(args),
        WalletCommand::Operator(args) => make::operator(args),
        WalletCommand::Send(args) => pay::send(args),
        WalletCommand::Grant(args) => pay::grant(args),
        WalletCommand::Revoke(args) => pay::revoke(args),
    }
}

/// The key of a wallet; its passphrase comes from a file, the environment or the terminal.
pub(crate) fn unlock(data_dir: &Path, name: &str, passphrase_file: Option<&Path>) -> Result<SessionKey> {
    let keystore = Wallets::of(data_dir).read(name)?;
    keystore.key(&passphrase(passphrase_file, Purpose::Open)?)
}
