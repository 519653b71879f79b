//! Tests of the gradient package that is built from an artifact. Equal artifacts give equal bytes, and the tensors of
//! the package have the correct names, shapes and values. No package is built from a void artifact, from an artifact of
//! another task, or from an artifact with unknown matrix names.

use super::*;
use crate::protocol::{tests::samples, *};
use prost::Message;
use sha2::{Digest, Sha256};

/// Returns a receipt and its artifact. Every matrix of the artifact has a name in PEFT.
fn receipt() -> (Receipt, Artifact) {
    let mut job = samples::job(Transport::Int8, 6);
    job.targets = ["attention.q", "feed_forward.down"].map(str::to_owned).to_vec();
    job.matrices.iter_mut().for_each(|spec| spec.name = spec.name.replace("ffn", "feed_forward"));
    let task = samples::task(job, "remes1miner");
    let artifact = Artifact::gradient(&task, &samples::gradient(&task.job, 1, 30)).unwrap();
    (Receipt::new(task, &artifact, Vec::new()).unwrap(), artifact)
}

#[test]
fn tensors_are_in_the_order_of_their_names_and_exact() {
    let (receipt, artifact) = receipt();
    let package = GradientPackage::new(&receipt, &artifact, 3).unwrap();
    let names: Vec<_> = package.gradients.iter().map(|tensor| tensor.name.as_str()).collect();
    assert!(names.is_sorted() && names.len() == 8, "{names:?}");
    assert_eq!(names[0], "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
    for matrix in &artifact.as_gradient().unwrap().matrices {
        let exact = matrix.dequantized();
        let name = peft::tensor_name(&exact.name).unwrap();
        let tensor = package.gradients.iter().find(|tensor| tensor.name == name).unwrap();
        assert_eq!(tensor.dtype, "float32");
        let unit = 2f64.powi(exact.exponent);
        for (row, values) in exact.values.chunks(exact.columns).enumerate() {
            for (column, &value) in values.iter().enumerate() {
                let at = match name.contains("lora_A") {
                    true => row * exact.columns + column,
                    false => column * exact.rows + row,
                };
                assert_eq!(f64::from(tensor.data[at]), value as f64 * unit);
            }
        }
        let [rank, columns] = [exact.rows as i64, exact.columns as i64];
        assert_eq!(tensor.shape, if name.contains("lora_A") { [rank, columns] } else { [columns, rank] });
    }
    assert_eq!((package.training_round_id, package.miner_address.as_str(), package.timestamp), (3, "remes1miner", 0));
    assert_eq!(package.metadata["artifact"], receipt.artifact().to_string());
    assert_eq!(package.metadata["tokens"], "2040");
}

#[test]
fn bytes_are_canonical_and_frozen() {
    let (receipt, artifact) = receipt();
    let bytes = GradientPackage::new(&receipt, &artifact, 0).unwrap().to_bytes();
    let read = GradientPackage::decode(&bytes[..]).unwrap();
    assert_eq!(read, GradientPackage::new(&receipt, &artifact, 0).unwrap());
    assert!(read.to_bytes() == bytes);
    assert_eq!(data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)), GOLDEN);
}

const GOLDEN: &str = "4740f5633b30350a92f9b5166858662e5c222507f3ebed76da92ef25f27fd5da";

#[test]
fn void_foreign_and_unnamed_artifacts_have_no_package() {
    let (receipt, artifact) = receipt();
    let void = Artifact::void(receipt.task());
    let of_void = Receipt::new(receipt.task().clone(), &void, Vec::new()).unwrap();
    assert!(GradientPackage::new(&of_void, &void, 0).unwrap_err().to_string().contains("void"));
    let (other, _) = samples::receipt(Transport::Int8, 6);
    assert!(matches!(GradientPackage::new(&other, &artifact, 0), Err(ProtocolError::OtherTask { .. })));
    let (unnamed, artifact) = samples::receipt(Transport::Int8, 6);
    let error = GradientPackage::new(&unnamed, &artifact, 0).unwrap_err().to_string();
    assert!(error.contains("ffn.down") && error.contains("no name in PEFT"), "{error}");
}
