//! Tests of models that other programs wrote. Their logits must be close to those of `transformers`, and a model must
//! be unchanged after it is written and read back. An unsupported or damaged model must be refused with an error that
//! states the cause. `tests/data/bitnet/make.py` describes and generates the models.

mod gguf_file;
mod variants;

use pollster::block_on;
use proptest::prelude::*;
use r3mes_wgpu::{
    compute::{Backend, cpu},
    error::Error,
    model::{
        file,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
};
use safetensors::SafeTensors;
use std::{fs, path::PathBuf, sync::Arc};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/bitnet").join(name)
}

/// Returns the `config.json` and the safetensors files of the test model in the folder `name`. The safetensors files
/// are sorted by name.
fn folder(name: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut pieces: Vec<_> = fs::read_dir(data(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    pieces.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("model") && name.ends_with(".safetensors")
    });
    pieces.sort();
    let pieces = pieces.iter().map(|path| fs::read(path).unwrap()).collect();
    (fs::read(data(name).join("config.json")).unwrap(), pieces)
}

fn read(config: &[u8], pieces: &[Vec<u8>]) -> Result<Model, Error> {
    let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
    file::read_pieces(config, &pieces, &mut |_, _| ())
}

fn model(name: &str) -> Model {
    let (config, pieces) = folder(name);
    read(&config, &pieces).unwrap()
}

fn gguf() -> Vec<u8> {
    fs::read(data("mixed.gguf")).unwrap()
}

fn read_gguf(bytes: &[u8]) -> Result<Model, Error> {
    file::read_gguf(&[bytes], &mut |_, _| ())
}

/// Reads the token IDs `[tokens]`, and the logits `[tokens, vocab]` that `transformers` computed for them.
fn reference(path: PathBuf) -> (Vec<u32>, Vec<f64>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> { file.tensor(name).unwrap().data().as_chunks().0.to_vec() };
    let logits = words("logits").into_iter().map(|bytes| f32::from_le_bytes(bytes).into()).collect();
    (words("ids").into_iter().map(u32::from_le_bytes).collect(), logits)
}

/// Returns the logits `[tokens, vocab]`, in nats, that the integer implementation computes for the tokens `ids`.
fn logits(mut model: Model, ids: &[u32]) -> Vec<f64> {
    model.config.context = ids.len();
    let step = RecordedStep::new(&model, &Targets { rank: 4, linears: Vec::new() }, 1);
    let at = step.recording.dispatches().iter().position(|dispatch| dispatch.label == "head logits").unwrap();
    let z = step.recording.dispatches()[at].written().next().unwrap().id;
    let backend = Backend::Cpu { threads: 1, kernels: cpu::fastest };
    let mut executor = block_on(backend.executor(&Arc::new(step.recording.clone()))).unwrap();
    block_on(executor.write(step.ids, ids)).unwrap();
    assert!(!block_on(executor.run(0..at + 1)).unwrap(), "a value saturated");
    let bits = block_on(executor.read(z)).unwrap();
    bits.into_iter().map(|bits| f64::from(bits as i32) / f64::from(1 << 20) * std::f64::consts::LN_2).collect()
}

fn assert_close(name: &str, model: Model, (ids, expected): (Vec<u32>, Vec<f64>)) {
    let vocab = model.config.vocab;
    let found = logits(model, &ids);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let top = |row: &[f64]| (0..vocab).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    let cosine = dot(&found, &expected) / (dot(&found, &found) * dot(&expected, &expected)).sqrt();
    let ratio = (dot(&found, &found) / dot(&expected, &expected)).sqrt();
    let pairs = found.chunks_exact(vocab).zip(expected.chunks_exact(vocab));
    let least = pairs.clone().map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).fold(1.0, f64::min);
    let same = pairs.filter(|(a, b)| top(a) == top(b)).count();
    println!(
        "{name}: cosine {cosine:.6}, worst token {least:.6}, norm ratio {ratio:.5}, same top-1: {same} of {} tokens",
        ids.len()
    );
    assert!(cosine >= 0.9995, "{name}: cosine {cosine}");
    // the cosine does not depend on the norm, so the norm is checked separately
    assert!((ratio - 1.0).abs() < 0.005, "{name}: ratio of norms {ratio}");
    assert!(same * 10 >= ids.len() * 9, "{name}: same top-1 for {same} of {} tokens", ids.len());
}

#[test]
fn logits_are_those_of_transformers() {
    for name in ["masters_bf16_sharded", "masters_f32", "autobitlinear_bf16", "bitlinear_f32"] {
        assert_close(name, model(name), reference(data(name).join("reference.safetensors")));
    }
}

#[test]
fn logits_of_a_gguf_are_those_of_transformers() {
    assert_close("mixed.gguf", read_gguf(&gguf()).unwrap(), reference(data("mixed.reference.safetensors")));
}

#[test]
fn imported_models_are_written_and_read_back_unchanged() {
    for name in ["masters_bf16_sharded", "masters_f32", "autobitlinear_bf16", "bitlinear_f32"] {
        let model = model(name);
        let (config, tensors) = file::write(&model).unwrap();
        assert!(file::read(&config, &tensors).unwrap() == model, "{name}");
    }
    let model = read_gguf(&gguf()).unwrap();
    let (config, tensors) = file::write(&model).unwrap();
    assert!(file::read(&config, &tensors).unwrap() == model);
}

/// Replaces the text `from` by `to` in the `config.json` of the test model in the folder `name`, and returns the error
/// with which the changed model is refused.
fn refused(name: &str, from: &str, to: &str) -> String {
    let (config, pieces) = folder(name);
    let text = String::from_utf8(config).unwrap();
    assert!(text.contains(from), "{from}");
    match read(text.replace(from, to).as_bytes(), &pieces) {
        Ok(_) => panic!("{name} with {to} was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_name_the_unsupported_feature() {
    let masters = "masters_f32";
    for (name, from, to, word) in [
        (masters, "\"relu2\"", "\"silu\"", "hidden_act"),
        (masters, "\"model_type\": \"bitnet\"", "\"model_type\": \"llama\"", "model_type"),
        (masters, "\"attention_bias\": false", "\"attention_bias\": true", "attention_bias"),
        (masters, "\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", "rope_type"),
        (masters, "\"rope_theta\": 10000.0", "\"rope_theta\": 10000.5", "rope_theta"),
        (masters, "\"quant_method\": \"bitnet\"", "\"quant_method\": \"gptq\"", "quant_method"),
        (masters, "\"online\"", "\"sometimes\"", "quantization_mode"),
        (masters, "\"autobitlinear\"", "\"bitlinear\"", "linear_class"),
        (masters, "\"hidden_size\": 32", "\"hidden_size\": 64", "embed_tokens"),
        (masters, "\"vocab_size\": 99", "\"vocab_size\": 999999999", "vocab"),
        (masters, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "no such tensor"),
        (masters, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "is missing"),
        ("bitlinear_f32", "\"linear_class\": \"bitlinear\"", "\"use_rms_norm\": true", "use_rms_norm"),
        ("autobitlinear_bf16", "\"offline\"", "\"online\"", "packed"),
    ] {
        let error = refused(name, from, to);
        assert!(error.contains(word), "{to}: {error}");
    }
    let (config, pieces) = folder("masters_bf16_sharded");
    assert!(read(&config, &pieces[1..]).unwrap_err().to_string().contains("is missing"));
    let twice = [&pieces[..], &pieces[..1]].concat();
    assert!(read(&config, &twice).unwrap_err().to_string().contains("twice"));
}

/// Returns the bytes with the first occurrence of `from` replaced by `to`. Both must have the same length.
fn changed(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn errors_name_the_unsupported_feature_of_a_gguf() {
    let bytes = gguf();
    // a tensor's name is followed by the number of axes (4 bytes), the sizes of two axes (8 bytes each), and the type
    let kind = |name: &str, number: u32| {
        let mut bytes = bytes.clone();
        let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len() + 20;
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    for (bytes, word) in [
        (changed(&bytes, b"bitnet-b1.58", b"bitnet-x9.99"), "bitnet-x9.99"),
        (changed(&bytes, b"GGUF", b"GGML"), "GGUF"),
        (changed(&bytes, b"GGUF\x03", b"GGUF\x01"), "version 1"),
        (changed(&bytes, b"output_norm.weight", b"output_norm.weirdo"), "output_norm.weight is missing"),
        (kind("token_embd.weight", 13), "Q5_K"),
        (kind("blk.0.attn_q.weight", 12), "Q4_K"),
        (kind("blk.0.attn_q.weight", 1), "i2_s, TQ1_0 or TQ2_0"),
        // data in the format i2_s, read as TQ2_0: the scales of the blocks are invalid or differ
        (kind("blk.0.ffn_down.weight", 35), "blk.0.ffn_down.weight"),
        (bytes[..bytes.len() - 40].to_vec(), "ends"),
    ] {
        let error = read_gguf(&bytes).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

/// Returns a damaged copy of `bytes`. Each element of `changes` contains the position of a byte to overwrite, and the
/// new value. Three of four positions are reduced modulo `header`, the length of the file's header, so that they lie in
/// the header. If `cut` is given, only the first `cut` bytes of the copy are returned. (`cut` is reduced modulo the
/// length of the copy.)
fn damage(bytes: &[u8], changes: &[(usize, u8)], cut: Option<usize>, header: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (number, (at, value)) in changes.iter().enumerate() {
        let within = if number % 4 == 3 { bytes.len() } else { header.min(bytes.len()) };
        bytes[at % within] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut % bytes.len());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_safetensors_are_read_or_refused(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        cut in proptest::option::of(any::<usize>()),
    ) {
        let (config, pieces) = folder("bitlinear_f32");
        let damaged = damage(&pieces[0], &changes, cut, 3000);
        let same = damaged == pieces[0];
        let found = read(&config, &[damaged]);
        prop_assert!(!same || found.is_ok());
        prop_assert!(cut.is_none() || found.is_err());
        if let Err(error) = found {
            prop_assert!(error.to_string().len() > 10);
        }
    }

    #[test]
    fn damaged_ggufs_are_read_or_refused(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        cut in proptest::option::of(any::<usize>()),
    ) {
        let bytes = gguf();
        let damaged = damage(&bytes, &changes, cut, 3000);
        let same = damaged == bytes;
        let found = read_gguf(&damaged);
        prop_assert!(!same || found.is_ok());
        if let Err(error) = found {
            prop_assert!(error.to_string().len() > 10);
        }
    }
}

#[test]
fn stated_sizes_in_a_gguf_allocate_nothing() {
    // overwrite eight bytes at every fourth offset of the header, so that counts, lengths and shapes become huge
    let bytes = gguf();
    for at in (8..3000).step_by(4) {
        for claim in [u64::MAX / 2, 1 << 32, u64::MAX] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            // the file must be read or refused without delay
            let _ = read_gguf(&bytes);
        }
    }
}
