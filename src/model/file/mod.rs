//! Models as files: `config.json` with `model.safetensors` in one piece or several, in the names and the packings of
//! Hugging Face's `BitNetForCausalLM`; or one GGUF file. What is written has one form, [`write`]'s.
//!
//! Bytes come in as slices, mapped or in memory, and tensors are read from them one after another: beside the model
//! itself, reading takes the memory of a few rows.

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

/// Told of layers read, and how many there are.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// Where a model's tensors are, by the paths of `BitNetForCausalLM`, like `layers.3.mlp.up_proj`.
trait TensorSource {
    /// `[vocab, width]`.
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error>;
    /// `[width]`.
    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error>;
    /// `[rows, columns]`.
    fn linear(&mut self, path: &str, rows: usize, columns: usize) -> Result<Ternary, Error>;
    /// Fails where a tensor is there that none of the above took: it would be left out of the model in silence.
    fn finish(self) -> Result<(), Error>;
}

/// Reads `config.json` and one `model.safetensors`.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<Model, Error> {
    read_pieces(config, &[tensors], &mut |_, _| ())
}

/// Reads `config.json` and the pieces of a model's safetensors, in any order.
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

/// Every size is checked against the config before it is used.
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
