//! The program `r3mes-wgpu`: a miner, a node, and tools for wallets, models and adapters.
//!
//! The table lists the modules, lowest layer first. docs/ARCHITECTURE.md says which modules may import which others.
//!
//! | Modules | Contents |
//! |---|---|
//! | `output`, `clock`, `log` | results and exit codes, time, logging |
//! | `paths`, `threads`, `database` | the data folder, durable files and databases, thread creation |
//! | `interrupt` | Ctrl-C and SIGTERM |
//! | `wallet`, `blocks`, `model`, `compute`, `job` | keys, block store, model and text, backends, jobs |
//! | `client` | HTTP clients of nodes, gateways and block stores |
//! | `node` | a node's ledger, chain, mempool and data blocks |
//! | `consensus` | the ABCI application, through which CometBFT controls a replica |
//! | `server` | a node's HTTP server |
//! | `service` | a complete node: ledger, HTTP server and the operator's roles in one process |
//! | `commands` | one module per command, with the command's flags |
//! | `cli` | parsing of the command line |

mod blocks;
mod cli;
mod client;
mod clock;
mod commands;
mod compute;
mod consensus;
mod database;
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

use output::{Exit, note};
use std::process::ExitCode;

fn main() -> ExitCode {
    threads::limit_memory_pools();
    let cli = cli::Cli::from_command_line();
    threads::explain_refusals();
    match interrupt::handle().and_then(|()| cli::run(cli)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            note!("r3mes-wgpu: {error:#}");
            error.downcast_ref::<Exit>().copied().unwrap_or(Exit::Failure).into()
        }
    }
}
