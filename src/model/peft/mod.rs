//! Adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! PEFT's `lora_A [rank, in_features]` is our a, its `lora_B [out_features, rank]` our b transposed. Values are F32 in
//! the file, Q3.28 here. Writing rounds to 24 significant bits: a master below 1/16 keeps every bit, a larger one loses
//! up to 7 of its 31. Reading rounds to 2^-28, which changes no F32 from 1/16 up; a value outside ±8 is an error.

mod config;
mod gradient_package;
mod names;

pub use config::MAX_CONFIG_BYTES;
pub use gradient_package::{GradientPackage, GradientTensor};
pub use names::{Factor, module_name, parse_matrix_name, tensor_name};

use super::float_conversion;
use crate::{
    error::Error,
    numbers::lora::{LoraAdapter, LoraMatrix, MASTER_FRACTION_BITS, MAX_FEATURES},
};
use names::parse_tensor_name;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};

/// Most bytes of `adapter_model.safetensors`: three times rank 64 on all linears of BitNet b1.58 2B4T.
pub const MAX_TENSOR_BYTES: usize = 1 << 30;

const TENSORS: &str = "adapter_model.safetensors";
/// The last bit of a master.
const UNIT: f64 = 1.0 / (1u64 << MASTER_FRACTION_BITS) as f64;
/// The largest F32 below 8.
const MAX_VALUE: f32 = 8.0 - 1.0 / (1 << 21) as f32;

/// The shape and values that PEFT has for a matrix `[rank, columns]` of ours: b transposed.
pub fn to_peft_layout<T: Copy>(factor: Factor, rank: usize, columns: usize, values: &[T]) -> ([usize; 2], Vec<T>) {
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
/// Fails where a matrix is not `layers.<i>.<linear>.<a or b>` with `rank` rows, and where not every layer has both factors
/// of the same linears: PEFT would fill in what is not there.
pub fn write(adapter: &LoraAdapter, base_model: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut tensors = BTreeMap::new();
    let (mut linears, mut layers) = (Vec::new(), 0);
    for LoraMatrix { name, rows, columns, values } in &adapter.matrices {
        let (layer, linear, factor) =
            parse_matrix_name(name).ok_or_else(|| malformed_entry("adapter", name, "has no name in PEFT"))?;
        if *rows != adapter.rank || values.len() != rows * columns {
            return Err(malformed_entry("adapter", name, "has another shape than the rank demands"));
        }
        let real = |&value: &i32| ((f64::from(value) * UNIT) as f32).clamp(-MAX_VALUE, MAX_VALUE);
        let reals: Vec<f32> = values.iter().map(real).collect();
        let (shape, reals) = to_peft_layout(factor, *rows, *columns, &reals);
        let bytes: Vec<u8> = reals.into_iter().flat_map(f32::to_le_bytes).collect();
        tensors.insert(tensor_name(name).unwrap_or_default(), (shape, bytes));
        linears.push(linear);
        layers = layers.max(layer + 1);
    }
    linears.sort_unstable();
    linears.dedup();
    let expected = 2 * layers * linears.len();
    if tensors.len() != expected || adapter.matrices.len() != expected {
        return Err(Error::Shape { what: "matrices of an adapter", expected, found: adapter.matrices.len() });
    }
    let config = config::write(adapter.rank, adapter.alpha, &linears, base_model);
    let broken = |error: safetensors::SafeTensorError| Error::Malformed { what: TENSORS, reason: error.to_string() };
    let views = tensors
        .iter()
        .map(|(name, (shape, bytes))| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(broken)?)));
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors = safetensors::serialize(views, Some(metadata)).map_err(broken)?;
    Ok((config, tensors))
}

/// Reads the two files: F32, BF16 or F16, rounded to Q3.28.
///
/// Fails, naming the key or the tensor, where the config asks for more than LoRA on the seven linears at one rank, where a
/// tensor of a layer is missing, superfluous or of another shape, and where a value is outside ±8.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<LoraAdapter, Error> {
    let (rank, alpha, targets) = config::read(config)?;
    if tensors.len() > MAX_TENSOR_BYTES {
        return Err(Error::Malformed { what: TENSORS, reason: format!("is above {MAX_TENSOR_BYTES} bytes") });
    }
    let broken = |error: safetensors::SafeTensorError| Error::Malformed { what: TENSORS, reason: error.to_string() };
    let file = SafeTensors::deserialize(tensors).map_err(broken)?;
    let mut layers = 0;
    for name in file.names() {
        let (layer, linear, _) =
            parse_tensor_name(name).ok_or_else(|| malformed_entry(TENSORS, name, "is no LoRA factor known here"))?;
        if !targets.contains(&linear) {
            return Err(malformed_entry(TENSORS, name, "is not among the config's target_modules"));
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
                    return Err(malformed_entry(
                        TENSORS,
                        &tensor_name,
                        &format!("has shape {shape:?}, not that of rank {rank}"),
                    ));
                }
            };
            let first = *shapes.entry((linear, factor)).or_insert(columns);
            if !(1..=MAX_FEATURES).contains(&columns) || columns != first {
                return Err(malformed_entry(
                    TENSORS,
                    &tensor_name,
                    &format!("has {columns} features, layer 0 has {first}"),
                ));
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
    let reals = float_conversion::tensor_reals(tensor)
        .ok_or_else(|| malformed_entry(TENSORS, name, &format!("is {:?}, not F32, BF16 or F16", tensor.dtype())))?;
    // what rounds to 8 does not fit either
    let fits = |value: &f32| f64::from(value.abs()) / UNIT < f64::from(i32::MAX) + 0.5;
    match reals.iter().find(|value| !fits(value)) {
        Some(value) => Err(malformed_entry(TENSORS, name, &format!("holds {value}, outside ±8"))),
        None => Ok(reals.iter().map(|&value| (f64::from(value) / UNIT).round_ties_even() as i32).collect()),
    }
}

fn malformed_entry(what: &'static str, name: &str, problem: &str) -> Error {
    Error::Malformed { what, reason: format!("{} {problem}", name.chars().take(256).collect::<String>()) }
}
