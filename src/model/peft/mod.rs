//! Reads and writes adapters in PEFT's file format: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! PEFT's `lora_A [rank, in_features]` is the factor a. Its `lora_B [out_features, rank]` is the transpose of the
//! factor b. A parameter is an F32 in written files, and a Q3.28 integer in memory. Writing rounds to the 24
//! significant bits of F32: a parameter of magnitude below 1/16 keeps every bit, and a larger one loses up to 7 of its
//! 31 bits. Reading rounds to a multiple of 2^-28, which does not change an F32 of magnitude 1/16 or more. A value
//! outside ±8 is refused.

mod config;
mod gradient_package;
mod names;
mod targets;

pub use config::MAX_CONFIG_BYTES;
pub use gradient_package::{GradientPackage, GradientTensor};
pub use names::{Factor, module_name, parse_matrix_name, tensor_name};

use super::{
    file::parse_safetensors,
    float_conversion::{tensor_to_f32, transpose},
    transformer::Targets,
};
use crate::{
    error::Error,
    numbers::lora::{LoraAdapter, LoraMatrix, MASTER_FRACTION_BITS, MAX_FEATURES},
};
use names::parse_tensor_name;
use safetensors::{Dtype, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};

/// The largest size of an `adapter_model.safetensors` that is accepted, in bytes. It is about three times the size of
/// an adapter of rank 64 for all linear layers of BitNet b1.58 2B4T.
pub const MAX_TENSOR_BYTES: usize = 1 << 30;

const TENSORS: &str = "adapter_model.safetensors";
/// The value of the lowest bit of a parameter in Q3.28.
const UNIT: f64 = 1.0 / (1u64 << MASTER_FRACTION_BITS) as f64;
/// The largest F32 below 8. When parameters are written, larger ones are clamped to this value.
const MAX_VALUE: f32 = 8.0 - 1.0 / (1 << 21) as f32;

/// Converts a factor `[rank, columns]` to the layout of PEFT, and returns its shape and its values in this layout. The
/// factor a stays as it is, and the factor b is transposed.
pub fn to_peft_layout<T: Copy>(factor: Factor, rank: usize, columns: usize, values: &[T]) -> ([usize; 2], Vec<T>) {
    match factor {
        Factor::A => ([rank, columns], values.to_vec()),
        Factor::B => ([columns, rank], transpose(values, columns)),
    }
}

/// Returns the bytes of `adapter_config.json` and of `adapter_model.safetensors`. `base_model` tells PEFT where to find
/// the backbone: it is a name on the Hugging Face Hub, or a folder.
///
/// Returns an error if a matrix is not named `layers.<i>.<linear>.<a or b>`, or does not have as many rows as the
/// adapter's rank. Also returns an error unless every decoder layer has the same adapted linear layers, and each of
/// these has both factors, because PEFT would initialize the missing factors.
pub fn write(adapter: &LoraAdapter, base_model: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut tensors = BTreeMap::new();
    let (mut linears, mut layers) = (Vec::new(), 0);
    for LoraMatrix { name, rows, columns, values } in &adapter.matrices {
        let (layer, linear, factor) =
            parse_matrix_name(name).ok_or_else(|| malformed_entry("adapter", name, "it has no name in PEFT"))?;
        if *rows != adapter.rank || values.len() != rows * columns {
            return Err(malformed_entry("adapter", name, "the matrix does not have the shape that the rank requires"));
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

/// Reads an adapter from the bytes of `adapter_config.json` and of `adapter_model.safetensors`. Values are F32, BF16 or
/// F16, and are rounded to Q3.28.
///
/// Returns an error if the config enables anything other than LoRA of one rank and one alpha on the same linear layers
/// of each decoder layer, if a tensor is missing, unexpected or of the wrong shape, or if a value is outside ±8. The
/// error states the name of the key or the tensor.
pub fn read(config: &[u8], tensors: &[u8]) -> Result<LoraAdapter, Error> {
    let config = config::read(config)?;
    if tensors.len() > MAX_TENSOR_BYTES {
        return Err(Error::Malformed {
            what: TENSORS,
            reason: format!("the file has more than {MAX_TENSOR_BYTES} bytes"),
        });
    }
    let file = parse_safetensors(TENSORS, tensors)?;
    let (mut stored, mut adapter_name) = (BTreeMap::new(), None);
    for name in file.names() {
        let (layer, linear, factor, adapter) = parse_tensor_name(name)
            .ok_or_else(|| malformed_entry(TENSORS, name, "not a LoRA factor of one of the seven linear layers"))?;
        if *adapter_name.get_or_insert(adapter) != adapter {
            return Err(malformed_entry(TENSORS, name, "the tensor belongs to a second adapter in the same file"));
        }
        stored.insert((layer, linear, factor), name);
    }
    let layers = stored.keys().map(|(layer, ..)| layer + 1).max().unwrap_or(0);
    if layers == 0 {
        return Err(Error::Malformed { what: TENSORS, reason: "the file has no LoRA factors".into() });
    }
    let (Targets { rank, linears }, alpha) = config.resolve(layers)?;
    if let Some((_, name)) = stored.iter().find(|((_, linear, _), _)| !linears.contains(linear)) {
        return Err(malformed_entry(
            TENSORS,
            name,
            "the tensor belongs to a linear layer that is not in the config's target_modules",
        ));
    }
    let mut matrices = Vec::new();
    let mut shapes = BTreeMap::new();
    for (layer, &linear) in (0..layers).flat_map(|layer| linears.iter().map(move |linear| (layer, linear))) {
        for factor in [Factor::A, Factor::B] {
            let name = format!("layers.{layer}.{}.{}", linear.name(), if factor == Factor::A { 'a' } else { 'b' });
            let missing = || Error::Missing { name: tensor_name(&name).unwrap_or_default() };
            let tensor_name = stored.get(&(layer, linear, factor)).ok_or_else(missing)?;
            let tensor = file.tensor(tensor_name).map_err(|_| missing())?;
            let columns = match (factor, tensor.shape()) {
                (Factor::A, &[rows, columns]) | (Factor::B, &[columns, rows]) if rows == rank => columns,
                (_, shape) => {
                    return Err(malformed_entry(
                        TENSORS,
                        tensor_name,
                        &format!("the shape {shape:?} does not match the rank {rank}"),
                    ));
                }
            };
            let first = *shapes.entry((linear, factor)).or_insert(columns);
            if !(1..=MAX_FEATURES).contains(&columns) || columns != first {
                return Err(malformed_entry(
                    TENSORS,
                    tensor_name,
                    &format!(
                        "the tensor has {columns} features, and the same tensor of layer 0 has {first}; both numbers \
                         must be equal and in 1..={MAX_FEATURES}"
                    ),
                ));
            }
            let values = masters(tensor_name, &tensor)?;
            let values = if factor == Factor::A { values } else { transpose(&values, rank) };
            matrices.push(LoraMatrix { name, rows: rank, columns, values });
        }
    }
    Ok(LoraAdapter { rank, alpha, matrices })
}

/// Converts the values of a tensor to Q3.28, rounded to nearest, ties to even. Returns an error if the values have a
/// type other than F32, BF16 or F16, or if one of them is outside ±8.
fn masters(name: &str, tensor: &TensorView<'_>) -> Result<Vec<i32>, Error> {
    let reals = tensor_to_f32(tensor).ok_or_else(|| {
        malformed_entry(TENSORS, name, &format!("the type is {:?}, but must be F32, BF16 or F16", tensor.dtype()))
    })?;
    // A value that rounds to 8 is out of range too.
    let fits = |value: &f32| f64::from(value.abs()) / UNIT < f64::from(i32::MAX) + 0.5;
    match reals.iter().find(|value| !fits(value)) {
        Some(value) => Err(malformed_entry(
            TENSORS,
            name,
            &format!("an element is {value}, which is outside the range from -8 to 8"),
        )),
        None => Ok(reals.iter().map(|&value| (f64::from(value) / UNIT).round_ties_even() as i32).collect()),
    }
}

fn malformed_entry(what: &'static str, name: &str, problem: &str) -> Error {
    Error::Malformed { what, reason: format!("{}: {problem}", name.chars().take(256).collect::<String>()) }
}
