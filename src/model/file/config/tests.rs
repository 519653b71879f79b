//! Tests that each key of a `config.json` is used, known to be harmless, or refused with an error that names the key.

use super::*;
use serde_json::json;

/// The keys that a `config.json` may have in transformers 5.24.0, one on each line. There are three groups: the
/// attributes of `BitNetConfig`, the parameters of text generation that older versions save, and the attributes of the
/// objects `rope_parameters` and `quantization_config`. A key of the third group begins with the name of its object and
/// a dot.
const KEYS_OF_TRANSFORMERS: &str = include_str!("../../../../tests/data/formats/bitnet_config_keys.txt");

/// The keys of `config.json` that the reader uses.
const USED: [&str; 24] = [
    "attention_bias",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "quantization_config",
    "quantization_config.linear_class",
    "quantization_config.modules_to_not_convert",
    "quantization_config.quant_method",
    "quantization_config.quantization_mode",
    "quantization_config.use_rms_norm",
    "residual_fraction_bits",
    "rms_norm_eps",
    "rope_parameters",
    "rope_parameters.rope_theta",
    "rope_parameters.rope_type",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
];

/// The config of microsoft/bitnet-b1.58-2B-4T.
fn published() -> Value {
    json!({
        "architectures": ["BitNetForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_bitnet.BitNetConfig",
            "AutoModelForCausalLM": "modeling_bitnet.BitNetForCausalLM",
        },
        "bos_token_id": 128_000, "eos_token_id": 128_001, "hidden_act": "relu2", "hidden_size": 2560,
        "initializer_range": 0.02, "intermediate_size": 6912, "max_position_embeddings": 4096,
        "model_type": "bitnet", "num_attention_heads": 20, "num_hidden_layers": 30, "num_key_value_heads": 5,
        "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "use_cache": true, "vocab_size": 128_256, "transformers_version": "4.52.0.dev0",
        "quantization_config": {
            "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline",
        },
    })
}

/// Returns the error for a config in which the key at `path` has the value `value`. If the path contains a dot, the
/// part before the dot names the object that has the key.
fn error(path: &str, value: Value) -> Option<String> {
    let mut config = published();
    match path.split_once('.') {
        Some((object, key)) => config[object][key] = value,
        None => config[path] = value,
    }
    read(config.to_string().as_bytes()).err().map(|error| error.to_string())
}

#[test]
fn each_key_of_the_format_is_used_harmless_or_refused_by_name() {
    assert_eq!(read(published().to_string().as_bytes()).unwrap().model, ModelConfig::BITNET_2B4T);
    let keys: Vec<_> = KEYS_OF_TRANSFORMERS.lines().collect();
    let mut refused = Vec::new();
    for key in keys.iter().filter(|key| !USED.contains(key)) {
        assert_eq!(error(key, Value::Null), None, "{key}");
        if let Some(error) = error(key, json!(7)) {
            assert!(error.contains(&format!("{key} is 7")), "{error}");
            refused.push(*key);
        }
    }
    assert!(GENERATION.iter().all(|key| keys.contains(key) && !refused.contains(key)));
    assert!(refused.contains(&"is_encoder_decoder") && refused.contains(&"rope_parameters.factor"), "{refused:?}");
    println!("{} keys, {} of them refused: {refused:?}", keys.len(), refused.len());
}

#[test]
fn a_key_that_could_change_the_model_is_refused_by_name() {
    for (key, value, message) in [
        ("hidden_activation", json!("silu"), "hidden_activation is \"silu\"; only \"relu2\""),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor is 0.5; only 1"),
        ("mlp_bias", json!(true), "mlp_bias is true; this program does not know"),
        ("rope_scaling.factor", json!(2.0), "rope_scaling.factor is 2.0; only 1"),
        ("rope_scaling.type", json!("linear"), "rope_scaling.rope_type is \"linear\""),
        ("quantization_config.bits", json!(4), "quantization_config.bits is 4"),
        ("quantization_config.modules_to_not_convert", json!(["lm_head", "q_proj"]), "contains \"q_proj\""),
        ("quantization_config", Value::Null, "quantization_config is missing"),
    ] {
        let error = error(key, value).unwrap();
        assert!(error.contains(message), "{error}");
    }
    for (key, value) in [
        ("hidden_activation", json!("relu2")),
        ("partial_rotary_factor", json!(1.0)),
        ("mlp_bias", json!(false)),
        ("rope_scaling.factor", json!(1.0)),
        ("rope_scaling.type", json!("default")),
        ("quantization_config.modules_to_not_convert", json!(["lm_head"])),
    ] {
        assert_eq!(error(key, value), None, "{key}");
    }
}
