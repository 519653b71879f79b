//! Reads and writes model files. A model is either a `config.json` with one or more safetensors files, in the names and
//! packings of Hugging Face's `BitNetForCausalLM`, or one GGUF file. [`write`] always writes the same format.
//!
//! Files are passed as byte slices, memory-mapped or in memory. Tensors are read one after another, so reading needs
//! memory for the model itself and a few rows.

mod config;
mod gguf;
mod safetensors_source;
mod tensor;
mod ternary;
mod write;

pub use write::{config_json, write, write_tensors};

use super::{
    config::{Linear, ModelConfig},
    embedding::Embedding,
    weights::{Gain, Layer, Model},
};
use crate::{error::Error, numbers::ternary::Ternary};

/// A callback for progress: it gets the number of layers read and the total number of layers.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// A file format that tensors are read from, by their paths in `BitNetForCausalLM`, such as `layers.3.mlp.up_proj`.
trait TensorSource {
    /// Returns the embedding `[vocab, width]`.
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error>;
    /// Returns the gains `[width]` of the norm at `path`.
    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error>;
    /// Returns the linear `[rows, columns]` at `path`.
    fn linear(&mut self, path: &str, rows: usize, columns: usize) -> Result<Ternary, Error>;
    /// Returns an error if the file has a tensor that was not read, because without this check the model would silently
    /// lack it.
    fn finish(self) -> Result<(), Error>;
}

/// Reads a model from the bytes of its `config.json` and of one `model.safetensors`.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<Model, Error> {
    read_pieces(config, &[tensors], &mut |_, _| ())
}

/// Reads a model from the bytes of its `config.json` and of its safetensors files, which may be in any order.
pub fn read_pieces(config: &[u8], pieces: &[&[u8]], progress: Progress) -> Result<Model, Error> {
    let config = config::read(config)?;
    assemble(safetensors_source::SafetensorsSource::new(pieces, &config)?, config.model, progress)
}

/// Reads a GGUF file of bitnet.cpp or llama.cpp.
pub fn read_gguf(bytes: &[u8], progress: Progress) -> Result<Model, Error> {
    let source = gguf::GgufSource::new(bytes)?;
    let config = source.config()?;
    assemble(source, config, progress)
}

/// Reads all tensors of a model. Every size is checked against the config before it is used.
fn assemble(mut source: impl TensorSource, config: ModelConfig, progress: Progress) -> Result<Model, Error> {
    let embedding = source.embedding(config.vocab, config.width)?;
    let mut layers = Vec::with_capacity(config.layers);
    for i in 0..config.layers {
        progress(i, config.layers);
        let mut gain = |path: &str, width| source.gain(&format!("layers.{i}.{path}"), width);
        let attention_norm = gain("input_layernorm", config.width)?;
        let attention_sub_norm = gain("self_attn.attn_sub_norm", config.heads * config.head_dim)?;
        let ffn_norm = gain("post_attention_layernorm", config.width)?;
        let ffn_sub_norm = gain("mlp.ffn_sub_norm", config.ffn_width)?;
        let linears = Linear::ALL.iter().map(|&linear| {
            let (columns, rows) = linear.shape(&config);
            source.linear(&format!("layers.{i}.{}", linear.path()), rows, columns)
        });
        let linears = linears.collect::<Result<_, Error>>()?;
        layers.push(Layer { attention_norm, attention_sub_norm, ffn_norm, ffn_sub_norm, linears });
    }
    let final_norm = source.gain("norm", config.width)?;
    progress(config.layers, config.layers);
    source.finish()?;
    Model { embedding, layers, final_norm, config }.check()
}
