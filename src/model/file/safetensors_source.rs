//! Reads the tensors of a model from safetensors files.

use super::{
    TensorSource,
    config::{ParsedConfig, ScaleConvention},
    contents::parse_safetensors,
    tensor::{FileTensor, TensorKind},
    ternary,
};
use crate::{
    error::Error,
    model::{embedding::Embedding, weights::Gain},
    numbers::ternary::Ternary,
};
use safetensors::Dtype;
use std::collections::BTreeMap;

const FILE: &str = "model.safetensors";
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The safetensors files of a model: the tensors that have not been read yet, by name.
pub(super) struct SafetensorsSource<'a> {
    remaining: BTreeMap<String, FileTensor<'a>>,
    convention: ScaleConvention,
}

impl<'a> SafetensorsSource<'a> {
    /// Lists the tensors of all files. Returns an error if a name occurs twice, or if the output head has other weights
    /// than the embedding.
    pub(super) fn new(pieces: &[&'a [u8]], config: &ParsedConfig) -> Result<Self, Error> {
        let malformed = |reason: String| Error::Malformed { what: FILE, reason };
        let mut remaining = BTreeMap::new();
        for piece in pieces {
            for (name, view) in parse_safetensors(FILE, piece)?.tensors() {
                let (kind, shape, bytes) = (kind(view.dtype()), view.shape().to_vec(), view.data());
                if remaining.insert(name.clone(), FileTensor { name: name.clone(), kind, shape, bytes }).is_some() {
                    return Err(malformed(format!("the tensor {name} occurs twice")));
                }
            }
        }
        match (remaining.remove(HEAD), remaining.get(EMBEDDING)) {
            (None, _) if config.tied => {}
            (Some(head), Some(embedding)) if head.has_values_of(embedding) => {}
            (None, _) => {
                return Err(malformed(format!(
                    "{HEAD} is missing, although config.json sets tie_word_embeddings to false"
                )));
            }
            (Some(head), _) => {
                return Err(head.error(
                    "its values are not those of model.embed_tokens.weight; only models whose output head uses the \
                     embedding are supported",
                ));
            }
        }
        Ok(Self { remaining, convention: config.convention })
    }

    fn take(&mut self, name: String) -> Result<FileTensor<'a>, Error> {
        self.remaining.remove(&name).ok_or(Error::Missing { name })
    }
}

fn kind(dtype: Dtype) -> TensorKind {
    match dtype {
        Dtype::F32 => TensorKind::F32,
        Dtype::F16 => TensorKind::F16,
        Dtype::BF16 => TensorKind::BF16,
        Dtype::U8 => TensorKind::U8,
        Dtype::I8 => TensorKind::I8,
        Dtype::F64 => TensorKind::Other("F64"),
        Dtype::I32 => TensorKind::Other("I32"),
        Dtype::I64 => TensorKind::Other("I64"),
        _ => TensorKind::Other("of an unknown type"),
    }
}

impl TensorSource for SafetensorsSource<'_> {
    fn embedding(&mut self, vocab: usize, width: usize) -> Result<Embedding, Error> {
        let tensor = self.take(EMBEDDING.into())?;
        tensor.check_shape(&[vocab, width])?;
        if tensor.kind == TensorKind::I8 {
            let scales = self.take(format!("{EMBEDDING}_scale"))?.to_f32(&[vocab])?;
            return Embedding::from_int8(bytemuck::cast_slice(tensor.bytes), width, &scales);
        }
        let rows =
            tensor.rows(width).ok_or_else(|| tensor.error("the type must be F32, F16, BF16, or I8 with scales"))?;
        Embedding::quantize_rows(vocab, width, rows)
    }

    fn gain(&mut self, path: &str, width: usize) -> Result<Gain, Error> {
        let tensor = self.take(format!("model.{path}.weight"))?;
        Gain::quantize(&tensor.to_f32(&[width])?).map_err(|error| tensor.error(error))
    }

    fn linear(&mut self, path: &str, rows: usize, columns: usize) -> Result<Ternary, Error> {
        let name = format!("model.{path}.weight");
        let scale = self.remaining.remove(&format!("{name}_scale"));
        ternary::linear(&self.take(name)?, scale.as_ref(), [rows, columns], self.convention)
    }

    fn finish(mut self) -> Result<(), Error> {
        self.remaining.retain(|name, _| !name.ends_with("rotary_emb.inv_freq"));
        match self.remaining.into_values().next() {
            None => Ok(()),
            Some(tensor) => Err(tensor.error("BitNetForCausalLM has no such tensor")),
        }
    }
}
