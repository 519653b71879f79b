//! Fuzz targets for the model files that other programs write, in the formats safetensors and GGUF.

use r3mes_wgpu::model::{config::ModelConfig, file, generator};

fn small() -> ModelConfig {
    ModelConfig { width: 16, head_dim: 8, ffn_width: 16, vocab: 16, context: 8, ..ModelConfig::TINY }
}

/// Reads the bytes as the files of a model: two bytes with the length of config.json, then config.json, then
/// model.safetensors. A model that was read must be the same after it is written and read again.
pub(crate) fn safetensors(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let Some((config, tensors)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else { return };
    let Ok(model) = file::read(config, tensors) else { return };
    let (config, tensors) = file::write(&model).expect("a model that was read can be written");
    let again = file::read(&config, &tensors).expect("a model that was written can be read");
    assert!(again == model, "the model is the same after it was read again");
}

/// Returns the only seed (initial input) of the fuzz target [`safetensors`]: the files of a small model, in the form
/// that this target reads.
pub(crate) fn safetensors_files() -> Vec<Vec<u8>> {
    let model = generator::seeded(small(), [1; 32]).expect("sizes within their limits");
    let (config, tensors) = file::write(&model).expect("a small model");
    let length = u16::try_from(config.len()).expect("a short config");
    vec![[&length.to_le_bytes()[..], &config, &tensors].concat()]
}

/// Reads the bytes as a GGUF file.
pub(crate) fn gguf(bytes: &[u8]) {
    let _ = file::read_gguf(&[bytes], &mut |_, _| {});
}

/// Returns the seeds (initial inputs) of the fuzz target [`gguf`]: a header whose entries (a text, numbers and an
/// array) do not describe a complete model, and a header without entries.
pub(crate) fn gguf_files() -> Vec<Vec<u8>> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let number =
        |key: &str, value: u32| [text(key), 4u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat();
    let words = |key: &str| {
        let array = [8u32.to_le_bytes().to_vec(), 2u64.to_le_bytes().to_vec(), text("a"), text("b")].concat();
        [text(key), 9u32.to_le_bytes().to_vec(), array].concat()
    };
    let name = [text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("bitnet-b1.58")].concat();
    let entries = [
        name,
        number("bitnet-b1.58.block_count", 1),
        number("bitnet-b1.58.embedding_length", 16),
        number("bitnet-b1.58.feed_forward_length", 16),
        number("bitnet-b1.58.attention.head_count", 2),
        number("bitnet-b1.58.attention.head_count_kv", 1),
        number("bitnet-b1.58.context_length", 8),
        words("tokenizer.ggml.tokens"),
    ];
    let tensor = |name: &str, kind: u32, offset: u64| {
        let sizes = [2u32.to_le_bytes().to_vec(), 16u64.to_le_bytes().to_vec(), 16u64.to_le_bytes().to_vec()].concat();
        [text(name), sizes, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
    };
    let tensors = [tensor("token_embd.weight", 1, 0), tensor("blk.0.attn_q.weight", 36, 512)];
    let head = [b"GGUF".to_vec(), 3u32.to_le_bytes().to_vec()].concat();
    let counts = [(tensors.len() as u64).to_le_bytes(), (entries.len() as u64).to_le_bytes()].concat();
    let whole = [head.clone(), counts, entries.concat(), tensors.concat(), vec![0; 1024]].concat();
    vec![whole, [head, vec![0; 16]].concat()]
}
