//! Loads the model of a job, and reads the job's text as chunks of tokens.

pub(crate) mod files;
mod shipped;
pub(crate) mod tokenizer;

pub(crate) use tokenizer::TextTokenizer;

use anyhow::{Context, Result, ensure};
use clap::Args;
use files::ModelFiles;
use r3mes_wgpu::{
    model::{config::Linear, transformer::Targets, weights::Model},
    protocol::{CHUNK_TOKENS, Chunk},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Flags that select the model, the text and the data folder.
#[derive(Args, Clone)]
pub(crate) struct JobArgs {
    /// Use the model in this folder, as `model import` writes it [default: the bundled model]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Train on these texts, read with the model's tokenizer.json, or as bytes if the model has none and a vocabulary
    /// of 256 [default: the bundled text]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) text: Vec<PathBuf>,
    /// Set the rank of the adapter, 4 to 64
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) rank: usize,
    /// Keep models, ledger, keys and receipts in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// The bundled text, a book that `native/data/README.md` describes.
const TEXT: &[u8] = include_bytes!("../../data/moby-dick.txt");

/// Reads the model in the folder that [`dir`] returns.
pub(crate) fn load(given: Option<&Path>, data_dir: &Path) -> Result<Model> {
    read(&dir(given, data_dir)?)
}

/// Returns the folder given, or the folder of the bundled model, whose files are written there if they are missing.
pub(crate) fn dir(given: Option<&Path>, data_dir: &Path) -> Result<PathBuf> {
    given.map_or_else(|| shipped::dir(data_dir), |dir| Ok(dir.to_owned()))
}

/// Reads the model in a folder or in a GGUF file.
pub(crate) fn read(dir: &Path) -> Result<Model> {
    let failed = || format!("reading the model in {}", dir.display());
    ModelFiles::open(dir)?.read(&mut |_, _| ()).with_context(failed)
}

/// Returns the targets that adapt all seven linear layers at a rank.
pub(crate) fn targets(rank: usize) -> Targets {
    Targets { rank, linears: Linear::ALL.to_vec() }
}

/// Returns the text of the job in chunks of 2048 tokens. The tokens are those of the `tokenizer.json` in the model's
/// folder `dir`, or the text's bytes if there is no such file and the vocabulary is 256.
pub(crate) fn chunks(args: &JobArgs, dir: &Path, model: &Model) -> Result<Vec<Chunk>> {
    let mut texts = Vec::new();
    for path in &args.text {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        texts.push((path.display().to_string(), text));
    }
    if texts.is_empty() {
        texts.push(("the bundled text".to_owned(), TEXT.to_vec()));
    }
    let vocab = model.config.vocab;
    let chunks = TextTokenizer::open(dir, vocab)?.chunks(&texts, vocab)?;
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    ensure!(!chunks.is_empty(), "a text of {bytes} bytes is shorter than one chunk of {CHUNK_TOKENS} tokens");
    Ok(chunks)
}
