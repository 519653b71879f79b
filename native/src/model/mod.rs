//! Loads the model for which a job trains an adapter, and splits the training text into chunks of tokens.

pub(crate) mod files;
mod shipped;
pub(crate) mod tokenizer;
mod tokenizer_file;

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
    io::{self, Read, stdin},
    path::{Path, PathBuf},
};

/// Flags that select the model, the text and the data folder.
#[derive(Args, Clone)]
pub(crate) struct JobArgs {
    /// Use the model in this folder, which `model import` has written [default: the bundled model]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Train on these text files; the model's tokenizer.json converts them to tokens; if the model has a vocabulary of
    /// 256 and no tokenizer.json, every byte is a token; - stands for stdin [default: the bundled text]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) text: Vec<PathBuf>,
    /// Set the rank of the adapter, from 4 to 64
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) rank: usize,
    /// Keep models, ledgers, keys and receipts in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// The bundled text: a book, which `native/data/README.md` describes.
const TEXT: &[u8] = include_bytes!("../../data/moby-dick.txt");

/// Reads the model in the folder `given`, or the bundled model if no folder is given.
pub(crate) fn load(given: Option<&Path>, data_dir: &Path) -> Result<Model> {
    read(&dir(given, data_dir)?)
}

/// Returns the folder `given`. If no folder is given, writes the missing files of the bundled model to that model's
/// folder in `data_dir`, and returns this folder.
pub(crate) fn dir(given: Option<&Path>, data_dir: &Path) -> Result<PathBuf> {
    given.map_or_else(|| shipped::dir(data_dir), |dir| Ok(dir.to_owned()))
}

/// Reads the model at `dir`, which is a folder or a GGUF file.
pub(crate) fn read(dir: &Path) -> Result<Model> {
    let failed = || format!("reading the model in {}", dir.display());
    ModelFiles::open(dir)?.read(&mut |_, _| ()).with_context(failed)
}

/// Returns the linear layers to adapt (all seven in each transformer layer) together with the LoRA rank.
pub(crate) fn targets(rank: usize) -> Targets {
    Targets { rank, linears: Linear::ALL.to_vec() }
}

/// Returns the training text in chunks of 2048 tokens. The `tokenizer.json` in the model's folder `dir` converts the
/// text to tokens. If the model has a vocabulary of 256 and no such file, every byte is a token.
pub(crate) fn chunks(args: &JobArgs, dir: &Path, model: &Model) -> Result<Vec<Chunk>> {
    let mut texts = Vec::new();
    for path in &args.text {
        let (name, text) = match path.as_os_str() == "-" {
            true => ("stdin".to_owned(), read_stdin()),
            false => (path.display().to_string(), fs::read(path)),
        };
        texts.push((name.clone(), text.with_context(|| format!("reading {name}"))?));
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

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
