//! Tests `BitLinear` through its JavaScript interface: it must return the same bits as in the native test
//! `tests/bit_linear.rs`, and each error must name the invalid option.

use js_sys::{Float32Array, JSON, Reflect};
use r3mes_www::bit_linear::BitLinear;
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

/// The expected digests of the layer's output `y`, and of the gradients of its LoRA factors `a` and `b` and of its
/// input `x`. The native test `tests/bit_linear.rs` expects the same digests.
const GOLDEN: &str = include_str!("../../tests/data/bit_linear.txt");

fn options(json: &str) -> JsValue {
    JSON::parse(json).unwrap()
}

fn floats(object: &JsValue, key: &str) -> Vec<f32> {
    Reflect::get(object, &key.into()).unwrap().dyn_into::<Float32Array>().unwrap().to_vec()
}

fn ramp(count: usize, unit: f32) -> Vec<f32> {
    (0..count).map(|i| (i * 37 % 201) as f32 * unit - 1.0).collect()
}

fn digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

async fn golden(backend: &str) {
    let layer = BitLinear::create(options(&format!(r#"{{"seed": 7, "backend": "{backend}"}}"#))).await.ok().unwrap();
    assert!(layer.deterministic());
    let params = layer.lora_params();
    assert_eq!(Reflect::get(&params, &"alpha".into()).unwrap(), 16.0);
    layer.set_lora_params(&floats(&params, "a"), &ramp(768 * 8, 0.01)).ok().unwrap();
    let y = layer.forward(ramp(3 * 768, 0.01)).await.ok().unwrap();
    let gradients = layer.backward(y.clone(), Some(vec![9; 32])).await.ok().unwrap();
    let gradients = ["a", "b", "x"].map(|key| digest(&floats(&gradients, key)));
    assert_eq!([&[digest(&y)], &gradients[..]].concat().join("\n"), GOLDEN.trim_end());

    // the bits of a row do not depend on the number of rows in a batch
    let one = layer.forward(ramp(768, 0.01)).await.ok().unwrap();
    assert_eq!(one, y[..768]);
}

#[wasm_bindgen_test]
async fn golden_bits_on_the_cpu() {
    golden("cpu").await;
}

#[wasm_bindgen_test]
async fn golden_bits_on_webgpu() {
    golden("gpu").await;
}

#[wasm_bindgen_test]
async fn layers_from_a_seed_and_from_given_weights() {
    let layer = BitLinear::create(JsValue::UNDEFINED).await.ok().unwrap();
    assert_eq!(layer.estimate_size_mb(), (2 * 768 * 8 * 4) as f64 / 1_048_576.0);
    assert_eq!(layer.backbone_digest().len(), 64);
    let params = layer.lora_params();
    assert_eq!((floats(&params, "a").len(), floats(&params, "b")), (8 * 768, vec![0.0; 768 * 8]));
    let other = BitLinear::create(options(r#"{"seed": 1}"#)).await.ok().unwrap();
    assert_ne!(layer.backbone_digest(), other.backbone_digest());

    let given = options(r#"{"inFeatures": 3, "outFeatures": 2, "loraRank": 4, "loraAlpha": 8.0}"#);
    Reflect::set(&given, &"weights".into(), &Float32Array::from(&[1.0, -1.0, 0.05, 0.5, 0.5, 0.5][..])).unwrap();
    let layer = BitLinear::create(given).await.ok().unwrap();
    // a row whose largest absolute value is 127 is quantized without loss
    assert_eq!(layer.forward(vec![127.0, 2.0, 5.0]).await.ok().unwrap(), [125.0, 134.0]);
}

#[wasm_bindgen_test]
async fn errors_name_the_invalid_option() {
    for (given, named) in [
        (r#"{"inFeatures": 0}"#, "inFeatures is 0"),
        (r#"{"outFeatures": 1e9}"#, "outFeatures is 1000000000"),
        (r#"{"loraRank": 3}"#, "LoRA rank"),
        (r#"{"loraAlpha": 16.5}"#, "loraAlpha is 16.5"),
        (r#"{"seed": -1}"#, "seed is -1"),
        (r#"{"weights": [1, 2]}"#, "weights: not a Float32Array"),
        (r#"{"backend": "tpu"}"#, "backend is \"tpu\""),
        (r#"{"deterministic": false}"#, "deterministic"),
    ] {
        let error = BitLinear::create(options(given)).await.err().unwrap_or_else(|| panic!("{given}"));
        let message = Reflect::get(&JsValue::from(error), &"message".into()).unwrap().as_string().unwrap();
        assert!(message.contains(named), "{given}: {message}");
    }
    let layer = BitLinear::create(options(r#"{"inFeatures": 4, "outFeatures": 2}"#)).await.ok().unwrap();
    for wrong in [vec![], vec![1.0; 5], vec![f32::NAN; 4]] {
        assert!(layer.forward(wrong).await.is_err());
    }
    assert!(layer.set_lora_params(&[0.0; 3], &[0.0; 16]).is_err());
    assert!(layer.backward(vec![0.0; 2], Some(vec![0; 31])).await.is_err());
    assert_eq!(layer.forward(vec![0.0; 8]).await.ok().unwrap(), [0.0; 4]);
}
