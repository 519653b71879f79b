//! The command `wallet`: creates and lists wallets, sends coins, and manages session keys. No flag takes a secret,
//! because every user of a machine can see the arguments of its processes.

mod create;
mod flags;
mod pay;

use crate::{output::Exit, wallet::secrets};
use anyhow::Result;
use clap::Subcommand;
use create::{WalletImportArgs, WalletNewArgs, WalletOperatorArgs, WalletShowArgs};
use pay::{GrantArgs, RevokeArgs, SendArgs};

/// Runs the selected subcommand of `wallet`.
pub(crate) fn run(command: &WalletCommand) -> Result<Exit> {
    secrets::keep_out_of_dumps()?;
    match command {
        WalletCommand::New(args) => create::new(args),
        WalletCommand::Import(args) => create::import(args),
        WalletCommand::Show(args) => create::show(args),
        WalletCommand::Operator(args) => create::operator(args),
        WalletCommand::Send(args) => pay::send(args),
        WalletCommand::Grant(args) => pay::grant(args),
        WalletCommand::Revoke(args) => pay::revoke(args),
    }
}

#[derive(Subcommand)]
pub(crate) enum WalletCommand {
    /// Create a wallet: show its mnemonic once, and save the mnemonic encrypted with a passphrase
    New(WalletNewArgs),
    /// Restore a wallet from its mnemonic, which is read from a file, the terminal or stdin
    Import(WalletImportArgs),
    /// List the wallets and this machine's session key
    Show(WalletShowArgs),
    /// Print the address of this machine's operator key, with which its node and its verifier sign; create the key if
    /// it does not exist
    Operator(WalletOperatorArgs),
    /// Send coins
    Send(SendArgs),
    /// Allow a session key to mine for this wallet until an expiry, and to spend the wallet's coins on fees up to a cap
    Grant(GrantArgs),
    /// Revoke all permissions that this wallet has granted to a session key
    Revoke(RevokeArgs),
}
