//! Adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! PEFT's `lora_A [rank, in_features]` is our a, its `lora_B [out_features, rank]` our b transposed. Values are F32 in
//! the file, Q3.28 here. Writing rounds to 24 significant bits: a master below 1/16 keeps every bit, a larger one loses
//! up to 7 of its 31. Reading rounds to 2^-28, which changes no F32 from 1/16 up; a value outside ±8 is an error.

use super::{
    config::Linear,
    lora::{LoraAdapter, LoraMatrix, MASTER_FRACTION_BITS, MAX_FEATURES, RANKS},
    reals,
};
use crate::error::Error;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

/// Most bytes of `adapter_config.json`.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Most bytes of `adapter_model.safetensors`: three times rank 64 on all linears of BitNet b1.58 2B4T.
pub const MAX_TENSOR_BYTES: usize = 1 << 30;

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.model.layers.";
const MAX_LAYERS: usize = 512;
const MAX_ALPHA: u64 = 1 << 16;
/// The last bit of a master.
const UNIT: f64 = 1.0 / (1u64 << MASTER_FRACTION_BITS) as f64;
/// The largest F32 below 8.
const TOP: f32 = 8.0 - 1.0 / (1 << 21) as f32;

/// Keys that are read, and keys that change nothing of what a trained adapter computes. Any other may only ask for
/// nothing: `null`, `false` or emptiness.
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

/// Initializations that leave the frozen weights as they are.
const INITIALIZATIONS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// The path of a linear inside a layer of `BitNetForCausalLM`.
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

/// The name of a linear in `target_modules`.
pub fn module(linear: Linear) -> &'static str {
    path(linear).rsplit('.').next().unwrap_or_default()
}

/// One of the two factors of an adapted linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// `lora_A [rank, in_features]`.
    A,
    /// `lora_B [out_features, rank]`.
    B,
}

/// Where a matrix `layers.<i>.<linear>.<a or b>` stands.
pub fn place(name: &str) -> Option<(usize, Linear, Factor)> {
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let (linear, factor) = rest.rsplit_once('.')?;
    let linear = Linear::ALL.into_iter().find(|known| known.name() == linear)?;
    let factor = match factor {
        "a" => Factor::A,
        "b" => Factor::B,
        _ => return None,
    };
    Some((number(layer)?, linear, factor))
}

/// PEFT's name of a matrix `layers.<i>.<linear>.<a or b>`.
pub fn tensor_name(matrix: &str) -> Option<String> {
    let (layer, linear, factor) = place(matrix)?;
    Some(format!("{PREFIX}{layer}.{}.lora_{factor:?}.weight", path(linear)))
}

/// A layer's number, written in the only way.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| *number < MAX_LAYERS && number.to_string() == text)
}

/// Where a tensor of PEFT's stands.
fn tensor_place(name: &str) -> Option<(usize, Linear, Factor)> {
    let (layer, rest) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let rest = rest.strip_suffix(".weight")?;
    let (module, factor) = rest.rsplit_once('.')?;
    let factor = match factor {
        "lora_A" => Factor::A,
        "lora_B" => Factor::B,
        _ => return None,
    };
    Some((number(layer)?, Linear::ALL.into_iter().find(|linear| path(*linear) == module)?, factor))
}

/// The shape and values that PEFT has for a matrix `[rank, columns]` of ours: b transposed.
pub fn oriented<T: Copy>(factor: Factor, rank: usize, columns: usize, values: &[T]) -> ([usize; 2], Vec<T>) {
    match factor {
        Factor::A => ([rank, columns], values.to_vec()),
        Factor::B => ([columns, rank], transposed(values, columns)),
    }
}

/// `[columns, rows]` of `[rows, columns]`.
fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|at| values.iter().skip(at).step_by(columns).copied()).collect()
}

/// The two files, config first. `base_model` is what PEFT finds the backbone by: a name on the hub or a folder.
///
/// Fails where a matrix is not `layers.<i>.<linear>.<a or b>` with `rank` rows.
pub fn write(adapter: &LoraAdapter, base_model: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut tensors = BTreeMap::new();
    let mut linears = Vec::new();
    for LoraMatrix { name, rows, columns, values } in &adapter.matrices {
        let (_, linear, factor) = place(name).ok_or_else(|| wrong("adapter", name, "has no name in PEFT"))?;
        if *rows != adapter.rank || values.len() != rows * columns {
            return Err(wrong("adapter", name, "has another shape than the rank demands"));
        }
        let real = |&value: &i32| ((f64::from(value) * UNIT) as f32).clamp(-TOP, TOP);
        let reals: Vec<f32> = values.iter().map(real).collect();
        let (shape, reals) = oriented(factor, *rows, *columns, &reals);
        let bytes: Vec<u8> = reals.into_iter().flat_map(f32::to_le_bytes).collect();
        tensors.insert(tensor_name(name).unwrap_or_default(), (shape, bytes));
        linears.push(linear);
    }
    linears.sort_unstable();
    linears.dedup();
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "target_modules": linears.into_iter().map(module).collect::<Vec<_>>(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "use_dora": false,
        "use_rslora": false,
    });
    let broken = |error: safetensors::SafeTensorError| Error::Malformed { what: TENSORS, reason: error.to_string() };
    let views = tensors
        .iter()
        .map(|(name, (shape, bytes))| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(broken)?)));
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors = safetensors::serialize(views, Some(metadata)).map_err(broken)?;
    Ok((format!("{config:#}\n").into_bytes(), tensors))
}

/// Reads the two files: F32, BF16 or F16, rounded to Q3.28.
///
/// Fails, naming the key or the tensor, where the config asks for more than LoRA on the seven linears at one rank, where a
/// tensor of a layer is missing, superfluous or of another shape, and where a value is outside ±8.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<LoraAdapter, Error> {
    let (rank, alpha, targets) = read_config(config)?;
    if tensors.len() > MAX_TENSOR_BYTES {
        return Err(Error::Malformed { what: TENSORS, reason: format!("is above {MAX_TENSOR_BYTES} bytes") });
    }
    let broken = |error: safetensors::SafeTensorError| Error::Malformed { what: TENSORS, reason: error.to_string() };
    let file = SafeTensors::deserialize(tensors).map_err(broken)?;
    let mut layers = 0;
    for name in file.names() {
        let (layer, linear, _) =
            tensor_place(name).ok_or_else(|| wrong(TENSORS, name, "is no LoRA factor known here"))?;
        if !targets.contains(&linear) {
            return Err(wrong(TENSORS, name, "is not among the config's target_modules"));
        }
        layers = layers.max(layer + 1);
    }
    let mut matrices = Vec::new();
    let mut shapes = BTreeMap::new();
    for (layer, &linear) in (0..layers).flat_map(|layer| targets.iter().map(move |linear| (layer, linear))) {
        for factor in [Factor::A, Factor::B] {
            let name = format!("layers.{layer}.{}.{}", linear.name(), if factor == Factor::A { 'a' } else { 'b' });
            let tensor_name = tensor_name(&name).unwrap_or_default();
            let tensor = file.tensor(&tensor_name).map_err(|_| Error::Missing { name: tensor_name.clone() })?;
            let columns = match (factor, tensor.shape()) {
                (Factor::A, &[rows, columns]) | (Factor::B, &[columns, rows]) if rows == rank => columns,
                (_, shape) => {
                    return Err(wrong(TENSORS, &tensor_name, &format!("has shape {shape:?}, not that of rank {rank}")));
                }
            };
            let first = *shapes.entry((linear, factor)).or_insert(columns);
            if !(1..=MAX_FEATURES).contains(&columns) || columns != first {
                return Err(wrong(TENSORS, &tensor_name, &format!("has {columns} features, layer 0 has {first}")));
            }
            let values = masters(&tensor_name, &tensor)?;
            let values = if factor == Factor::A { values } else { transposed(&values, rank) };
            matrices.push(LoraMatrix { name, rows: rank, columns, values });
        }
    }
    if matrices.is_empty() {
        return Err(Error::Malformed { what: TENSORS, reason: "holds no LoRA factor".into() });
    }
    Ok(LoraAdapter { rank, alpha, matrices })
}

/// Q3.28, ties to even.
fn masters(name: &str, tensor: &TensorView<'_>) -> Result<Vec<i32>, Error> {
    let reals = reals::tensor_reals(tensor)
        .ok_or_else(|| wrong(TENSORS, name, &format!("is {:?}, not F32, BF16 or F16", tensor.dtype())))?;
    // what rounds to 8 does not fit either
    match reals.iter().find(|value| !(f64::from(value.abs()) / UNIT < f64::from(i32::MAX) + 0.5)) {
        Some(value) => Err(wrong(TENSORS, name, &format!("holds {value}, outside ±8"))),
        None => Ok(reals.iter().map(|&value| (f64::from(value) / UNIT).round_ties_even() as i32).collect()),
    }
}

/// Rank, alpha and the adapted linears in canonical order.
fn read_config(bytes: &[u8]) -> Result<(usize, u32, Vec<Linear>), Error> {
    let malformed = |reason: String| Error::Malformed { what: CONFIG, reason };
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(malformed(format!("is above {MAX_CONFIG_BYTES} bytes")));
    }
    let config: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let value = |key: &str| config.get(key).unwrap_or(&Value::Null);
    let short = |text: &str| text.chars().take(256).collect::<String>();
    let refuse = |key: &str, expected: &str| {
        Err(malformed(format!("{} is {}; {expected}", short(key), short(&value(key).to_string()))))
    };
    if value("peft_type") != "LORA" {
        return refuse("peft_type", "only \"LORA\" is read");
    }
    let unknown = |(key, value): &(&String, &Value)| !KNOWN.contains(&key.as_str()) && !asks_for_nothing(value);
    if let Some((key, _)) = config.iter().find(unknown) {
        return refuse(key, "that is not supported");
    }
    if !(value("bias").is_null() || value("bias") == "none") {
        return refuse("bias", "only \"none\" is supported");
    }
    let plain = |name: &str| INITIALIZATIONS.contains(&name);
    let initialization = value("init_lora_weights");
    if !(initialization.is_null() || initialization.is_boolean() || initialization.as_str().is_some_and(plain)) {
        return refuse("init_lora_weights", "it may change the frozen weights, and is not supported");
    }
    let rank = value("r").as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| RANKS.contains(rank));
    let Some(rank) = rank else { return refuse("r", "ranks are 4..=64") };
    let whole =
        |value: &Value| value.as_u64().or_else(|| value.as_f64().filter(|v| v.fract() == 0.0).map(|v| v as u64));
    let Some(alpha) = whole(value("lora_alpha")).filter(|alpha| (1..=MAX_ALPHA).contains(alpha)) else {
        return refuse("lora_alpha", "it must be a whole number in 1..=65536");
    };
    let Some(names) = value("target_modules").as_array() else {
        return refuse("target_modules", "only a list of names is read");
    };
    let mut targets = Vec::new();
    for name in names {
        let matches =
            |linear: &Linear| name.as_str().is_some_and(|name| name == path(*linear) || name == module(*linear));
        match Linear::ALL.into_iter().find(matches) {
            Some(linear) => targets.push(linear),
            None => return refuse("target_modules", &format!("{name} is none of a layer's seven linears")),
        }
    }
    targets.sort_unstable();
    targets.dedup();
    Ok((rank, alpha as u32, targets))
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn wrong(what: &'static str, name: &str, problem: &str) -> Error {
    Error::Malformed { what, reason: format!("{} {problem}", name.chars().take(256).collect::<String>()) }
}
