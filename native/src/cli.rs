//! The command line: parses it and runs the command. Each command's flags are declared in the command's module.

use crate::{
    commands::{
        adapter, bench, check, devices, generate, genesis, mine, model, node, quality, train, verifier, verify, wallet,
    },
    compute::{self, ComputeArgs},
    output::Exit,
};
use anyhow::Result;
use clap::{Parser, Subcommand};

/// Exact LoRA training over BitNet backbones: the same gradient bytes on every GPU and CPU.
///
/// Exit codes: 0 success, 1 failure, 2 usage error, 3 no usable GPU, 4 result not reproduced, 5 refused by the node,
/// 130 stopped by Ctrl-C. There is no developer fee.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Claim tasks, compute gradients, submit them and get paid, with a node in this process or for another node
    Mine(Box<mine::MineArgs>),
    /// Serve a node and the mining page for other miners
    Node(node::NodeArgs),
    /// Print the genesis file of a new network: its rules, job, operators and initial balances
    Genesis(genesis::GenesisArgs),
    /// Recompute gradients that other miners submit, backed by a stake, and get paid
    Verifier(verifier::VerifierArgs),
    /// Fine-tune an adapter on your own text, without a node
    Train(train::TrainArgs),
    /// Continue a text, to show what a model or an adapter has learned
    Generate(generate::GenerateArgs),
    /// Recompute the gradient of a receipt and compare every bit
    Verify(verify::VerifyArgs),
    /// Inspect and merge adapters, and exchange them with PEFT
    Adapter(adapter::AdapterArgs),
    /// Compute known answers and golden digests on every backend of this machine
    Check(check::CheckArgs),
    /// List the GPUs of this machine
    Devices(devices::DevicesArgs),
    /// Time a whole training step
    Bench(bench::BenchArgs),
    /// Import models from other programs, and report a model's sizes
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Compare exact integers with f64, f32 and bfloat16: gradients and losses
    Quality(quality::QualityArgs),
    /// Keep a wallet's key, send coins, and let session keys mine for the wallet
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Exit with 0 if this machine lists a hardware GPU, otherwise with 3
    #[command(hide = true)]
    Probe,
}

/// Runs the command given on the command line.
pub(crate) fn run(cli: Cli) -> Result<Exit> {
    match cli.command {
        command if command.compute().is_some_and(|compute| compute.list_devices) => devices::run(Default::default()),
        Command::Mine(args) => mine::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Genesis(args) => genesis::run(args),
        Command::Verifier(args) => verifier::run(&args),
        Command::Train(args) => train::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Adapter(args) => adapter::run(args),
        Command::Check(args) => check::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Model(command) => model::run(&command),
        Command::Quality(args) => quality::run(args),
        Command::Wallet(command) => wallet::run(&command),
        Command::Probe => Ok(compute::probe()),
    }
}

impl Command {
    /// Returns the command's backend flags, or `None` if the command has none.
    fn compute(&self) -> Option<&ComputeArgs> {
        match self {
            Self::Mine(args) => Some(&args.compute),
            Self::Node(args) => Some(&args.compute),
            Self::Verifier(args) => Some(&args.compute),
            Self::Train(args) => Some(&args.compute),
            Self::Generate(args) => Some(&args.compute),
            Self::Verify(args) => Some(&args.compute),
            Self::Bench(args) => Some(&args.compute),
            Self::Quality(args) => Some(&args.compute),
            Self::Genesis(_)
            | Self::Adapter(_)
            | Self::Check(_)
            | Self::Devices(_)
            | Self::Model(_)
            | Self::Wallet(_)
            | Self::Probe => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_and_defaults_of_every_command_are_consistent() {
        Cli::command().debug_assert();
    }
}
