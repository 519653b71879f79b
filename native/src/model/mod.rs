//! The model and the text that a job is about.

mod shipped;
pub(crate) mod source;
pub(crate) mod tokens;

pub(crate) use tokens::Tokens;

use crate::cli::JobArgs;
use anyhow::{Context, Result, ensure};
use r3mes_wgpu::{
    model::{config::Linear, transformer::Targets, weights::Model},
    protocol::{CHUNK_TOKENS, Chunk},
};
use source::Source;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The book that comes with the program: see `native/data/README.md`.
const TEXT: &[u8] = include_bytes!("../../data/moby-dick.txt");

/// The model in the folder that [`dir`] says.
pub(crate) fn load(given: Option<&Path>, data_dir: &Path) -> Result<Model> {
    read(&dir(given, data_dir)?)
}

/// The folder of the model given; without one, of the one that comes with the program, kept as files like any other.
pub(crate) fn dir(given: Option<&Path>, data_dir: &Path) -> Result<PathBuf> {
    given.map_or_else(|| shipped::dir(data_dir), |dir| Ok(dir.to_owned()))
}

/// Reads the model in a folder, or a GGUF file.
pub(crate) fn read(dir: &Path) -> Result<Model> {
    let failed = || format!("the model in {}", dir.display());
    Source::open(dir)?.read(&mut |_, _| ()).with_context(failed)
}

/// All seven linears at a rank.
pub(crate) fn targets(rank: usize) -> Targets {
    Targets { rank, linears: Linear::ALL.to_vec() }
}

/// The job's text in chunks of 2048 tokens: of the `tokenizer.json` beside the model, or bytes where the vocabulary is 256.
pub(crate) fn chunks(args: &JobArgs, dir: &Path, model: &Model) -> Result<Vec<Chunk>> {
    let mut texts = Vec::new();
    for path in &args.text {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        texts.push((path.display().to_string(), text));
    }
    if texts.is_empty() {
        texts.push(("the text that comes with the program".to_owned(), TEXT.to_vec()));
    }
    let vocab = model.config.vocab;
    let chunks = Tokens::of(dir, vocab)?.chunks(&texts, vocab)?;
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    ensure!(!chunks.is_empty(), "a text of {bytes} bytes is shorter than one chunk of {CHUNK_TOKENS} tokens");
    Ok(chunks)
}
