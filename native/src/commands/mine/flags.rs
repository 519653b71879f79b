//! The flags of `mine`.

use crate::{client::sources::SourceArgs, compute::ComputeArgs, log::LogArgs, model::JobArgs, server::ServeArgs};
use clap::Args;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

#[derive(Args)]
pub(crate) struct MineArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Mine for the node at this URL instead of a node in this process; repeat the flag to name further nodes of the
    /// same chain, which are used if a node fails
    #[arg(long, value_name = "URL", env = "R3MES_NODE", value_delimiter = ',')]
    pub(crate) node: Vec<String>,
    /// Pay rewards to this address; `local` means the address of this machine's session key
    #[arg(long, default_value = "local", env = "R3MES_ADDRESS")]
    pub(crate) address: String,
    /// With --node: mine for this account, which must have granted a session to this machine's key, and pay the rewards
    /// to the account
    #[arg(long, value_name = "ADDRESS", requires = "node", conflicts_with = "address", env = "R3MES_GRANTER")]
    pub(crate) granter: Option<String>,
    /// With --node: sign with the key of this wallet instead of this machine's session key
    #[arg(long, value_name = "NAME", requires = "node", conflicts_with = "granter")]
    pub(crate) wallet: Option<String>,
    /// Read the wallet's passphrase from this file [default: the environment variable R3MES_PASSPHRASE,
    /// otherwise a prompt]
    #[arg(long, value_name = "FILE", requires = "wallet")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Report what would be mined, on which backend and for which address, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop after this many tasks have been accepted
    #[arg(long, value_name = "N")]
    pub(crate) max_tasks: Option<u64>,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<u64>,
    /// Print one JSON object per accepted task on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The limits after which mining stops, and the number of accepted tasks so far.
pub(crate) struct Limits {
    tasks: Option<u64>,
    end: Option<Instant>,
    counted: u64,
}

impl MineArgs {
    /// Returns the limits of a mining run that starts now.
    pub(crate) fn limits(&self) -> Limits {
        let end = self.time_limit.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Limits { tasks: self.max_tasks, end, counted: 0 }
    }
}

impl Limits {
    /// Returns whether mining continues: neither the limit of tasks nor the time limit is reached.
    pub(crate) fn go_on(&self) -> bool {
        self.tasks.is_none_or(|tasks| self.counted < tasks) && self.end.is_none_or(|end| Instant::now() < end)
    }

    /// Adds one to the number of accepted tasks.
    pub(crate) fn count(&mut self) {
        self.counted += 1;
    }

    /// Returns the number of tasks accepted so far.
    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }
}
