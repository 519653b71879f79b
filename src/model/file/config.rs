//! Reads and writes `config.json`, which states the sizes of a model, and how its weights and scales are stored.

use super::{
    config_keys::{self, GENERATION, HARMLESS, HARMLESS_QUANTIZATION, HARMLESS_ROPE},
    contents::{recognize, without_bom},
};
use crate::{
    error::Error,
    kernels::attention::MAX_CONTEXT,
    model::config::{Linear, ModelConfig},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The number of fraction bits of the residual stream if `config.json` does not state it. With 16 fraction bits,
/// the stream can hold values within ±32,768.
const RESIDUAL_FRACTION_BITS: u32 = 16;

const MODEL_TYPE: &str = "bitnet";
pub(super) const ACTIVATION: &str = "relu2";

/// What `config.json` states about a model.
pub(super) struct ParsedConfig {
    pub(super) model: ModelConfig,
    pub(super) convention: ScaleConvention,
    /// Whether the output head uses the weights of the embedding: `tie_word_embeddings` is true or absent.
    pub(super) tied: bool,
}

/// How the real weights of a linear layer are computed from its stored weights and its `weight_scale`. This depends on
/// the keys `linear_class` and `quantization_mode` of the object `quantization_config` in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScaleConvention {
    /// A trit is multiplied by `weight_scale`. This applies if `linear_class` is `autobitlinear` and
    /// `quantization_mode` is `offline` or absent.
    Multiplies,
    /// A trit is divided by `weight_scale`. This applies if `linear_class` is `bitlinear` or absent, and
    /// `quantization_mode` is `offline` or absent.
    Divides,
    /// The file has weights in full precision, which are quantized relative to their mean magnitude. This applies if
    /// `linear_class` is `autobitlinear` and `quantization_mode` is `online`.
    Online,
}

/// The keys of `config.json` that this program reads and writes.
#[derive(Serialize, Deserialize)]
struct ConfigFile {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_theta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_parameters: Option<RopeFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_scaling: Option<RopeFile>,
    rms_norm_eps: f64,
    hidden_act: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    quantization_config: Option<QuantizationFile>,
    residual_fraction_bits: Option<u32>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct RopeFile {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The value of the key `type`, the older name of the key `rope_type`. Some versions of `transformers` write both
    /// keys.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    older_type: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct QuantizationFile {
    quant_method: String,
    linear_class: Option<String>,
    quantization_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_rms_norm: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modules_to_not_convert: Option<Vec<String>>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

fn malformed(reason: String) -> Error {
    Error::Malformed { what: "config.json", reason }
}

/// Reads a `config.json` and checks that this program supports the model.
pub(super) fn read(bytes: &[u8]) -> Result<ParsedConfig, Error> {
    let unreadable =
        |error: serde_json::Error| malformed(recognize(bytes).map_or_else(|| error.to_string(), str::to_owned));
    let file: ConfigFile = serde_json::from_slice(without_bom(bytes)).map_err(unreadable)?;
    for (what, found, expected) in
        [("model_type", &file.model_type, MODEL_TYPE), ("hidden_act", &file.hidden_act, ACTIVATION)]
    {
        if found != expected {
            return Err(malformed(format!("{what} is {found:?}; only {expected:?} is supported")));
        }
    }
    if file.attention_bias == Some(true) {
        return Err(malformed("attention_bias is not supported".into()));
    }
    config_keys::check("", &file.other, &[&HARMLESS[..], &GENERATION].concat()).map_err(malformed)?;
    let heads = file.num_attention_heads;
    let model = ModelConfig {
        layers: file.num_hidden_layers,
        width: file.hidden_size,
        heads,
        kv_heads: file.num_key_value_heads.unwrap_or(heads),
        head_dim: file.head_dim.unwrap_or(file.hidden_size / heads.max(1)),
        ffn_width: file.intermediate_size,
        vocab: file.vocab_size,
        context: file.max_position_embeddings.min(MAX_CONTEXT),
        rope_theta: whole_theta(theta(&file)?)?,
        norm_epsilon: file.rms_norm_eps,
        residual_fraction_bits: file.residual_fraction_bits.unwrap_or(RESIDUAL_FRACTION_BITS),
    }
    .check()?;
    let convention = convention(file.quantization_config.as_ref(), model.layers)?;
    Ok(ParsedConfig { model, convention, tied: file.tie_word_embeddings.unwrap_or(true) })
}

/// Returns how real weights are computed from the stored weights. `file` is the `quantization_config` of a model with
/// `layers` decoder layers. Returns an error if `file` is missing or not supported, or if it excludes a linear
/// layer of a decoder layer from the quantization: these layers must be ternary.
fn convention(file: Option<&QuantizationFile>, layers: usize) -> Result<ScaleConvention, Error> {
    let Some(file) = file else {
        return Err(malformed(
            "quantization_config is missing, so the linear layers are not ternary, and quantizing them would make \
             another model. If the model was trained with ternary weights, add the quantization_config with which it \
             was trained"
                .into(),
        ));
    };
    if file.quant_method != MODEL_TYPE {
        return Err(malformed(format!("quant_method is {:?}; only {MODEL_TYPE:?} is supported", file.quant_method)));
    }
    if file.use_rms_norm == Some(true) {
        return Err(malformed("use_rms_norm (a norm inside each linear) is not supported".into()));
    }
    config_keys::check("quantization_config.", &file.other, &HARMLESS_QUANTIZATION).map_err(malformed)?;
    for entry in file.modules_to_not_convert.iter().flatten() {
        let names = |layer| {
            Linear::ALL
                .iter()
                .any(|linear| config_keys::names_linear(entry, &format!("model.layers.{layer}.{}", linear.path())))
        };
        if (0..layers).any(names) {
            return Err(malformed(format!(
                "modules_to_not_convert contains {entry:?}, which names a linear layer of the decoder that is not \
                 ternary; only models are supported in which all seven linear layers of each decoder layer are ternary"
            )));
        }
    }
    let class = file.linear_class.as_deref().unwrap_or("bitlinear");
    match (class, file.quantization_mode.as_deref().unwrap_or("offline")) {
        ("bitlinear", "offline") => Ok(ScaleConvention::Divides),
        ("autobitlinear", "offline") => Ok(ScaleConvention::Multiplies),
        ("autobitlinear", "online") => Ok(ScaleConvention::Online),
        (class, mode) => {
            Err(malformed(format!("linear_class {class:?} with quantization_mode {mode:?} is not supported")))
        }
    }
}

/// Returns the value of the key `rope_theta` of `config.json`. The key can also be in the object `rope_parameters`,
/// where the `transformers` library stores it since version 5, or in the object `rope_scaling`.
fn theta(file: &ConfigFile) -> Result<f64, Error> {
    let mut theta = file.rope_theta;
    for (path, rope) in [("rope_parameters.", &file.rope_parameters), ("rope_scaling.", &file.rope_scaling)] {
        let Some(rope) = rope else { continue };
        config_keys::check(path, &rope.other, &HARMLESS_ROPE).map_err(malformed)?;
        if let Some(other) = [&rope.rope_type, &rope.older_type].into_iter().flatten().find(|kind| *kind != "default") {
            return Err(malformed(format!("{path}rope_type is {other:?}; only \"default\" is supported")));
        }
        theta = rope.rope_theta.or(theta);
    }
    theta.ok_or_else(|| malformed("rope_theta is missing".into()))
}

/// Returns `theta`, the base of the rotary frequencies, as an integer. Returns an error unless it is an integer in
/// 1..=10^9.
pub(super) fn whole_theta(theta: f64) -> Result<u32, Error> {
    match (1.0..=1e9).contains(&theta) && theta == f64::from(theta as u32) {
        true => Ok(theta as u32),
        false => Err(malformed(format!("rope_theta is {theta}, which is not an integer from 1 to 10^9"))),
    }
}

/// Returns the bytes of the `config.json` that this program writes for a model.
pub(super) fn write(config: &ModelConfig) -> Result<Vec<u8>, Error> {
    let file = ConfigFile {
        model_type: MODEL_TYPE.into(),
        hidden_size: config.width,
        intermediate_size: config.ffn_width,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: Some(config.kv_heads),
        head_dim: Some(config.head_dim),
        vocab_size: config.vocab,
        max_position_embeddings: config.context,
        rope_theta: Some(config.rope_theta.into()),
        rope_parameters: None,
        rope_scaling: None,
        rms_norm_eps: config.norm_epsilon,
        hidden_act: ACTIVATION.into(),
        attention_bias: None,
        tie_word_embeddings: Some(true),
        quantization_config: Some(QuantizationFile {
            quant_method: MODEL_TYPE.into(),
            linear_class: Some("autobitlinear".into()),
            quantization_mode: Some("offline".into()),
            use_rms_norm: None,
            modules_to_not_convert: None,
            other: Map::new(),
        }),
        residual_fraction_bits: Some(config.residual_fraction_bits),
        other: Map::new(),
    };
    serde_json::to_vec_pretty(&file).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
