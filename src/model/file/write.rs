//! Writes a model to the files `config.json` and `model.safetensors`, always in the same format: the tensor names of
//! `BitNetForCausalLM`, packed weights, and an int8 embedding with one scale for each row. A weight is a trit
//! multiplied by `weight_scale`. `config.json` states this: its `linear_class` is `autobitlinear`, and its
//! `quantization_mode` is `offline`. The format takes 2 bits for each weight and 8 bits for each embedding value.

use super::config;
use crate::{
    error::Error,
    model::{
        config::{Linear, ModelConfig},
        embedding::Embedding,
        weights::{Gain, Model},
    },
    numbers::{fixed::Scale, ternary::Ternary},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, Write},
};

/// The values of one tensor, before they are encoded for the file.
enum TensorData<'a> {
    Floats(Vec<f32>),
    Embedding(&'a Embedding),
    Packed(&'a Ternary),
}

/// The entry that describes one tensor in the header of a safetensors file.
#[derive(Serialize)]
struct HeaderEntry {
    dtype: &'static str,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// Returns the bytes of `config.json` and of `model.safetensors`. Reading the two files gives the same model if
/// f32 can hold the scale of every ternary matrix exactly. This is the case for a model that was read from a file.
pub fn write(model: &Model) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut tensors = Vec::new();
    let unwritten = |error: io::Error| Error::Malformed { what: "model.safetensors", reason: error.to_string() };
    write_tensors(model, &mut tensors).map_err(unwritten)?;
    Ok((config_json(&model.config)?, tensors))
}

/// Returns the bytes of the `config.json` that describes a model with the sizes in `config`.
pub fn config_json(config: &ModelConfig) -> Result<Vec<u8>, Error> {
    config::write(config)
}

/// Writes the bytes of `model.safetensors` to `out`. Weights and embeddings are encoded row by row, which needs little
/// memory.
pub fn write_tensors(model: &Model, out: &mut dyn Write) -> io::Result<()> {
    let tensors = tensors(model);
    let (mut header, mut end) = (BTreeMap::new(), 0);
    for (name, data) in &tensors {
        let (dtype, shape, bytes) = match data {
            TensorData::Floats(reals) => ("F32", vec![reals.len()], 4 * reals.len()),
            TensorData::Embedding(_) => {
                ("I8", vec![model.config.vocab, model.config.width], model.config.vocab * model.config.width)
            }
            TensorData::Packed(weights) => {
                let quarter = weights.rows.div_ceil(4);
                ("U8", vec![quarter, weights.columns], quarter * weights.columns)
            }
        };
        header.insert(name, HeaderEntry { dtype, shape, data_offsets: [end, end + bytes] });
        end += bytes;
    }
    let mut header = serde_json::to_vec(&header).map_err(io::Error::other)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, data) in &tensors {
        match data {
            TensorData::Floats(reals) => out.write_all(bytemuck::cast_slice(&little_endian(reals)))?,
            TensorData::Embedding(embedding) => {
                for row in 0..model.config.vocab {
                    out.write_all(bytemuck::cast_slice(embedding.row(row, model.config.width)))?;
                }
            }
            TensorData::Packed(weights) => pack(weights, out)?,
        }
    }
    Ok(())
}

/// Returns the name and the values of every tensor, in the order of the file. Tensors with elements of 4 bytes come
/// first, so that every tensor is aligned to the size of its elements.
fn tensors(model: &Model) -> Vec<(String, TensorData<'_>)> {
    let mut reals = Vec::new();
    let mut gain = |name: String, gain: &Gain| {
        let unit = Scale::power_of_two(gain.exponent).to_f64();
        let values = gain.mantissas.iter().map(|&mantissa| (f64::from(mantissa as i32) * unit) as f32);
        reals.push((name, TensorData::Floats(values.collect())));
    };
    gain("model.norm.weight".into(), &model.final_norm);
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |rest: &str| format!("model.layers.{i}.{rest}.weight");
        gain(name("input_layernorm"), &layer.attention_norm);
        gain(name("self_attn.attn_sub_norm"), &layer.attention_sub_norm);
        gain(name("post_attention_layernorm"), &layer.ffn_norm);
        gain(name("mlp.ffn_sub_norm"), &layer.ffn_sub_norm);
    }
    let embedding = "model.embed_tokens.weight";
    let units = (0..model.config.vocab).map(|row| model.embedding.row_scale(row)).collect();
    reals.push((format!("{embedding}_scale"), TensorData::Floats(units)));
    let mut bytes = vec![(embedding.to_owned(), TensorData::Embedding(&model.embedding))];
    for (i, layer) in model.layers.iter().enumerate() {
        for (&linear, weights) in Linear::ALL.iter().zip(&layer.linears) {
            let name = format!("model.layers.{i}.{}.weight", linear.path());
            let scale = weights.dequant_scale.to_f64() as f32;
            reals.push((format!("{name}_scale"), TensorData::Floats(vec![scale])));
            bytes.push((name, TensorData::Packed(weights)));
        }
    }
    reals.extend(bytes);
    reals
}

fn little_endian(reals: &[f32]) -> Vec<[u8; 4]> {
    reals.iter().map(|real| real.to_le_bytes()).collect()
}

/// Writes packed weights as U8 `[ceil(rows / 4), columns]`. Bits 2i and 2i + 1 of a byte in row `r` hold the code
/// (trit + 1) of matrix row `r + i · ceil(rows / 4)`.
fn pack(weights: &Ternary, out: &mut dyn Write) -> io::Result<()> {
    let quarter = weights.rows.div_ceil(4);
    let mut codes = vec![0u8; weights.columns];
    for first in 0..quarter {
        let mut bytes = vec![0u8; weights.columns];
        for (i, row) in (first..weights.rows).step_by(quarter).enumerate() {
            weights.codes(row, &mut codes);
            bytes.iter_mut().zip(&codes).for_each(|(byte, code)| *byte |= code << (2 * i));
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{file::read, generator::seeded};

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
            ..ModelConfig::TINY
        };
        let mut model = seeded(config, [3; 32]).unwrap();
        for layer in &mut model.layers {
            for weights in &mut layer.linears {
                // Round the scale to a value that the f32 in the file holds exactly.
                weights.dequant_scale = Scale::from_f64((weights.dequant_scale.to_f64() as f32).into()).unwrap();
            }
        }
        model
    }

    #[test]
    fn a_written_model_is_read_back_unchanged() {
        let mut model = small();
        let (config, tensors) = write(&model).unwrap();
        assert_eq!(read(&config, &tensors).unwrap(), model);
        // Rows that are much smaller than the largest row, and rows of zeros, are also read back unchanged.
        let mut values = model.embedding.to_f32(36);
        for (row, values) in values.chunks_exact_mut(36).enumerate() {
            let factor = [1.0, 1e-3, 3e-5, 1.7e-5, 2.3e-5, 1e-7, 0.0][row % 7];
            values.iter_mut().for_each(|value| *value *= factor);
        }
        model.embedding = Embedding::quantize(&values, 36).unwrap();
        let (config, tensors) = write(&model).unwrap();
        assert_eq!(read(&config, &tensors).unwrap(), model);
        model.embedding = Embedding::quantize(&[0.0; 50 * 36], 36).unwrap();
        assert_eq!(read(&config, &write(&model).unwrap().1).unwrap(), model);
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
}
