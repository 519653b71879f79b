//! Models as files: `config.json` and `model.safetensors`, in the names and the packing of Hugging Face's
//! `BitNetForCausalLM` (U8 `[ceil(rows/4), columns]`, row `r + i·ceil(rows/4)` at bit 2i, code trit + 1,
//! and a `weight_scale` that multiplies).

use super::{
    config::{Linear, MAX_CONTEXT, ModelConfig},
    weights::{Embedding, Gain, Layer, Model},
};
use crate::{error::Error, fixed::Scale, ternary::Ternary};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The keys of `config.json` that sizes come from.
#[derive(Serialize, Deserialize)]
struct ConfigFile {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    rope_theta: f64,
    rms_norm_eps: f64,
    hidden_act: String,
    tie_word_embeddings: bool,
    residual_fraction_bits: Option<u32>,
}

/// Fraction bits of the residual where a file does not say: a range of ±32,768.
const RESIDUAL_FRACTION_BITS: u32 = 16;

const MODEL_TYPE: &str = "bitnet";
const ACTIVATION: &str = "relu2";

/// The path of a linear inside a layer.
fn path(linear: Linear) -> &'static str {
    match linear {
        Linear::Query => "self_attn.q_proj",
        Linear::Key => "self_attn.k_proj",
        Linear::Value => "self_attn.v_proj",
        Linear::Output => "self_attn.o_proj",
        Linear::Gate => "mlp.gate_proj",
        Linear::Up => "mlp.up_proj",
        Linear::Down => "mlp.down_proj",
    }
}

/// Reads a model. Every size is checked against the config before it is used.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<Model, Error> {
    let config = read_config(config)?;
    let file = SafeTensors::deserialize(tensors)
        .map_err(|error| Error::Malformed { what: "model.safetensors", reason: error.to_string() })?;
    let tensor = |name: &str| file.tensor(name).map_err(|_| Error::Missing { name: name.into() });
    let gain = |name: String, width: usize| Gain::quantize(&reals(&name, &tensor(&name)?, &[width])?);
    let layer = |i: usize| {
        let name = |rest: &str| format!("model.layers.{i}.{rest}.weight");
        let linears = Linear::ALL.iter().map(|&linear| {
            let (columns, rows) = linear.shape(&config);
            let name = name(path(linear));
            let scale = tensor(&format!("{name}_scale"))?;
            let trits = unpack(&name, &tensor(&name)?, rows, columns)?;
            Ternary::pack(rows, columns, &trits, weight_scale(&name, &scale)?)
        });
        Ok(Layer {
            attention_norm: gain(name("input_layernorm"), config.width)?,
            attention_sub_norm: gain(name("self_attn.attn_sub_norm"), config.heads * config.head_dim)?,
            ffn_norm: gain(name("post_attention_layernorm"), config.width)?,
            ffn_sub_norm: gain(name("mlp.ffn_sub_norm"), config.ffn_width)?,
            linears: linears.collect::<Result<_, Error>>()?,
        })
    };
    let name = "model.embed_tokens.weight";
    let embedding = reals(name, &tensor(name)?, &[config.vocab, config.width])?;
    Model {
        embedding: Embedding::quantize(&embedding, config.width)?,
        layers: (0..config.layers).map(layer).collect::<Result<_, Error>>()?,
        final_norm: gain("model.norm.weight".into(), config.width)?,
        config,
    }
    .check()
}

fn read_config(bytes: &[u8]) -> Result<ModelConfig, Error> {
    let malformed = |reason: String| Error::Malformed { what: "config.json", reason };
    let file: ConfigFile = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    for (what, found, expected) in
        [("model_type", &file.model_type, MODEL_TYPE), ("hidden_act", &file.hidden_act, ACTIVATION)]
    {
        if found != expected {
            return Err(malformed(format!("{what} is {found:?}; only {expected:?} is supported")));
        }
    }
    if !file.tie_word_embeddings {
        return Err(malformed("an untied head is not supported".into()));
    }
    let theta = file.rope_theta;
    if !(1.0..=1e9).contains(&theta) || theta != f64::from(theta as u32) {
        return Err(malformed(format!("rope_theta {theta} is not a whole number in 1..=10^9")));
    }
    let heads = file.num_attention_heads;
    ModelConfig {
        layers: file.num_hidden_layers,
        width: file.hidden_size,
        heads,
        kv_heads: file.num_key_value_heads,
        head_dim: file.head_dim.unwrap_or(file.hidden_size / heads.max(1)),
        ffn_width: file.intermediate_size,
        vocab: file.vocab_size,
        context: file.max_position_embeddings.min(MAX_CONTEXT),
        rope_theta: theta as u32,
        norm_epsilon: file.rms_norm_eps,
        residual_fraction_bits: file.residual_fraction_bits.unwrap_or(RESIDUAL_FRACTION_BITS),
    }
    .check()
}

fn shape_error(name: &str, expected: &[usize], tensor: &TensorView<'_>) -> Error {
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    Error::Malformed { what: "tensor", reason: format!("{name}: expected {expected:?}, found {dtype:?} {shape:?}") }
}

/// Finite reals of an F32, BF16 or F16 tensor of one shape.
fn reals(name: &str, tensor: &TensorView<'_>, shape: &[usize]) -> Result<Vec<f32>, Error> {
    if tensor.shape() != shape {
        return Err(shape_error(name, shape, tensor));
    }
    let pairs = || tensor.data().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match tensor.dtype() {
        Dtype::F32 => Ok(tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::BF16 => Ok(pairs().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()),
        Dtype::F16 => Ok(pairs().map(half).collect()),
        _ => Err(shape_error(name, shape, tensor)),
    }
}

/// IEEE binary16 as f32, exactly.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (bits >> 10 & 31, bits & 1023);
    let magnitude = match exponent {
        0 => f32::from(fraction) * f32::from_bits((127 - 24) << 23),
        31 => f32::NAN,
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | u32::from(fraction) << 13),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

fn weight_scale(name: &str, tensor: &TensorView<'_>) -> Result<Scale, Error> {
    let value = match tensor.shape() {
        [] => reals(name, tensor, &[])?[0],
        _ => reals(name, tensor, &[1])?[0],
    };
    match Scale::from_f64(value.into()) {
        Some(scale) if scale.mantissa != 0 => Ok(scale),
        _ => {
            Err(Error::Malformed { what: "tensor", reason: format!("{name}_scale is {value}, not a positive number") })
        }
    }
}

fn unpack(name: &str, tensor: &TensorView<'_>, rows: usize, columns: usize) -> Result<Vec<i8>, Error> {
    let quarter = rows.div_ceil(4);
    if tensor.dtype() != Dtype::U8 || tensor.shape() != [quarter, columns] {
        return Err(shape_error(name, &[quarter, columns], tensor));
    }
    let bytes = tensor.data();
    Ok((0..rows * columns)
        .map(|at| (at / columns, at % columns))
        .map(|(row, column)| (bytes[row % quarter * columns + column] >> (2 * (row / quarter)) & 3) as i8 - 1)
        .collect())
}

/// Writes a model: `config.json`, `model.safetensors`. Reading them gives the same model.
pub fn write(model: &Model) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let config = &model.config;
    let file = ConfigFile {
        model_type: MODEL_TYPE.into(),
        hidden_size: config.width,
        intermediate_size: config.ffn_width,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        head_dim: Some(config.head_dim),
        vocab_size: config.vocab,
        max_position_embeddings: config.context,
        rope_theta: config.rope_theta.into(),
        rms_norm_eps: config.norm_epsilon,
        hidden_act: ACTIVATION.into(),
        tie_word_embeddings: true,
        residual_fraction_bits: Some(config.residual_fraction_bits),
    };
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut gain = |name: String, gain: &Gain| {
        let unit = Scale::power_of_two(gain.exponent).to_f64();
        let values = gain.mantissas.iter().map(|&mantissa| (f64::from(mantissa as i32) * unit) as f32);
        tensors.insert(name, (Dtype::F32, vec![gain.mantissas.len()], values.flat_map(f32::to_le_bytes).collect()));
    };
    gain("model.norm.weight".into(), &model.final_norm);
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |rest: &str| format!("model.layers.{i}.{rest}.weight");
        gain(name("input_layernorm"), &layer.attention_norm);
        gain(name("self_attn.attn_sub_norm"), &layer.attention_sub_norm);
        gain(name("post_attention_layernorm"), &layer.ffn_norm);
        gain(name("mlp.ffn_sub_norm"), &layer.ffn_sub_norm);
    }
    for (i, layer) in model.layers.iter().enumerate() {
        for (&linear, weights) in Linear::ALL.iter().zip(&layer.linears) {
            let name = format!("model.layers.{i}.{}.weight", path(linear));
            let quarter = weights.rows.div_ceil(4);
            let mut bytes = vec![0u8; quarter * weights.columns];
            for row in 0..weights.rows {
                for column in 0..weights.columns {
                    let code = (weights.trit(row, column) + 1) as u8;
                    bytes[row % quarter * weights.columns + column] |= code << (2 * (row / quarter));
                }
            }
            tensors.insert(name.clone(), (Dtype::U8, vec![quarter, weights.columns], bytes));
            let scale = (weights.dequant_scale.to_f64() as f32).to_le_bytes().to_vec();
            tensors.insert(format!("{name}_scale"), (Dtype::F32, vec![1], scale));
        }
    }
    let embedding = model.embedding.reals(config.width).into_iter().flat_map(f32::to_le_bytes).collect();
    let shape = vec![config.vocab, config.width];
    tensors.insert("model.embed_tokens.weight".into(), (Dtype::F32, shape, embedding));

    let malformed = |reason: String| Error::Malformed { what: "model", reason };
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        Ok((name, TensorView::new(*dtype, shape.clone(), data).map_err(|error| malformed(error.to_string()))?))
    });
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    let json = serde_json::to_vec_pretty(&file).map_err(|error| malformed(error.to_string()))?;
    Ok((json, safetensors::serialize(views, None).map_err(|error| malformed(error.to_string()))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::generator::seeded;

    fn small() -> Model {
        let config = ModelConfig {
            layers: 2,
            width: 36,
            heads: 6,
            kv_heads: 2,
            head_dim: 6,
            ffn_width: 70,
            vocab: 50,
            context: 33,
            rope_theta: 10_000,
            norm_epsilon: 1e-5,
            residual_fraction_bits: 16,
        };
        let mut model = seeded(config, [3; 32]).unwrap();
        for layer in &mut model.layers {
            for weights in &mut layer.linears {
                // what f32 in the file can hold
                weights.dequant_scale = Scale::from_f64((weights.dequant_scale.to_f64() as f32).into()).unwrap();
            }
        }
        model
    }

    #[test]
    fn what_is_written_is_read() {
        let model = small();
        let (config, tensors) = write(&model).unwrap();
        assert_eq!(read(&config, &tensors).unwrap(), model);
    }

    #[test]
    fn damaged_files_are_refused() {
        let (config, tensors) = write(&small()).unwrap();
        assert!(read(&config, &tensors[..tensors.len() - 1]).is_err());
        assert!(read(&config[..config.len() - 2], &tensors).is_err());
        let text = String::from_utf8(config).unwrap();
        for (from, to) in [("relu2", "silu"), ("\"hidden_size\": 36", "\"hidden_size\": 35"), ("bitnet", "llama")] {
            assert!(text.contains(from));
            assert!(read(text.replace(from, to).as_bytes(), &tensors).is_err(), "{to}");
        }
    }

    #[test]
    fn halves_are_exact() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x7bff, 65_504.0), (0x3555, 0.333_251_95)]
        {
            assert_eq!(half(bits), value);
        }
    }
}
