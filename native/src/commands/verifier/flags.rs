//! The command-line flags of `r3mes-wgpu verifier`.

use crate::{commands::amounts::micro, compute::ComputeArgs, log::LogArgs};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct VerifierArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Verify gradients for the chain of the node at this URL; repeat the flag to name further nodes of the same chain,
    /// which are used if a node fails
    #[arg(long, value_name = "URL", env = "R3MES_NODE", value_delimiter = ',', required = true)]
    pub(crate) node: Vec<String>,
    /// Sign with the key of this wallet, and take the stake from its coins [default: the operator key in the data
    /// folder]
    #[arg(long, value_name = "NAME")]
    pub(crate) wallet: Option<String>,
    /// Read the wallet's passphrase from this file [default: the environment variable R3MES_PASSPHRASE,
    /// otherwise a prompt]
    #[arg(long, value_name = "FILE", requires = "wallet")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Raise the stake to this many micro-units; a wrong or missing statement about a gradient costs part of the stake
    /// [default: the network's minimum stake]
    #[arg(long, value_name = "MICRO", value_parser = micro)]
    pub(crate) stake: Option<u64>,
    /// Also act as a proposer: add up the gradients of every full round and publish the next adapter
    #[arg(long)]
    pub(crate) proposer: bool,
    /// Finish all pending work, give up all roles (validator and proposer), and exit; the network returns the stake
    /// after its unbonding time
    #[arg(long, conflicts_with_all = ["stake", "proposer"])]
    pub(crate) leave: bool,
    /// Fetch blocks from this trustless IPFS gateway if the node does not have them; may be repeated
    #[arg(long, value_name = "URL", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
    /// Keep the model and the keys in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Stop after recomputing this many gradients
    #[arg(long, value_name = "N")]
    pub(crate) max_gradients: Option<u64>,
    /// Print one JSON object per event on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
