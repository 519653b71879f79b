//! `model`: imports models from other programs, and reports a model's sizes.

mod import;
pub(super) mod info;

use crate::output::Exit;
use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum ModelCommand {
    /// Convert a model for use with the other commands, from a Hugging Face folder (BitNetForCausalLM) or a GGUF file
    Import(import::ModelImportArgs),
    /// Report the sizes of a model, its CID, and how much memory a training step takes
    Info(info::ModelInfoArgs),
}

/// Runs a subcommand of `model`.
pub(crate) fn run(command: &ModelCommand) -> Result<Exit> {
    match command {
        ModelCommand::Import(args) => import::run(args),
        ModelCommand::Info(args) => info::run(args),
    }
}
