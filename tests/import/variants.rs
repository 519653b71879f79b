//! Tests models in the forms in which other programs write them. Each model is read correctly, or refused with an error
//! that names the unsupported feature.

use super::{
    changed, folder, gguf,
    gguf_file::{GgufFile, Tensor},
    model, read, read_gguf,
};
use r3mes_wgpu::model::{embedding::Embedding, file};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::fs;

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Returns the safetensors file with an additional output head. The bytes of the head are those of the embedding after
/// `change` has changed them.
fn with_head(tensors: &[u8], change: fn(&mut [u8])) -> Vec<u8> {
    let file = SafeTensors::deserialize(tensors).unwrap();
    let embedding = file.tensor(EMBEDDING).unwrap();
    let mut head = embedding.data().to_vec();
    change(&mut head);
    let head = TensorView::new(embedding.dtype(), embedding.shape().to_vec(), &head).unwrap();
    let views = file.iter().map(|(name, view)| (name.to_owned(), view)).chain([(HEAD.to_owned(), head)]);
    safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
}

/// Returns the config file with `value` as the value of `tie_word_embeddings`, which is true in `config`.
fn tied(config: &[u8], value: &str) -> Vec<u8> {
    let (from, to) = ("\"tie_word_embeddings\": true", format!("\"tie_word_embeddings\": {value}"));
    let text = std::str::from_utf8(config).unwrap();
    assert!(text.contains(from));
    text.replace(from, &to).into_bytes()
}

#[test]
fn a_head_is_accepted_only_if_it_is_the_embedding() {
    for name in ["masters_f32", "autobitlinear_bf16"] {
        let (config, pieces) = folder(name);
        let (same, other) = (with_head(&pieces[0], |_| ()), with_head(&pieces[0], |bytes| bytes[5] ^= 1));
        for tie in ["true", "false", "null"] {
            let config = tied(&config, tie);
            assert!(read(&config, std::slice::from_ref(&same)).unwrap() == model(name));
            let error = read(&config, std::slice::from_ref(&other)).unwrap_err().to_string();
            assert!(error.contains(HEAD) && error.contains(EMBEDDING), "{error}");
        }
        let error = read(&tied(&config, "false"), &pieces).unwrap_err().to_string();
        assert!(error.contains("lm_head.weight is missing") && error.contains("tie_word_embeddings"), "{error}");
    }
}

#[test]
fn a_head_of_another_type_is_compared_by_value() {
    let (config, pieces) = folder("autobitlinear_bf16");
    let file = SafeTensors::deserialize(&pieces[0]).unwrap();
    let embedding = file.tensor(EMBEDDING).unwrap();
    let wide: Vec<u8> = embedding.data().chunks_exact(2).flat_map(|two| [0, 0, two[0], two[1]]).collect();
    let head = TensorView::new(Dtype::F32, embedding.shape().to_vec(), &wide).unwrap();
    let views = file.iter().map(|(name, view)| (name.to_owned(), view)).chain([(HEAD.to_owned(), head)]);
    let bytes = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    assert!(read(&config, &[bytes]).unwrap() == model("autobitlinear_bf16"));
}

#[test]
fn only_ternary_models_are_read() {
    let (config, pieces) = folder("masters_f32");
    let text = String::from_utf8(config).unwrap();
    let error = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        read(text.replace(from, to).as_bytes(), &pieces).unwrap_err().to_string()
    };
    assert!(error("\"quantization_config\"", "\"prefix\"").contains("quantization_config is missing"));
    // transformers would use these weights without quantizing them
    assert!(error("\"online\"", "\"offline\"").contains("weight_scale is missing"));
    let entries = "\"quant_method\": \"bitnet\", \"modules_to_not_convert\": [\"lm_head\", \"model.layers.1\"]";
    let message = error("\"quant_method\": \"bitnet\"", entries);
    assert!(message.contains("modules_to_not_convert contains \"model.layers.1\""), "{message}");
    let with_bom = format!("\u{feff}{text}");
    assert!(read(with_bom.as_bytes(), &pieces).unwrap() == model("masters_f32"));
}

fn error(file: &GgufFile) -> String {
    read_gguf(&file.write()).unwrap_err().to_string()
}

#[test]
fn every_name_of_the_architecture_is_read_with_and_without_a_head() {
    let original = GgufFile::parse(&gguf());
    let expected = read_gguf(&gguf()).unwrap();
    assert!(read_gguf(&original.write()).unwrap() == expected);
    for name in ["bitnet-b1.58", "bitnet-25", "bitnet"] {
        let mut file = original.clone().with_architecture("bitnet-b1.58", name);
        assert!(read_gguf(&file.write()).unwrap() == expected, "{name}");
        let head = Tensor { name: "output.weight".into(), ..file.tensor("token_embd.weight").clone() };
        file.tensors.push(head);
        assert!(read_gguf(&file.write()).unwrap() == expected, "{name}");
        file.tensor("output.weight").bytes[7] ^= 1;
        let message = error(&file);
        assert!(message.contains("output.weight") && message.contains("token_embd.weight"), "{message}");
    }
}

#[test]
fn a_k_quantized_embedding_is_decoded() {
    let blocks = fs::read(super::data("k_quants.safetensors")).unwrap();
    let blocks = SafeTensors::deserialize(&blocks).unwrap();
    for (name, kind) in [("Q4_K", 12), ("Q6_K", 14)] {
        let mut file = GgufFile::parse(&gguf());
        let (encoded, values) = (blocks.tensor(name).unwrap(), blocks.tensor(&format!("{name}.values")).unwrap());
        // the fixture has four blocks; each is as long as a row of the embedding, and the embedding has 64 rows
        let embedding = file.tensor("token_embd.weight");
        (embedding.kind, embedding.bytes) = (kind, encoded.data().repeat(16));
        let values: Vec<f32> = values.data().as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        let expected = Embedding::quantize(&values.repeat(16), 256).unwrap();
        assert_eq!(read_gguf(&file.write()).unwrap().embedding, expected, "{name}");
        file.tensor("token_embd.weight").axes = vec![128, 128];
        assert!(error(&file).contains("not a multiple of the block size 256"));
    }
    let mut file = GgufFile::parse(&gguf());
    file.tensor("token_embd.weight").kind = 13;
    assert!(error(&file).contains("Q5_K"));
}

#[test]
fn a_split_file_is_read_from_all_of_its_parts() {
    let [first, second] = GgufFile::parse(&gguf()).split(6);
    let read = |parts: &[&[u8]]| file::read_gguf(parts, &mut |_, _| ());
    let expected = read_gguf(&gguf()).unwrap();
    assert!(read(&[&first, &second]).unwrap() == expected);
    assert!(read(&[&second, &first]).unwrap() == expected);
    for (parts, word) in [
        (&[&first[..]][..], "part 1 of 2"),
        (&[&second], "part 2 of 2"),
        (&[&first, &first], "not the parts of one file"),
        (&[&second, &second], "part 2 of 2"),
        (&[], "no file"),
    ] {
        let error = read(parts).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn metadata_that_changes_the_model_is_refused_by_name() {
    let file = || GgufFile::parse(&gguf());
    for (file, words) in [
        (file().with_float("bitnet-b1.58.rope.scale_linear", 4.0), "rope.scale_linear is 4"),
        (file().with_float("bitnet-b1.58.rope.scaling.factor", 2.0), "rope.scaling.factor is 2"),
        (file().with_text("bitnet-b1.58.rope.scaling.type", "yarn"), "rope.scaling.type is \"yarn\""),
        (file().with_text("bitnet-b1.58.hidden_activation", "silu"), "hidden_activation is \"silu\""),
        (file().with_float("bitnet-b1.58.final_logit_softcapping", 30.0), "final_logit_softcapping is 30"),
        (file().with_integer("bitnet-b1.58.attention.key_length", 32), "rope.dimension_count"),
        (file().with_text("general.type", "adapter"), "LoRA adapter"),
        (file().with_text("adapter.type", "lora"), "LoRA adapter"),
        (file().with_text("general.type", "mmproj"), "general.type is \"mmproj\""),
        (file().with_text("some.program.feature", "on"), "some.program.feature is \"on\""),
    ] {
        let message = error(&file);
        assert!(message.contains(words), "{message}");
    }
    let harmless = file()
        .with_float("bitnet-b1.58.rope.scaling.factor", 1.0)
        .with_float("bitnet-b1.58.rope.scale_linear", 1.0)
        .with_text("bitnet-b1.58.rope.scaling.type", "none")
        .with_text("bitnet-b1.58.hidden_activation", "relu2")
        .with_integer("bitnet-b1.58.attention.key_length", 64)
        .with_integer("bitnet-b1.58.expert_count", 0)
        .with_text("general.type", "model")
        .with_text("general.license.link", "x");
    assert!(read_gguf(&harmless.write()).unwrap() == read_gguf(&gguf()).unwrap());
    let empty = [&b"GGUF\x03\0\0\0"[..], &[0; 16]].concat();
    assert!(read_gguf(&empty).unwrap_err().to_string().contains("no metadata and no tensors"));
}

#[test]
fn scaled_rotary_frequencies_are_refused() {
    let with = |value: f32| {
        let mut file = GgufFile::parse(&gguf());
        let bytes = value.to_le_bytes().repeat(32);
        file.tensors.push(Tensor { name: "rope_freqs.weight".into(), kind: 0, axes: vec![32], bytes });
        file
    };
    assert!(read_gguf(&with(1.0).write()).unwrap() == read_gguf(&gguf()).unwrap());
    assert!(error(&with(8.0)).contains("rope_freqs.weight"));
}

#[test]
fn a_file_of_another_kind_is_recognized() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"PK\x03\x04\0\0", "pickle"),
        (b"<!DOCTYPE html><html>", "web page"),
    ] {
        let (config, pieces) = folder("masters_f32");
        for message in [
            read_gguf(bytes).unwrap_err().to_string(),
            read(&config, &[bytes.to_vec()]).unwrap_err().to_string(),
            read(bytes, &pieces).unwrap_err().to_string(),
        ] {
            assert!(message.contains(word), "{message}");
        }
    }
    let whole = gguf();
    for bytes in [&whole[..300], &whole[..whole.len() - 40]] {
        assert!(read_gguf(bytes).unwrap_err().to_string().contains("truncated"));
    }
    assert!(read_gguf(&changed(&whole, b"GGUF", b"GGML")).unwrap_err().to_string().contains("pass a GGUF file"));
}
