//! `wallet`: keeps wallets, sends coins, and manages sessions. No flag takes a secret, because every user of a machine
//! can see arguments.

mod create;
mod flags;
mod pay;

use crate::{interrupt, output::Exit, wallet::secrets};
use anyhow::Result;
use clap::Subcommand;
use create::{WalletImportArgs, WalletNewArgs, WalletOperatorArgs, WalletShowArgs};
use pay::{GrantArgs, RevokeArgs, SendArgs};

/// Runs `wallet …`.
pub(crate) fn run(command: &WalletCommand) -> Result<Exit> {
    secrets::keep_out_of_dumps()?;
    interrupt::end_at_once()?;
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
    /// Create a wallet: show its mnemonic once, and keep it encrypted with a passphrase
    New(WalletNewArgs),
    /// Restore a wallet from a mnemonic, read from the terminal or from stdin
    Import(WalletImportArgs),
    /// List the wallets and this machine's session key
    Show(WalletShowArgs),
    /// Print the address of this machine's operator key, which its node and verifier use; create the key if there is
    /// none
    Operator(WalletOperatorArgs),
    /// Send coins
    Send(SendArgs),
    /// Let a session key mine for this wallet, and pay fees from its balance up to a cap
    Grant(GrantArgs),
    /// Revoke what a session key was granted
    Revoke(RevokeArgs),
}
