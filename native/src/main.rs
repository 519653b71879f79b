//! The binary `r3mes-wgpu`: a miner, a node, and the commands for using them.
//!
//! The modules, lowest layer first. docs/ARCHITECTURE.md says which may import which.
//!
//! | modules | role |
//! |---|---|
//! | `output`, `clock`, `log`, `interrupt` | stdout, exit codes, time, log, Ctrl-C |
//! | `paths`, `threads` | the data folder, durable writing of files, threads |
//! | `wallet`, `blocks`, `model`, `compute`, `job` | keys, block store, model files and text, backends, the job of a model |
//! | `client` | HTTP to nodes, gateways and stores |
//! | `node` | mempool, chain and the blocks that the ledger names |
//! | `consensus` | ABCI for CometBFT |
//! | `server` | the HTTP server of a node |
//! | `service` | a whole node with its operator's roles |
//! | `commands` | one module per command, with its flags |
//! | `cli` | the command line |

mod blocks;
mod cli;
mod client;
mod clock;
mod commands;
mod compute;
mod consensus;
mod interrupt;
mod job;
mod log;
mod model;
mod node;
mod output;
mod paths;
mod server;
mod service;
mod threads;
mod wallet;

use clap::Parser;
use output::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("r3mes-wgpu: {error:#}");
            error.downcast_ref::<Exit>().copied().unwrap_or(Exit::Failure).into()
        }
    }
}
