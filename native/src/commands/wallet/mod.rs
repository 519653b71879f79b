//! Flags of `wallet`, typed. No secret is one: arguments are seen by every user of a machine.

mod create;
mod pay;

use crate::{interrupt, output::Exit, wallet::secrets};
use anyhow::Result;
use clap::{Args, Subcommand};
use r3mes_wgpu::tx::{COIN_TYPE, DENOM, MNEMONIC_WORDS};
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
    /// Make a wallet: its mnemonic is shown once, and kept under a passphrase
    New(NewArgs),
    /// Take a mnemonic of another wallet, as Keplr shows it; asked for, or read from stdin
    Import(ImportArgs),
    /// List wallets, and the key that mines on this machine
    Show(ShowArgs),
    /// Say the address of the key that speaks for this machine's node and verifier; made, if there is none
    Operator(OperatorArgs),
    /// Send coins
    Send(SendArgs),
    /// Let a session's key mine for this wallet, and pay fees of its balance up to a cap
    Grant(GrantArgs),
    /// Take back what a session's key was granted
    Revoke(RevokeArgs),
}

/// Where wallets are, and how their passphrase comes.
#[derive(Args, Clone)]
pub(crate) struct KeptArgs {
    /// A file with the passphrase [default: R3MES_PASSPHRASE of the environment, else it is asked for]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Where wallets are kept [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// m/44'/coin'/account'/0/index
#[derive(Args, Clone, Copy)]
pub(crate) struct PathArgs {
    /// Coin of the key's path
    #[arg(long, default_value_t = COIN_TYPE)]
    pub(crate) coin_type: u32,
    /// Account of the key's path
    #[arg(long, default_value_t = 0)]
    pub(crate) account: u32,
    /// Index of the key's path
    #[arg(long, default_value_t = 0)]
    pub(crate) index: u32,
}

#[derive(Args)]
pub(crate) struct NewArgs {
    /// What to call it
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// Length of the mnemonic
    #[arg(long, default_value_t = 24, value_parser = words)]
    pub(crate) words: usize,
    /// Print the mnemonic on stdout, instead of showing it on the terminal and asking for one of its words
    #[arg(long)]
    pub(crate) print_mnemonic: bool,
    #[command(flatten)]
    pub(crate) path: PathArgs,
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// What to call it
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// A file with the mnemonic
    #[arg(long, value_name = "FILE")]
    pub(crate) mnemonic_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) path: PathArgs,
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    /// One wallet alone
    pub(crate) name: Option<String>,
    /// Where wallets are kept [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct OperatorArgs {
    /// Where the key is kept [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which wallet, and on whose chain.
#[derive(Args, Clone)]
pub(crate) struct OnChainArgs {
    /// The node's URL
    #[arg(long, value_name = "URL", env = "R3MES_NODE")]
    pub(crate) node: String,
    /// The wallet that signs
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) wallet: String,
    #[command(flatten)]
    pub(crate) kept: KeptArgs,
}

#[derive(Args)]
pub(crate) struct SendArgs {
    /// Whose the coins will be
    pub(crate) to: String,
    /// Micro-units, like 1500000 or 1500000uremes
    #[arg(value_parser = micro)]
    pub(crate) amount: u64,
    #[command(flatten)]
    pub(crate) on: OnChainArgs,
}

#[derive(Args)]
pub(crate) struct GrantArgs {
    /// The session's address [default: the key that mines on this machine]
    pub(crate) session: Option<String>,
    /// Micro-units of the wallet's balance that the session may spend on fees in all
    #[arg(long, value_name = "MICRO", value_parser = micro)]
    pub(crate) cap: u64,
    /// How long it holds from now, like 30d, 12h, 90m or 600s
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) expires: u64,
    #[command(flatten)]
    pub(crate) on: OnChainArgs,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// The session's address [default: the key that mines on this machine]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) on: OnChainArgs,
}

fn words(text: &str) -> Result<usize, String> {
    let known = MNEMONIC_WORDS.into_iter().find(|words| words.to_string() == text);
    known.ok_or_else(|| format!("{MNEMONIC_WORDS:?} words are taken"))
}

pub(crate) fn micro(text: &str) -> Result<u64, String> {
    let digits = text.strip_suffix(DENOM).unwrap_or(text);
    match digits.bytes().all(|digit| digit.is_ascii_digit()) {
        true => digits.parse().map_err(|_| format!("not a whole number of {DENOM} below 2^64")),
        false => Err(format!("a whole number of {DENOM} is taken, without a point or a sign")),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let found = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds =
        found.and_then(|(digits, seconds)| digits.parse::<u32>().ok().map(|count| u64::from(count) * seconds));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "a time like 30d, 12h, 90m or 600s is taken".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_are_whole() {
        assert_eq!((micro("1500000"), micro("7uremes")), (Ok(1_500_000), Ok(7)));
        for wrong in ["", "-1", "+1", "1.5", "1remes", "uremes", "18446744073709551616", "1e3"] {
            assert!(micro(wrong).is_err(), "{wrong}");
        }
        assert_eq!((seconds("30d"), seconds("90m"), seconds("600s")), (Ok(2_592_000), Ok(5400), Ok(600)));
        for wrong in ["", "d", "0d", "-1h", "1.5h", "600", "4294967296s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
