//! The R3MES miner: `r3mes-wgpu mine`, and what belongs to it.

mod cli;
mod client;
mod commands;
mod compute;
mod consensus;
mod engine;
mod interrupt;
mod model;
mod node;
mod output;
mod paths;
mod server;
mod threads;
mod wallet;

use clap::Parser;
use commands::{adapter, bench, check, devices, generate, genesis, mine, quality, train, verifier, verify};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let result = match cli.command {
        command if command.compute().is_some_and(|compute| compute.list_devices) => devices::run(Default::default()),
        cli::Command::Mine(args) => mine::run(&args),
        cli::Command::Node(args) => commands::node::run(&args),
        cli::Command::Genesis(args) => genesis::run(args),
        cli::Command::Verifier(args) => verifier::run(&args),
        cli::Command::Train(args) => train::run(args),
        cli::Command::Generate(args) => generate::run(args),
        cli::Command::Verify(args) => verify::run(args),
        cli::Command::Adapter(args) => adapter::run(args),
        cli::Command::Check(args) => check::run(args),
        cli::Command::Devices(args) => devices::run(args),
        cli::Command::Bench(args) => bench::run(args),
        cli::Command::Model(commands::model::ModelCommand::Import(args)) => commands::model::import::run(&args),
        cli::Command::Model(commands::model::ModelCommand::Info(args)) => commands::model::info::run(&args),
        cli::Command::Quality(args) => quality::run(args),
        cli::Command::Wallet(command) => commands::wallet::run(&command),
        cli::Command::Probe => Ok(compute::probe()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("r3mes-wgpu: {error:#}");
            error.downcast_ref::<output::Exit>().copied().unwrap_or(output::Exit::Failure).into()
        }
    }
}
