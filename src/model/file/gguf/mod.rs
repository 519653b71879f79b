//! GGUF files of BitNet b1.58 2B4T's shape: `bitnet-b1.58`, in bitnet.cpp's first release `bitnet-25`.
//!
//! What is assumed, because a file does not say: the activation is relu², the head is the embedding unless there is an
//! `output.weight`, and rows of q and k are in Hugging Face's order, since bitnet.cpp rotates as NeoX does and its
//! converter permutes nothing.

mod blocks;
mod header;

use self::header::{GgufHeader, MetadataValue};
use super::{
    TensorSource,
    config::whole_theta,
    tensor::{FileTensor, TensorKind},
};
use crate::{
    error::Error,
    kernels::attention::MAX_CONTEXT,
    model::{config::ModelConfig, embedding::Embedding, weights::Gain},
    numbers::ternary::Ternary,
};
use std::collections::BTreeMap;

const ARCHITECTURES: [&str; 2] = ["bitnet-b1.58", "bitnet-25"];
const EMBEDDING: &str = "token_embd.weight";

/// Paths of `BitNetForCausalLM` and the names here.
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

/// A tensor that the header lists: its number of a type, its shape with the slowest axis first, and where it begins.
#[derive(Clone, Debug)]
struct StoredTensor<'a> {
    name: &'a str,
    number: u32,
    shape: Vec<usize>,
    /// From its first byte to the end of the file.
    bytes: &'a [u8],
}

/// A file's header and tensors, taken one after another.
pub(super) struct GgufSource<'a> {
    values: BTreeMap<&'a str, MetadataValue<'a>>,
    remaining: BTreeMap<&'a str, StoredTensor<'a>>,
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { what: "GGUF", reason: reason.into() }
}

impl<'a> GgufSource<'a> {
    /// Reads the header.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let GgufHeader { values, tensors } = header::read(bytes)?;
        Ok(Self { values, remaining: tensors })
    }

    /// The sizes.
    pub(super) fn config(&self) -> Result<ModelConfig, Error> {
        let architecture = match self.values.get("general.architecture") {
            Some(MetadataValue::Text(name)) if ARCHITECTURES.contains(name) => name,
            Some(MetadataValue::Text(name)) => {
                return Err(malformed(format!("architecture {name:?} is not supported, only {ARCHITECTURES:?}")));
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
        if let Ok(MetadataValue::Text(text)) = self.value(architecture, key) { Some(text) } else { None }
    }

    fn size(&self, architecture: &str, key: &str) -> Result<usize, Error> {
        match self.value(architecture, key)? {
            MetadataValue::Whole(value) => usize::try_from(*value).map_err(|_| malformed(format!("{key} is {value}"))),
            _ => Err(malformed(format!("{key} is not a whole number"))),
        }
    }

    fn real(&self, architecture: &str, key: &str) -> Result<f64, Error> {
        match self.value(architecture, key)? {
            MetadataValue::Real(value) => Ok(*value),
            _ => Err(malformed(format!("{key} is not a real number"))),
        }
    }

    fn take(&mut self, path: &str) -> Result<StoredTensor<'a>, Error> {
        let (layer, rest) = match path.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
            Some((layer, rest)) => (format!("blk.{layer}."), rest),
            None => (String::new(), path),
        };
        let name = NAMES.iter().find(|(ours, _)| *ours == rest).map_or(rest, |(_, name)| name);
        self.tensor(&format!("{layer}{name}.weight"))
    }

    fn tensor(&mut self, name: &str) -> Result<StoredTensor<'a>, Error> {
        self.remaining.remove(name).ok_or_else(|| Error::Missing { name: name.into() })
    }
}

/// The f64 that an f32 was written for: 1e-5 in `config.json` is the f64 1e-5, and the model must be the same.
fn decimal(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

impl<'a> StoredTensor<'a> {
    fn error(&self, reason: impl std::fmt::Display) -> Error {
        malformed(format!("{} (type {}, {:?}): {reason}", self.name, header::type_name(self.number), self.shape))
    }

    /// The first `count` bytes.
    fn bytes(&self, count: usize) -> Result<&'a [u8], Error> {
        self.bytes.get(..count).ok_or_else(|| self.error(format_args!("the file ends within its {count} bytes")))
    }

    /// As reals, of a type that is such.
    fn reals(&self) -> Result<FileTensor<'a>, Error> {
        let (kind, size) = match self.number {
            header::F32 => (TensorKind::F32, 4),
            header::F16 => (TensorKind::F16, 2),
            header::BF16 => (TensorKind::BF16, 2),
            _ => return Err(self.error("only F32, F16 and BF16 are supported here")),
        };
        let bytes = self.bytes(size * self.elements())?;
        Ok(FileTensor { name: self.name.into(), kind, shape: self.shape.clone(), bytes })
    }

    /// Fits usize: the header was checked.
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl TensorSource for GgufSource<'_> {
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error> {
        let tensor = self.tensor(EMBEDDING)?.reals()?;
        tensor.shaped(&[vocab, width])?;
        let rows = tensor.rows(width).ok_or_else(|| tensor.error("expected reals"))?;
        Embedding::quantize_rows(vocab, width, rows)
    }

    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error> {
        let tensor = self.take(path)?.reals()?;
        Gain::quantize(&tensor.reals(&[width])?).map_err(|error| tensor.error(error))
    }

    fn linear(&mut self, path: &str, rows: usize, columns: usize) -> Result<Ternary, Error> {
        let stored = self.take(path)?;
        if stored.shape != [rows, columns] {
            return Err(stored.error(format_args!("expected {:?}", [rows, columns])));
        }
        blocks::linear(&stored, rows, columns)
    }

    fn finish(mut self) -> Result<(), Error> {
        self.remaining.remove("rope_freqs.weight");
        match self.remaining.into_values().next() {
            None => Ok(()),
            Some(other) if other.name == "output.weight" => {
                Err(other.error("only a head that is the embedding is supported"))
            }
            Some(other) => Err(other.error("a BitNet model has no such tensor")),
        }
    }
}
