//! Reads GGUF files of models that have the architecture of BitNet b1.58 2B4T. The files call this architecture
//! `bitnet-b1.58`, or `bitnet-25` if the first release of bitnet.cpp made them.
//!
//! The reader makes assumptions where a file states nothing: the activation is relu², the output head uses the weights
//! of the embedding, and the rows of the query and key weights are in Hugging Face's order. (bitnet.cpp rotates heads
//! as GPT-NeoX does, and its converter does not permute rows, which implies this order.) A file with separate head
//! weights, `output.weight`, is refused.

mod blocks;
mod header;
mod stored_tensor;
mod types;

use self::{
    header::{GgufHeader, MetadataValue},
    stored_tensor::{StoredTensor, malformed},
};
use super::{TensorSource, config::whole_theta};
use crate::{
    error::Error,
    kernels::attention::MAX_CONTEXT,
    model::{config::ModelConfig, embedding::Embedding, weights::Gain},
    numbers::ternary::Ternary,
};
use std::collections::BTreeMap;

const ARCHITECTURES: [&str; 2] = ["bitnet-b1.58", "bitnet-25"];
const EMBEDDING: &str = "token_embd.weight";

/// Pairs of names for the same module: its path in `BitNetForCausalLM`, and its name in GGUF files.
const NAMES: [(&str, &str); 12] = [
    ("norm", "output_norm"),
    ("input_layernorm", "attn_norm"),
    ("self_attn.attn_sub_norm", "attn_sub_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.ffn_sub_norm", "ffn_sub_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// A GGUF file that is being read: its metadata, and the tensors that have not been read yet.
pub(super) struct GgufSource<'a> {
    values: BTreeMap<&'a str, MetadataValue<'a>>,
    remaining: BTreeMap<&'a str, StoredTensor<'a>>,
}

impl<'a> GgufSource<'a> {
    /// Reads the header of the file. `bytes` is the whole file.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let GgufHeader { values, tensors } = header::read(bytes)?;
        Ok(Self { values, remaining: tensors })
    }

    /// Returns the model's sizes, which follow from the metadata of the file.
    pub(super) fn config(&self) -> Result<ModelConfig, Error> {
        let architecture = match self.values.get("general.architecture") {
            Some(MetadataValue::String(name)) if ARCHITECTURES.contains(name) => name,
            Some(MetadataValue::String(name)) => {
                return Err(malformed(format!("architecture {name:?} is not one of {ARCHITECTURES:?}")));
            }
            _ => return Err(malformed("general.architecture is missing")),
        };
        if self.values.contains_key(format!("{architecture}.rope.scaling.type").as_str())
            && !matches!(self.text(architecture, "rope.scaling.type"), Some("none"))
        {
            return Err(malformed("rope.scaling is not supported"));
        }
        let (width, heads) =
            (self.size(architecture, "embedding_length")?, self.size(architecture, "attention.head_count")?);
        let embedding = self.remaining.get(EMBEDDING).ok_or_else(|| Error::Missing { name: EMBEDDING.into() })?;
        ModelConfig {
            layers: self.size(architecture, "block_count")?,
            width,
            heads,
            kv_heads: self.size(architecture, "attention.head_count_kv").unwrap_or(heads),
            head_dim: self.size(architecture, "rope.dimension_count").unwrap_or(width / heads.max(1)),
            ffn_width: self.size(architecture, "feed_forward_length")?,
            vocab: embedding.shape[0],
            context: self.size(architecture, "context_length")?.min(MAX_CONTEXT),
            rope_theta: whole_theta(self.real(architecture, "rope.freq_base")?)?,
            norm_epsilon: decimal(self.real(architecture, "attention.layer_norm_rms_epsilon")?),
            residual_fraction_bits: 16,
        }
        .check()
    }

    fn value(&self, architecture: &str, key: &str) -> Result<&MetadataValue<'a>, Error> {
        let key = format!("{architecture}.{key}");
        self.values.get(key.as_str()).ok_or(Error::Missing { name: key })
    }

    fn text(&self, architecture: &str, key: &str) -> Option<&'a str> {
        if let Ok(MetadataValue::String(text)) = self.value(architecture, key) { Some(text) } else { None }
    }

    fn size(&self, architecture: &str, key: &str) -> Result<usize, Error> {
        match self.value(architecture, key)? {
            MetadataValue::Integer(value) => usize::try_from(*value)
                .map_err(|_| malformed(format!("{key} is {value}, which is negative or too large"))),
            _ => Err(malformed(format!("{key} is not an integer"))),
        }
    }

    fn real(&self, architecture: &str, key: &str) -> Result<f64, Error> {
        match self.value(architecture, key)? {
            MetadataValue::Float(value) => Ok(*value),
            _ => Err(malformed(format!("{key} is not a floating-point number"))),
        }
    }

    fn take(&mut self, path: &str) -> Result<StoredTensor<'a>, Error> {
        let (layer, rest) = match path.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
            Some((layer, rest)) => (format!("blk.{layer}."), rest),
            None => (String::new(), path),
        };
        let name = NAMES.iter().find(|(path, _)| *path == rest).map_or(rest, |(_, name)| name);
        self.tensor(&format!("{layer}{name}.weight"))
    }

    fn tensor(&mut self, name: &str) -> Result<StoredTensor<'a>, Error> {
        self.remaining.remove(name).ok_or_else(|| Error::Missing { name: name.into() })
    }
}

/// Returns the f64 that is nearest to the shortest decimal form of an f32. `value` is this f32, converted to f64. A
/// number such as 1e-5 is an f64 in `config.json` and an f32 in GGUF, and both files must give the same model.
fn decimal(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

impl TensorSource for GgufSource<'_> {
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error> {
        let tensor = self.tensor(EMBEDDING)?.float_tensor()?;
        tensor.check_shape(&[vocab, width])?;
        let rows = tensor.rows(width).ok_or_else(|| tensor.error("the type must be F32, F16 or BF16"))?;
        Embedding::quantize_rows(vocab, width, rows)
    }

    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error> {
        let tensor = self.take(path)?.float_tensor()?;
        Gain::quantize(&tensor.to_f32(&[width])?).map_err(|error| tensor.error(error))
    }

    fn linear(&mut self, path: &str, rows: usize, columns: usize) -> Result<Ternary, Error> {
        let stored = self.take(path)?;
        if stored.shape != [rows, columns] {
            return Err(stored.error(format_args!("the expected shape is {:?}", [rows, columns])));
        }
        blocks::linear(&stored, rows, columns)
    }

    fn finish(mut self) -> Result<(), Error> {
        self.remaining.remove("rope_freqs.weight");
        match self.remaining.into_values().next() {
            None => Ok(()),
            Some(other) if other.name == "output.weight" => {
                Err(other.error("only models whose output head uses the embedding are supported"))
            }
            Some(other) => Err(other.error("a BitNet model has no such tensor")),
        }
    }
}
