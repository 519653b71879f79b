//! Reads and writes model files. A model is stored either as a `config.json` with one or more safetensors files, or as
//! one GGUF file. The tensors of safetensors files have the names and packing of Hugging Face's `BitNetForCausalLM`.
//! [`write()`] always writes `config.json` and one safetensors file.
//!
//! The files are given as byte slices, which may be memory-mapped. Tensors are read one after another, so reading takes
//! only the memory for the model itself and for a few rows.

mod config;
mod config_keys;
mod contents;
mod gguf;
mod k_quants;
mod safetensors_source;
mod tensor;
mod ternary;
mod write;

pub use contents::{is_disabled, parse_safetensors, recognize, without_bom};
pub use write::{config_json, write, write_tensors};

use super::{
    config::{Linear, ModelConfig},
    embedding::Embedding,
    weights::{Gain, Layer, Model},
};
use crate::{error::Error, numbers::ternary::Ternary};

/// A callback that reports progress. Its arguments are the number of layers read so far and the number of all layers.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// The files of a model, from which tensors are read by their paths in `BitNetForCausalLM`, such as
/// `layers.3.mlp.up_proj`.
trait TensorSource {
    /// Reads the token embedding `[vocab, width]`.
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error>;
    /// Reads the gains `[width]` of the norm with the path `path`.
    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error>;
    /// Reads the ternary weights `[rows, columns]` of the linear layer with the path `path`.
    fn linear(&mut self, path: &str, rows: usize, columns: usize) -> Result<Ternary, Error>;
    /// Returns an error if the files contain a tensor that has not been read. Ignoring the tensor could silently change
    /// the model.
    fn finish(self) -> Result<(), Error>;
}

/// Reads a model from the bytes of its `config.json` and of its only safetensors file.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<Model, Error> {
    read_pieces(config, &[tensors], &mut |_, _| ())
}

/// Reads a model from the bytes of its `config.json` and of its safetensors files, which may be given in any order.
pub fn read_pieces(config: &[u8], pieces: &[&[u8]], progress: Progress) -> Result<Model, Error> {
    let config = config::read(config)?;
    assemble(safetensors_source::SafetensorsSource::new(pieces, &config)?, config.model, progress)
}

/// Reads a model from the bytes of a GGUF file of bitnet.cpp or llama.cpp. If the file has been split, `parts` contains
/// all of its parts, in any order; otherwise it contains only the file.
pub fn read_gguf(parts: &[&[u8]], progress: Progress) -> Result<Model, Error> {
    let source = gguf::GgufSource::new(parts)?;
    let config = source.config()?;
    assemble(source, config, progress)
}

/// Returns the name of the architecture that a GGUF file states: `bitnet-b1.58`, `bitnet-25` or `bitnet`. `parts`
/// contains the file, or all of its parts if it has been split.
pub fn gguf_architecture<'a>(parts: &[&'a [u8]]) -> Result<&'a str, Error> {
    gguf::GgufSource::new(parts)?.architecture()
}

/// Reads all tensors of a model, and checks the shape of each tensor against `config`.
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
