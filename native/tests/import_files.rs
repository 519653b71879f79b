//! Tests that the program finds a model in the files of a folder, and that, for a file that is not a model, the error
//! message says what kind of file it is. Also tests that `train` uses the whole training text even if the tokenizer
//! file sets a maximum length.

use crate::work_dir::WorkDir;
use r3mes_wgpu::model::{config::ModelConfig, file, generator::seeded};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The folder with the test data of the BitNet importer.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bitnet");

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the CID of the model at `source`, or the error output if the program refuses the model.
fn cid(source: &Path) -> Result<String, String> {
    let output = run(&["model", "info", "--json", "--tokens", "8", source.to_str().unwrap()]);
    if !output.status.success() {
        return Err(said(&output));
    }
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    Ok(info["model"].as_str().unwrap().to_owned())
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Splits `mixed.gguf` into two parts, as `gguf-split` does: the first has all metadata and no tensors, and the second
/// has all tensors. Each part states its own number and the total number of parts.
fn parts() -> [Vec<u8>; 2] {
    let bytes = fs::read(Path::new(DATA).join("mixed.gguf")).unwrap();
    let entry = |key: &str, value: u16| [text(key), 2u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat();
    let split = |number: u16| [entry("split.no", number), entry("split.count", 2)].concat();
    let first_tensor = text("token_embd.weight");
    let tensors = bytes.windows(first_tensor.len()).position(|window| window == first_tensor).unwrap();
    let count = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let head =
        |tensors: u64, values: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &values.to_le_bytes()].concat();
    let metadata = [head(0, count(16) + 2), bytes[24..tensors].to_vec(), split(0)].concat();
    // a metadata text of a suitable length keeps the data of the tensors aligned
    let start = |length: usize| {
        let filler = [text("split.note"), 8u32.to_le_bytes().to_vec(), text(&"x".repeat(length))].concat();
        [head(count(8), 3), split(1), filler].concat()
    };
    let aligned = (0..32).map(start).find(|start| start.len() % 32 == tensors % 32).unwrap();
    [metadata, [aligned, bytes[tensors..].to_vec()].concat()]
}

#[test]
fn a_folder_with_only_a_gguf_file_is_a_model() {
    let work_dir = WorkDir::new("only-gguf");
    let folder = work_dir.data();
    fs::create_dir(&folder).unwrap();
    let expected = cid(&Path::new(DATA).join("mixed.gguf")).unwrap();
    fs::copy(Path::new(DATA).join("mixed.gguf"), folder.join("ggml-model-i2_s.gguf")).unwrap();
    assert_eq!(cid(&folder).unwrap(), expected);
    let out = folder.with_file_name("imported");
    let output = run(&["model", "import", folder.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(cid(&out).unwrap(), expected);
    fs::copy(Path::new(DATA).join("mixed.gguf"), folder.join("other.gguf")).unwrap();
    let error = cid(&folder).unwrap_err();
    assert!(error.contains("pass the path of one of these: ggml-model-i2_s.gguf, other.gguf"), "{error}");
}

#[test]
fn all_parts_of_a_split_gguf_file_are_read() {
    let work_dir = WorkDir::new("split");
    let folder = work_dir.data();
    fs::create_dir(&folder).unwrap();
    let [first, second] = parts();
    let name = |number: u32| folder.join(format!("model-{number:05}-of-00002.gguf"));
    fs::write(name(1), &first).unwrap();
    assert!(cid(&name(1)).unwrap_err().contains("model-00002-of-00002.gguf"));
    fs::write(name(2), second).unwrap();
    let expected = cid(&Path::new(DATA).join("mixed.gguf")).unwrap();
    for path in [name(1), name(2), folder.clone()] {
        assert_eq!(cid(&path).unwrap(), expected);
    }
    let renamed = folder.join("renamed.gguf");
    fs::write(&renamed, first).unwrap();
    assert!(cid(&renamed).unwrap_err().contains("part 1 of 2"));
}

#[test]
fn a_file_of_another_kind_is_named_with_its_path() {
    let work_dir = WorkDir::new("kinds");
    let folder = work_dir.model();
    let tensors = folder.join("model.safetensors");
    let whole = fs::read(&tensors).unwrap();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1179999999\n";
    for (bytes, word) in [
        (&lfs[..], "git lfs pull"),
        (b"", "empty"),
        (b"<!doctype html>", "web page"),
        (b"PK\x03\x04", "pickle"),
        (&whole[..whole.len() - 1], "truncated"),
    ] {
        fs::write(&tensors, bytes).unwrap();
        let error = cid(&folder).unwrap_err();
        assert!(error.contains("model.safetensors") && error.contains(word), "{error}");
    }
    fs::remove_file(&tensors).unwrap();
    fs::write(folder.join("pytorch_model.bin"), b"PK\x03\x04").unwrap();
    let error = cid(&folder).unwrap_err();
    assert!(error.contains("pytorch_model.bin is a pickle"), "{error}");

    let adapter = folder.join("lora.gguf");
    fs::write(&adapter, [&b"GGUF\x03\0\0\0"[..], &[0; 16]].concat()).unwrap();
    let error = said(&run(&["adapter", "inspect", adapter.to_str().unwrap()]));
    assert!(error.contains("LoRA adapters in this format are not read"), "{error}");
    assert!(cid(&adapter).unwrap_err().contains("no metadata and no tensors"));
    fs::write(folder.join("adapter_config.json"), "{}").unwrap();
    fs::write(folder.join("adapter_model.bin"), "PK").unwrap();
    let error = said(&run(&["adapter", "inspect", folder.to_str().unwrap()]));
    assert!(error.contains("save_pretrained of PEFT"), "{error}");
}

/// Returns the number of chunks into which `train` splits the text in the work dir, or its error output if it fails.
/// `train` uses a copy of the program's bundled tokenizer, which `change` has edited.
fn chunks(work_dir: &WorkDir, name: &str, change: impl FnOnce(&mut serde_json::Value)) -> Result<u32, String> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
    let (folder, data): (PathBuf, PathBuf) = (work_dir.data().with_file_name(name), work_dir.data());
    fs::create_dir_all(&folder).unwrap();
    let sizes = ModelConfig { vocab: 1024, ..ModelConfig::TINY };
    let (config, tensors) = file::write(&seeded(sizes, [5; 32]).unwrap()).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    fs::write(folder.join("model.safetensors"), tensors).unwrap();
    fs::write(folder.join("eval.txt"), "Call me Ishmael.").unwrap();
    let mut tokenizer = serde_json::from_slice(&fs::read(bundled.join("tokenizer.json")).unwrap()).unwrap();
    change(&mut tokenizer);
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let paths = [folder.clone(), work_dir.text(), data, folder.join("out"), folder.join("eval.txt")];
    let [model, text, data, out, eval] = paths.map(|path| path.to_str().unwrap().to_owned());
    let flags = ["train", "--backend", "cpu", "--rank", "4", "--steps", "0", "--model", &model, "--text", &text];
    let output = run(&[&flags[..], &["--eval", &eval, "--data-dir", &data, "--out", &out]].concat());
    let error = said(&output);
    let Some((before, _)) = error.split_once(" chunks;") else { return Err(error) };
    Ok(before.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_tokenizer_file_never_shortens_the_text() {
    let work_dir = WorkDir::new("whole-text");
    let book = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/moby-dick.txt")).unwrap();
    fs::write(work_dir.text(), &book[..60_000]).unwrap();
    let truncation =
        serde_json::json!({"direction": "Right", "max_length": 4096, "strategy": "LongestFirst", "stride": 0});
    let token = |id: u32| {
        serde_json::json!([{
            "id": id, "content": "<|pad|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }])
    };
    assert_eq!(chunks(&work_dir, "truncation", |file| file["truncation"] = truncation).unwrap(), 11);
    assert_eq!(chunks(&work_dir, "added", |file| file["added_tokens"] = token(1024)).unwrap(), 11);
    fs::write(work_dir.text(), [&book[..60_000], b"<|pad|>"].concat()).unwrap();
    let error = chunks(&work_dir, "used", |file| file["added_tokens"] = token(1024)).unwrap_err();
    assert!(error.contains("the token \"<|pad|>\" with the ID 1024"), "{error}");
}
