//! The model and the text that a job is about.

pub(crate) mod cli;
pub(crate) mod import;
pub(crate) mod info;
mod source;
mod tokens;

pub(crate) use tokens::Tokens;

use super::{cli::JobArgs, place};
use anyhow::{Context, Result, ensure};
use r3mes_wgpu::model::{
    config::{Linear, ModelConfig},
    file,
    generator::seeded,
    transformer::Targets,
    weights::Model,
};
use r3mes_wgpu::work::{CHUNK_TOKENS, Chunk};
use source::Source;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The book that comes with the program: see `native/data/README.md`.
const TEXT: &[u8] = include_bytes!("../../data/moby-dick.txt");

/// Sizes of the backbone that is made from a seed: 4.7 M ternary weights.
const DEFAULT: ModelConfig = ModelConfig {
    layers: 6,
    width: 256,
    heads: 8,
    kv_heads: 4,
    head_dim: 32,
    ffn_width: 768,
    vocab: 256,
    context: 256,
    rope_theta: 10_000,
    norm_epsilon: 1e-5,
    residual_fraction_bits: 16,
};
const DEFAULT_SEED: [u8; 32] = *b"r3mes-wgpu default backbone, v1.";

/// The model in the folder that [`dir`] says.
pub(crate) fn load(given: Option<&Path>, data_dir: &Path) -> Result<Model> {
    read(&dir(given, data_dir)?)
}

/// The folder of the model given; without one, of the default, which is made once and kept as files like any other.
pub(crate) fn dir(given: Option<&Path>, data_dir: &Path) -> Result<PathBuf> {
    given.map_or_else(|| default_dir(data_dir), |dir| Ok(dir.to_owned()))
}

/// Reads the model in a folder, or a GGUF file.
pub(crate) fn read(dir: &Path) -> Result<Model> {
    let failed = || format!("the model in {}", dir.display());
    Source::open(dir)?.read(&mut |_, _| ()).with_context(failed)
}

fn default_dir(data_dir: &Path) -> Result<PathBuf> {
    let dir = data_dir.join("models").join("seeded-v1");
    if !dir.join("model.safetensors").exists() {
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let (config, tensors) = file::write(&seeded(DEFAULT, DEFAULT_SEED)?)?;
        place::write_whole(&dir.join("config.json"), &config)?;
        place::write_whole(&dir.join("model.safetensors"), &tensors)?;
    }
    Ok(dir)
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
