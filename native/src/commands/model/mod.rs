//! Flags of `model`, typed.

pub(crate) mod import;
pub(crate) mod info;

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum ModelCommand {
    /// Convert a Hugging AppState folder (BitNetForCausalLM) or a GGUF file into the form that the other commands read
    Import(ImportArgs),
    /// Say what a model is and what a step of training takes
    Info(InfoArgs),
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// Folder with config.json and safetensors, or a .gguf file
    pub(crate) source: PathBuf,
    /// Folder to make
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct InfoArgs {
    /// Folder with a model, or a .gguf file
    pub(crate) model: PathBuf,
    /// Tokens of a step [default: the model's context]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) tokens: Option<u32>,
    /// Rank of the adapter, 4..=64
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(4..=64))]
    pub(crate) rank: u32,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}
