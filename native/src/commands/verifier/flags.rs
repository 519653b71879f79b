//! The flags of `verifier`.

use crate::{commands::amounts::micro, compute::ComputeArgs, log::LogArgs};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct VerifierArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Verify for the node at this URL; repeat it with nodes of the same chain, which serve as failover
    #[arg(long, value_name = "URL", env = "R3MES_NODE", value_delimiter = ',', required = true)]
    pub(crate) node: Vec<String>,
    /// Sign with the key of this wallet, whose coins are the stake [default: this machine's operator key]
    #[arg(long, value_name = "NAME")]
    pub(crate) wallet: Option<String>,
    /// Read the wallet's passphrase from this file [default: the environment variable R3MES_PASSPHRASE,
    /// otherwise a prompt]
    #[arg(long, value_name = "FILE", requires = "wallet")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Raise the stake to this many micro-units; wrong or missing attestations are slashed from it [default: the
    /// network's minimum stake]
    #[arg(long, value_name = "MICRO", value_parser = micro)]
    pub(crate) stake: Option<u64>,
    /// Also aggregate full rounds
    #[arg(long)]
    pub(crate) proposer: bool,
    /// Give up all roles once all pending duties are done, and stop; the stake is returned after the network's
    /// unbonding time
    #[arg(long, conflicts_with_all = ["stake", "proposer"])]
    pub(crate) leave: bool,
    /// Fetch blocks that the node lacks from this trustless gateway; may be repeated
    #[arg(long, value_name = "URL", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
    /// Keep the model and keys in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Stop after this many recomputed gradients
    #[arg(long, value_name = "N")]
    pub(crate) max_gradients: Option<u64>,
    /// Print one JSON object per event on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
