//! `wallet`: keeps wallets, sends coins, and manages sessions. No flag takes a secret, because every user of a machine can
//! see arguments.

mod create;
mod pay;

use super::amounts::micro;
use crate::{interrupt, output::Exit, wallet::secrets};
use anyhow::Result;
use clap::{Args, Subcommand};
use r3mes_wgpu::tx::{COIN_TYPE, MNEMONIC_WORDS};
use std::path::PathBuf;

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
    /// Print the address of this machine's operator key, which its node and verifier use; create the key if there is none
    Operator(WalletOperatorArgs),
    /// Send coins
    Send(SendArgs),
    /// Let a session key mine for this wallet, and pay fees from its balance up to a cap
    Grant(GrantArgs),
    /// Revoke what a session key was granted
    Revoke(RevokeArgs),
}

/// Flags that select the data folder, the source of the passphrase, and the output.
#[derive(Args, Clone)]
pub(crate) struct WalletStoreArgs {
    /// Read the passphrase from this file [default: the variable R3MES_PASSPHRASE, otherwise a prompt]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Keep wallets in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of the key's path, m/44'/coin'/account'/0/index.
#[derive(Args, Clone, Copy)]
pub(crate) struct KeyPathArgs {
    /// Set the coin type in the path of the key
    #[arg(long, default_value_t = COIN_TYPE)]
    pub(crate) coin_type: u32,
    /// Set the account in the path of the key
    #[arg(long, default_value_t = 0)]
    pub(crate) account: u32,
    /// Set the index in the path of the key
    #[arg(long, default_value_t = 0)]
    pub(crate) index: u32,
}

#[derive(Args)]
pub(crate) struct WalletNewArgs {
    /// Name of the wallet
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// Create a mnemonic of this many words: 12, 15, 18, 21 or 24
    #[arg(long, default_value_t = 24, value_parser = words)]
    pub(crate) words: usize,
    /// Print the mnemonic on stdout instead of showing it on the terminal and asking for one of its words
    #[arg(long)]
    pub(crate) print_mnemonic: bool,
    #[command(flatten)]
    pub(crate) path: KeyPathArgs,
    #[command(flatten)]
    pub(crate) kept: WalletStoreArgs,
}

#[derive(Args)]
pub(crate) struct WalletImportArgs {
    /// Name of the wallet
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// Read the mnemonic from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) mnemonic_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) path: KeyPathArgs,
    #[command(flatten)]
    pub(crate) kept: WalletStoreArgs,
}

#[derive(Args)]
pub(crate) struct WalletShowArgs {
    /// List only this wallet
    pub(crate) name: Option<String>,
    /// Keep wallets in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct WalletOperatorArgs {
    /// Keep the key in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of the commands that send a transaction: the node and the wallet.
#[derive(Args, Clone)]
pub(crate) struct OnChainArgs {
    /// Use the node at this URL
    #[arg(long, value_name = "URL", env = "R3MES_NODE")]
    pub(crate) node: String,
    /// Sign with the key of this wallet
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) wallet: String,
    #[command(flatten)]
    pub(crate) kept: WalletStoreArgs,
}

#[derive(Args)]
pub(crate) struct SendArgs {
    /// Address of the recipient
    pub(crate) to: String,
    /// Amount in micro-units, like 1500000 or 1500000uremes
    #[arg(value_parser = micro)]
    pub(crate) amount: u64,
    #[command(flatten)]
    pub(crate) on: OnChainArgs,
}

#[derive(Args)]
pub(crate) struct GrantArgs {
    /// Address of the session key [default: this machine's session key]
    pub(crate) session: Option<String>,
    /// Let the session spend at most this many micro-units of the wallet's balance on fees
    #[arg(long, value_name = "MICRO", value_parser = micro)]
    pub(crate) cap: u64,
    /// End the session after this time, like 30d, 12h, 90m or 600s
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) expires: u64,
    #[command(flatten)]
    pub(crate) on: OnChainArgs,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// Address of the session key [default: this machine's session key]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) on: OnChainArgs,
}

/// Parses the number of words of a mnemonic.
fn words(text: &str) -> Result<usize, String> {
    let known = MNEMONIC_WORDS.into_iter().find(|words| words.to_string() == text);
    known.ok_or_else(|| format!("expected a number of words among {MNEMONIC_WORDS:?}"))
}

/// Parses a time with a unit and returns seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let found = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds =
        found.and_then(|(digits, seconds)| digits.parse::<u32>().ok().map(|count| u64::from(count) * seconds));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "expected a time like 30d, 12h, 90m or 600s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_with_a_unit() {
        assert_eq!((seconds("30d"), seconds("90m"), seconds("600s")), (Ok(2_592_000), Ok(5400), Ok(600)));
        for wrong in ["", "d", "0d", "-1h", "1.5h", "600", "4294967296s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
