//! Flags that several `wallet` commands share.

use clap::Args;
use std::path::PathBuf;

/// Flags that select the data folder, the source of the passphrase and the output format.
#[derive(Args, Clone)]
pub(super) struct WalletStoreArgs {
    /// Read the passphrase from this file [default: the environment variable R3MES_PASSPHRASE,
    /// otherwise a prompt]
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Keep wallets in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long)]
    pub(super) json: bool,
}
