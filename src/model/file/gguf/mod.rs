//! Reads GGUF files of models that have the architecture of BitNet b1.58 2B4T. The name of this architecture in a file
//! is `bitnet-b1.58`, `bitnet` or, if the first release of bitnet.cpp made the file, `bitnet-25`.
//!
//! The reader makes assumptions where a file states nothing: the activation is relu², the output head uses the weights
//! of the embedding, and the rows of the query and key weights are in Hugging Face's order. (bitnet.cpp rotates heads
//! as GPT-NeoX does, and its converter does not permute rows, which implies this order.) A file whose head weights,
//! `output.weight`, differ from the embedding is refused.

mod blocks;
mod header;
mod keys;
mod parts;
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

const ARCHITECTURES: [&str; 3] = ["bitnet-b1.58", "bitnet-25", "bitnet"];
const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";
const ROPE_FACTORS: &str = "rope_freqs.weight";

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
    /// Reads the header of the file. `parts` contains the whole file, or all parts of a split file.
    pub(super) fn new(parts: &[&'a [u8]]) -> Result<Self, Error> {
        let GgufHeader { values, tensors } = parts::read(parts)?;
        Ok(Self { values, remaining: tensors })
    }

    /// Returns an error if the file is not a model.
    fn check_type(&self) -> Result<(), Error> {
        if self.values.is_empty() && self.remaining.is_empty() {
            return Err(malformed("the file has a GGUF header, but no metadata and no tensors; it is not a model"));
        }
        let kind = self.values.get("general.type").copied().unwrap_or(MetadataValue::String("model"));
        if kind == MetadataValue::String("adapter") || self.values.contains_key("adapter.type") {
            return Err(malformed(
                "the file is a LoRA adapter, not a model; this program reads adapters in PEFT's format only \
                 (adapter_config.json and adapter_model.safetensors)",
            ));
        }
        match kind {
            MetadataValue::String("model") => Ok(()),
            other => Err(malformed(format!("general.type is {other}, so the file is not a model"))),
        }
    }

    /// Returns the name of the architecture. Returns an error unless it is one of [`ARCHITECTURES`], such as
    /// `bitnet-b1.58`.
    pub(super) fn architecture(&self) -> Result<&'a str, Error> {
        self.check_type()?;
        match self.values.get("general.architecture") {
            Some(MetadataValue::String(name)) if ARCHITECTURES.contains(name) => Ok(name),
            Some(MetadataValue::String(name)) => {
                Err(malformed(format!("the architecture is {name:?}; only {ARCHITECTURES:?} are supported")))
            }
            _ => Err(malformed("general.architecture is missing")),
        }
    }

    /// Returns the model's sizes, which follow from the metadata of the file.
    pub(super) fn config(&self) -> Result<ModelConfig, Error> {
        let architecture = self.architecture()?;
        keys::check(&self.values, architecture)?;
        let (width, heads) =
            (self.size(architecture, "embedding_length")?, self.size(architecture, "attention.head_count")?);
        let mut head_dim = None;
        for key in ["attention.key_length", "attention.value_length", "rope.dimension_count"] {
            let length = self.optional_size(architecture, key)?.or(head_dim);
            if head_dim.is_some() && length != head_dim {
                return Err(malformed(format!(
                    "{key} is not the length of a head's key; only one length is supported"
                )));
            }
            head_dim = length;
        }
        let embedding = self.remaining.get(EMBEDDING).ok_or_else(|| Error::Missing { name: EMBEDDING.into() })?;
        ModelConfig {
            layers: self.size(architecture, "block_count")?,
            width,
            heads,
            kv_heads: self.optional_size(architecture, "attention.head_count_kv")?.unwrap_or(heads),
            head_dim: head_dim.unwrap_or(width / heads.max(1)),
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

    fn size(&self, architecture: &str, key: &str) -> Result<usize, Error> {
        match self.value(architecture, key)? {
            MetadataValue::Integer(value) => usize::try_from(*value)
                .map_err(|_| malformed(format!("{key} is {value}, which is negative or too large"))),
            _ => Err(malformed(format!("{key} is not an integer"))),
        }
    }

    /// Returns the integer with this key, or `None` if the file does not have the key.
    fn optional_size(&self, architecture: &str, key: &str) -> Result<Option<usize>, Error> {
        self.value(architecture, key).is_ok().then(|| self.size(architecture, key)).transpose()
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

/// Converts an f32 to f64 by way of the shortest decimal number that identifies the f32. For example, the f32 nearest
/// to 1e-5 becomes the f64 nearest to 1e-5. `value` is the f32 to convert, given as an f64 of exactly the same value.
///
/// GGUF stores a number as f32, and `config.json` stores it as a decimal number, which is read as f64. With this
/// conversion, both files give the same model.
fn decimal(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

impl TensorSource for GgufSource<'_> {
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error> {
        let tensor = self.tensor(EMBEDDING)?.real_tensor()?;
        tensor.check_shape(&[vocab, width])?;
        if let Some(head) = self.remaining.remove(HEAD)
            && !head.real_tensor()?.has_values_of(&tensor)
        {
            return Err(head.error(
                "its values are not those of token_embd.weight; only models whose output head uses the embedding are \
                 supported",
            ));
        }
        let rows = tensor.rows(width).ok_or_else(|| tensor.error("its elements are not real numbers"))?;
        Embedding::quantize_rows(vocab, width, rows)
    }

    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error> {
        let tensor = self.take(path)?.real_tensor()?;
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
        if let Some(factors) = self.remaining.remove(ROPE_FACTORS)
            && !factors.real_tensor()?.to_f32(&factors.shape)?.iter().all(|factor| *factor == 1.0)
        {
            return Err(factors.error("the rotary frequencies are scaled; only unscaled ones are supported"));
        }
        match self.remaining.into_values().next() {
            None => Ok(()),
            Some(other) => Err(other.error("a BitNet model has no such tensor")),
        }
    }
}
