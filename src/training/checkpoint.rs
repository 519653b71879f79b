//! Checkpoints: safetensors files that contain the parameters of an adapter in full precision (Q3.28) and the state of
//! its optimizer.

use super::optimizer::Optimizer;
use crate::{
    error::Error,
    numbers::lora::{LoraAdapter, LoraMatrix},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;

const OPTIMIZER: &str = "optimizer";

/// Encodes a checkpoint as a safetensors file. Each matrix of the adapter is an I32 tensor of Q3.28 numbers, and the
/// optimizer's state is a U8 tensor. The metadata contains the rank, alpha, and the order of the matrices.
pub fn write(adapter: &LoraAdapter, optimizer: &Optimizer) -> Result<Vec<u8>, Error> {
    let state = optimizer.to_bytes();
    let mut views = vec![(OPTIMIZER.to_owned(), view(Dtype::U8, vec![state.len()], &state)?)];
    for matrix in &adapter.matrices {
        let shape = vec![matrix.rows, matrix.columns];
        views.push((matrix.name.clone(), view(Dtype::I32, shape, bytemuck::cast_slice(&matrix.values))?));
    }
    let names: Vec<_> = adapter.matrices.iter().map(|matrix| matrix.name.as_str()).collect();
    let metadata = HashMap::from([
        ("rank".to_owned(), adapter.rank.to_string()),
        ("alpha".to_owned(), adapter.alpha.to_string()),
        ("order".to_owned(), names.join(" ")),
    ]);
    safetensors::serialize(views, Some(metadata)).map_err(malformed)
}

/// Decodes a checkpoint that [`write()`] has encoded. Returns an error if the bytes are not such a checkpoint.
pub fn read(bytes: &[u8]) -> Result<(LoraAdapter, Optimizer), Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let field = |name: &str| metadata.get(name).ok_or_else(|| Error::Missing { name: format!("checkpoint {name}") });
    let number = |name: &str| field(name)?.parse::<u32>().map_err(malformed);
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let matrices = field("order")?.split(' ').filter(|name| !name.is_empty()).map(|name| {
        let tensor = file.tensor(name).map_err(malformed)?;
        let &[rows, columns] = tensor.shape() else { return Err(malformed(format!("tensor {name} is not a matrix"))) };
        if tensor.dtype() != Dtype::I32 {
            return Err(malformed(format!("tensor {name} has the type {:?}, not I32", tensor.dtype())));
        }
        let values = tensor.data().chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(LoraMatrix { name: name.to_owned(), rows, columns, values })
    });
    let matrices = matrices.collect::<Result<_, Error>>()?;
    let optimizer = Optimizer::from_bytes(file.tensor(OPTIMIZER).map_err(malformed)?.data())?;
    Ok((LoraAdapter { rank: number("rank")? as usize, alpha: number("alpha")?, matrices }, optimizer))
}

fn view(dtype: Dtype, shape: Vec<usize>, data: &[u8]) -> Result<TensorView<'_>, Error> {
    TensorView::new(dtype, shape, data).map_err(malformed)
}

fn malformed(error: impl ToString) -> Error {
    Error::Malformed { what: "checkpoint", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::optimizer::Settings;

    #[test]
    fn a_written_checkpoint_is_read_back_and_a_truncated_one_refused() {
        let shapes = [("layers.0.attention.q".to_owned(), 5, 7), ("layers.0.attention.v".to_owned(), 5, 3)];
        let adapter = LoraAdapter::seeded(4, 8, &shapes, [9; 32]).unwrap();
        let optimizer = Optimizer::new(Settings::LION, &adapter).unwrap();
        let bytes = write(&adapter, &optimizer).unwrap();
        assert_eq!(read(&bytes).unwrap(), (adapter, optimizer));
        for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            assert!(read(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
    }
}
