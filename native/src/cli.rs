//! The command line: parses the arguments and runs the chosen command. The flags of each command are declared in the
//! command's own module.

use crate::{
    commands::{
        adapter, bench, check, devices, generate, genesis, mine, model, node, quality, train, verifier, verify, wallet,
    },
    compute::{self, ComputeArgs},
    output::Exit,
};
use anyhow::Result;
use clap::{Arg, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::env;

/// Trains LoRA adapters of BitNet models in exact integers: a gradient has the same bytes on every GPU and CPU.
///
/// Exit codes: 0 success, 1 failure, 2 usage error, 3 no usable GPU, 4 result not reproduced, 5 request refused by the
/// node or the ledger, 130 stopped by Ctrl-C. There is no developer fee.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Claim tasks from a node in this process or from another node, compute gradients, submit them and get paid
    Mine(Box<mine::MineArgs>),
    /// Run a node for which others can mine, and serve the mining page
    Node(node::NodeArgs),
    /// Print the genesis file of a new network: its rules, job, operators and initial balances
    Genesis(genesis::GenesisArgs),
    /// Lock a stake, recompute gradients that other miners submit, and get paid for that
    Verifier(verifier::VerifierArgs),
    /// Fine-tune an adapter on your own text, without a node
    Train(train::TrainArgs),
    /// Continue a text with a model and an adapter, to show what they have learned
    Generate(generate::GenerateArgs),
    /// Recompute the gradient that a receipt describes, and compare every bit
    Verify(verify::VerifyArgs),
    /// Inspect and merge adapters, and convert them to and from PEFT's format
    Adapter(adapter::AdapterArgs),
    /// Test that every backend of this machine computes the expected outputs of every kernel and the recorded digests
    /// of whole training steps
    Check(check::CheckArgs),
    /// List the GPUs of this machine
    Devices(devices::DevicesArgs),
    /// Measure the speed of a whole training step
    Bench(bench::BenchArgs),
    /// Import models from other programs, and report the sizes of a model
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Compare the gradients and losses of training in exact integers with those in f64, f32 and bfloat16
    Quality(quality::QualityArgs),
    /// Manage wallets: keep their keys, send their coins, and permit session keys to mine for them
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Exit with code 0 if the drivers of this machine list a hardware GPU, otherwise with code 3
    #[command(hide = true)]
    Probe,
}

impl Cli {
    /// Parses the arguments of this process. If they are wrong, prints why, and ends the process with exit code 2.
    ///
    /// An empty environment variable counts as one that is not set, because service managers and container tools often
    /// cannot unset a variable.
    pub(crate) fn from_command_line() -> Self {
        let matches = without_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Makes a command and its subcommands ignore environment variables that are empty.
fn without_empty_variables(command: ClapCommand) -> ClapCommand {
    let unset = |arg: Arg| {
        let is_empty = arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(None::<&str>) } else { arg }
    };
    command.mut_args(unset).mut_subcommands(without_empty_variables)
}

/// Runs the command that was given on the command line.
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
    /// Returns the flags that select the command's backend, or `None` if the command has no such flags.
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

    #[test]
    fn flags_and_defaults_of_every_command_are_consistent() {
        Cli::command().debug_assert();
    }
}
