//! The R3MES miner: `r3mes-wgpu mine`, and what belongs to it.

mod adapter;
mod bench;
mod blocks;
mod check;
mod cli;
mod compute;
mod consensus;
mod devices;
mod embedded;
mod engine;
mod fill;
mod generate;
mod genesis;
mod http;
mod interrupt;
mod mine;
mod model;
mod node;
mod output;
mod place;
mod quality;
mod remote;
mod retry;
mod roles;
mod serve;
mod sources;
mod threads;
mod train;
mod verifier;
mod verify;
mod wallet;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let result = match cli.command {
        command if command.compute().is_some_and(|compute| compute.list_devices) => devices::run(Default::default()),
        cli::Command::Mine(args) => mine::run(&args),
        cli::Command::Node(args) => serve::run(&args),
        cli::Command::Genesis(args) => genesis::run(args),
        cli::Command::Verifier(args) => verifier::run(&args),
        cli::Command::Train(args) => train::run(args),
        cli::Command::Generate(args) => generate::run(args),
        cli::Command::Verify(args) => verify::run(args),
        cli::Command::Adapter(args) => adapter::run(args),
        cli::Command::Check(args) => check::run(args),
        cli::Command::Devices(args) => devices::run(args),
        cli::Command::Bench(args) => bench::run(args),
        cli::Command::Model(model::cli::ModelCommand::Import(args)) => model::import::run(&args),
        cli::Command::Model(model::cli::ModelCommand::Info(args)) => model::info::run(&args),
        cli::Command::Quality(args) => quality::run(args),
        cli::Command::Wallet(command) => wallet::run(&command),
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
