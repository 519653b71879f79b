//! Reads and writes `adapter_config.json`, which states the rank, alpha and the adapted linear layers. A config that
//! enables a feature of PEFT other than plain LoRA is refused.

use super::names::module_name;
use crate::{error::Error, model::config::Linear, numbers::lora::RANKS};
use serde_json::{Map, Value, json};

/// The largest size of an `adapter_config.json` that is accepted, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

const CONFIG: &str = "adapter_config.json";
const MAX_ALPHA: u64 = 1 << 16;

/// The keys of `adapter_config.json` that this program reads, or that do not affect what a trained adapter computes.
/// Any other key must have a value that disables the feature of that key: `null`, `false`, or an empty list or map.
const KNOWN: [&str; 18] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// The names that are accepted as `init_lora_weights`, because these initializations leave the frozen weights
/// unchanged. The values `true`, `false` and `null` are accepted too.
const INITIALIZATIONS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// Returns the bytes of an `adapter_config.json` for an adapter of the given linear layers. `base_model` is the name or
/// folder of the backbone.
pub(super) fn write(rank: usize, alpha: u32, linears: &[Linear], base_model: &str) -> Vec<u8> {
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": linears.iter().map(|linear| module_name(*linear)).collect::<Vec<_>>(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "use_dora": false,
        "use_rslora": false,
    });
    format!("{config:#}\n").into_bytes()
}

/// Parses an `adapter_config.json`. Returns the rank, alpha, and the adapted linear layers in canonical order.
pub(super) fn read(bytes: &[u8]) -> Result<(usize, u32, Vec<Linear>), Error> {
    let malformed = |reason: String| Error::Malformed { what: CONFIG, reason };
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(malformed(format!("the file has more than {MAX_CONFIG_BYTES} bytes")));
    }
    let config: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let value = |key: &str| config.get(key).unwrap_or(&Value::Null);
    let short = |text: &str| text.chars().take(256).collect::<String>();
    let refuse = |key: &str, expected: &str| {
        Err(malformed(format!("{} is {}; {expected}", short(key), short(&value(key).to_string()))))
    };
    if value("peft_type") != "LORA" {
        return refuse("peft_type", "only \"LORA\" is supported");
    }
    let unknown = |(key, value): &(&String, &Value)| !KNOWN.contains(&key.as_str()) && !is_disabled(value);
    if let Some((key, _)) = config.iter().find(unknown) {
        return refuse(key, "this feature is not supported");
    }
    if !(value("bias").is_null() || value("bias") == "none") {
        return refuse("bias", "only \"none\" is supported");
    }
    let plain = |name: &str| INITIALIZATIONS.contains(&name);
    let initialization = value("init_lora_weights");
    if !(initialization.is_null() || initialization.is_boolean() || initialization.as_str().is_some_and(plain)) {
        return refuse(
            "init_lora_weights",
            "this initialization may change the frozen weights, so it is not supported",
        );
    }
    let rank = value("r").as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| RANKS.contains(rank));
    let Some(rank) = rank else { return refuse("r", "the rank must be in 4..=64") };
    let integer =
        |value: &Value| value.as_u64().or_else(|| value.as_f64().filter(|v| v.fract() == 0.0).map(|v| v as u64));
    let Some(alpha) = integer(value("lora_alpha")).filter(|alpha| (1..=MAX_ALPHA).contains(alpha)) else {
        return refuse("lora_alpha", "it must be an integer in 1..=65536");
    };
    let Some(names) = value("target_modules").as_array() else {
        return refuse("target_modules", "only a list of names is supported");
    };
    let mut targets = Vec::new();
    for name in names {
        let matches =
            |linear: &Linear| name.as_str().is_some_and(|name| name == linear.path() || name == module_name(*linear));
        match Linear::ALL.into_iter().find(matches) {
            Some(linear) => targets.push(linear),
            None => return refuse("target_modules", &format!("{name} is not one of the seven linear layers")),
        }
    }
    targets.sort_unstable();
    targets.dedup();
    Ok((rank, alpha as u32, targets))
}

/// Returns whether a value in the config disables a feature, because it is `null`, `false`, or an empty list or map.
fn is_disabled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
