//! Reads and writes `adapter_config.json`, which states the rank, alpha and the adapted linear layers. A config that
//! enables a feature of PEFT other than plain LoRA is refused.

use super::{
    names::module_name,
    targets::{LayerFilter, Modules, Overrides},
};
use crate::{
    error::Error,
    model::{
        config::Linear,
        file::{is_disabled, recognize, without_bom},
    },
    numbers::lora::RANKS,
};
use serde_json::{Map, Value, json};

/// The largest size of an `adapter_config.json` that is accepted, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

const CONFIG: &str = "adapter_config.json";
const MAX_ALPHA: u32 = 1 << 16;

/// The keys of `adapter_config.json` that the reader uses.
const USED: [&str; 12] = [
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_rslora",
];

/// The keys that do not affect what a trained adapter computes. Keys such as `eva_config` configure a method of
/// initialization. They are harmless because another key, `init_lora_weights`, states whether the method is used, and
/// is checked separately.
const HARMLESS: [&str; 14] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// The names of initialization methods that are accepted as the value of `init_lora_weights`, because these methods
/// leave the frozen weights unchanged. The values `true`, `false` and `null` are accepted too.
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

/// What an `adapter_config.json` states about an adapter. The ranks and alphas are JSON values, which have not been
/// checked yet.
pub(super) struct AdapterConfig {
    pub(super) rank: Value,
    pub(super) alpha: Value,
    /// Whether the scale of the adapter is `alpha / √rank` instead of `alpha / rank`.
    pub(super) rank_stabilized: bool,
    pub(super) ranks: Overrides,
    pub(super) alphas: Overrides,
    pub(super) targets: Modules,
    pub(super) excluded: Modules,
    pub(super) layers: Option<LayerFilter>,
}

pub(super) fn malformed(reason: String) -> Error {
    Error::Malformed { what: CONFIG, reason }
}

/// Returns the first characters of a text from a file, for error messages.
fn short(text: &str) -> String {
    text.chars().take(256).collect()
}

/// Parses an `adapter_config.json`. Returns an error that names the key if the config enables anything other than plain
/// LoRA.
pub(super) fn read(bytes: &[u8]) -> Result<AdapterConfig, Error> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(malformed(format!("the file has more than {MAX_CONFIG_BYTES} bytes")));
    }
    let unreadable =
        |error: serde_json::Error| malformed(recognize(bytes).map_or_else(|| error.to_string(), str::to_owned));
    let config: Map<String, Value> = serde_json::from_slice(without_bom(bytes)).map_err(unreadable)?;
    let value = |key: &str| config.get(key).unwrap_or(&Value::Null);
    let refuse = |key: &str, expected: &str| {
        Err(malformed(format!("{} is {}; {expected}", short(key), short(&value(key).to_string()))))
    };
    if value("peft_type") != "LORA" {
        return refuse("peft_type", "only \"LORA\" is supported");
    }
    let is_known = |key: &str| USED.contains(&key) || HARMLESS.contains(&key);
    if let Some((key, _)) = config.iter().find(|(key, value)| !is_known(key) && !is_disabled(value)) {
        return refuse(
            key,
            "this feature is not supported. If the key does not change what the adapter computes, remove it from \
             adapter_config.json",
        );
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
    if value("target_modules").is_null() {
        return refuse("target_modules", "set it to the names of the adapted linear layers, such as [\"q_proj\"]");
    }
    Ok(AdapterConfig {
        rank: value("r").clone(),
        alpha: value("lora_alpha").clone(),
        rank_stabilized: value("use_rslora") == true,
        ranks: Overrides::read("rank_pattern", value("rank_pattern"))?,
        alphas: Overrides::read("alpha_pattern", value("alpha_pattern"))?,
        targets: Modules::read("target_modules", value("target_modules"))?,
        excluded: Modules::read("exclude_modules", value("exclude_modules"))?,
        layers: LayerFilter::read(value("layers_to_transform"), value("layers_pattern"))?,
    })
}

impl AdapterConfig {
    /// Returns the JSON value as a rank. Returns an error unless it is an integer in 4..=64.
    pub(super) fn rank(&self, value: &Value) -> Result<usize, Error> {
        let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| RANKS.contains(rank));
        rank.ok_or_else(|| {
            malformed(format!("the rank r is {}, but must be an integer from 4 to 64", short(&value.to_string())))
        })
    }

    /// Returns the alpha of an adapter: `value`, which is the `lora_alpha` of the config, or `value · √rank` if
    /// `use_rslora` is true. Returns an error unless the alpha is a whole number in 1..=65536.
    pub(super) fn alpha(&self, value: &Value, rank: usize) -> Result<u32, Error> {
        let factor = if self.rank_stabilized { rank.isqrt() } else { 1 };
        if self.rank_stabilized && factor * factor != rank {
            return Err(malformed(format!(
                "use_rslora is true and the rank is {rank}, so the scale of the adapter is not a whole number divided \
                 by the rank; only the ranks 4, 9, 16, 25, 36, 49 and 64 are supported with rsLoRA"
            )));
        }
        let alpha = value.as_f64().map(|alpha| alpha * factor as f64);
        let whole = |alpha: &f64| alpha.fract() == 0.0 && (1.0..=f64::from(MAX_ALPHA)).contains(alpha);
        alpha.filter(whole).map(|alpha| alpha as u32).ok_or_else(|| {
            let times = if factor == 1 { "" } else { " times the square root of the rank" };
            malformed(format!(
                "lora_alpha is {}; lora_alpha{times} must be an integer in 1..=65536",
                short(&value.to_string())
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of the class `LoraConfig` in PEFT 0.21.2, including those of its base classes.
    const FIELDS_OF_PEFT: &str = include_str!("../../../tests/data/formats/lora_config_fields.txt");

    #[test]
    fn each_field_of_the_format_is_used_harmless_or_refused_by_name() {
        let fields: Vec<_> = FIELDS_OF_PEFT.lines().collect();
        assert!(USED.iter().chain(&HARMLESS).all(|key| fields.contains(key)));
        let plain = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]});
        let refused: Vec<_> = fields
            .into_iter()
            .filter(|field| !USED.contains(field))
            .filter(|field| {
                let mut config = plain.clone();
                config[*field] = json!([3]);
                let result = read(config.to_string().as_bytes());
                assert!(result.as_ref().err().is_none_or(|error| error.to_string().contains(field)), "{field}");
                result.is_err()
            })
            .collect();
        assert!(refused.iter().all(|field| !HARMLESS.contains(field)));
        assert_eq!(refused.len() + USED.len() + HARMLESS.len(), FIELDS_OF_PEFT.lines().count());
    }
}
