//! Tests that `model import` converts every source format and leaves no files behind when it fails, that `model info`
//! reports on an imported model, and that `train` uses an imported model together with its tokenizer.

use crate::work_dir::WorkDir;
use r3mes_wgpu::model::{config::ModelConfig, file, generator::seeded};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Returns the path of a file or folder in the test data of the BitNet importer, such as a model.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bitnet").join(name)
}

/// Runs the program with `args`, followed by each flag and path in `paths`. A path whose flag is empty is a positional
/// argument.
fn run(args: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.args(args);
    for (flag, path) in paths {
        if !flag.is_empty() {
            command.arg(flag);
        }
        command.arg(path);
    }
    command.output().unwrap()
}

fn import(source: &Path, out: &Path) -> Output {
    run(&["model", "import"], &[("", source), ("--out", out)])
}

/// Returns the report of `model info --json` about a model. The report includes the memory that a training step of 40
/// tokens needs.
fn info(model: &Path) -> Value {
    let output = run(&["model", "info", "--json", "--tokens", "40"], &[("", model)]);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns what the program wrote to stderr.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the sorted names of the files in a folder.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_model_format_is_imported_and_keeps_its_cid() {
    let work_dir = WorkDir::new("import");
    let root = work_dir.model().parent().unwrap().join("imported");
    fs::create_dir(&root).unwrap();
    for name in ["masters_bf16_sharded", "masters_f32", "autobitlinear_bf16", "bitlinear_f32", "mixed.gguf"] {
        let out = root.join(name);
        let output = import(&data(name), &out);
        assert!(output.status.success(), "{name}: {}", said(&output));
        let (before, after) = (info(&data(name)), info(&out));
        assert_eq!(before["model"], after["model"], "{name}");
        assert_eq!(format!("model {}\n", after["model"].as_str().unwrap()), String::from_utf8_lossy(&output.stdout));
        assert_eq!(names(&out), ["config.json", "model.safetensors"]);
        let step = &after["step"];
        assert_eq!((step["tokens"].as_u64(), step["fits_webgpu_defaults"].as_bool()), (Some(40), Some(true)));
        assert!(step["largest_binding"]["bytes"].as_u64().unwrap() > 1000);
    }
    assert_eq!(names(&root).len(), 5, "no other files are left");
}

#[test]
fn a_failed_import_leaves_no_files_and_overwrites_none() {
    let work_dir = WorkDir::new("import-fails");
    let root = work_dir.model().parent().unwrap().to_owned();
    let out = root.join("out");
    for (source, word) in [
        (data("no such folder"), "no such folder"),
        (data("tokenizer"), "config.json"),
        (data("make.py"), "GGUF"),
        (work_dir.text(), "GGUF"),
    ] {
        let output = import(&source, &out);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(word), "{}", said(&output));
        assert!(!out.exists() && !root.join("out.partial").exists());
    }
    let before = names(&work_dir.model());
    let output = import(&data("masters_f32"), &work_dir.model());
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("already exists and is not empty"));
    assert_eq!(names(&work_dir.model()), before);
    assert_eq!(run(&["model", "import"], &[]).status.code(), Some(2));
    assert_eq!(run(&["model", "info", "--tokens", "0"], &[("", &out)]).status.code(), Some(2));
    // files left behind by a killed import do not prevent the next import
    fs::create_dir(root.join("out.partial")).unwrap();
    fs::write(root.join("out.partial/model.safetensors"), "half").unwrap();
    assert!(import(&data("masters_f32"), &out).status.success());
    assert!(!root.join("out.partial").exists());
}

#[test]
fn an_index_can_only_name_files_in_its_own_folder() {
    let work_dir = WorkDir::new("index");
    let folder = work_dir.model();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    for name in ["../text.txt", "/etc/hostname", "a/b", "..", ""] {
        let index = format!(r#"{{"weight_map": {{"x": "{name}"}}}}"#);
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        let output = run(&["model", "info"], &[("", &folder)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("may refer only to files in its own folder"), "{}", said(&output));
    }
}

#[test]
fn training_uses_the_tokenizer_that_was_imported_with_the_model() {
    let work_dir = WorkDir::new("tokens");
    let config = ModelConfig { vocab: 1200, ..ModelConfig::TINY };
    let (config, tensors) = file::write(&seeded(config, [5; 32]).unwrap()).unwrap();
    fs::write(work_dir.model().join("config.json"), config).unwrap();
    fs::write(work_dir.model().join("model.safetensors"), tensors).unwrap();
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/moby-dick.txt");
    let text: String = fs::read_to_string(book).unwrap().chars().take(60_000).collect();
    fs::write(work_dir.text(), text).unwrap();
    let train = |model: &Path, out: &str| {
        let (text, out) = (work_dir.text(), work_dir.data().join(out));
        let data = work_dir.data();
        let paths: [(&str, &Path); 4] = [("--model", model), ("--text", &text), ("--out", &out), ("--data-dir", &data)];
        run(&["train", "--backend", "cpu", "--rank", "4", "--steps", "1", "--json"], &paths)
    };
    let output = train(&work_dir.model(), "without");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("a vocabulary of 1200, so reading text needs"), "{}", said(&output));

    fs::copy(data("tokenizer/tokenizer.json"), work_dir.model().join("tokenizer.json")).unwrap();
    let imported = work_dir.data().with_file_name("imported");
    let output = import(&work_dir.model(), &imported);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(names(&imported), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(info(&imported)["tokenizer"], true);
    let output = train(&imported, "with");
    assert!(output.status.success(), "{}", said(&output));
    // 60,000 bytes are 29 chunks if each byte is a token, and about nine with this tokenizer
    let chunks = said(&output).split(" chunks").next().unwrap().rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    assert!((5..15).contains(&chunks), "{chunks}");
    let events =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let losses: Vec<_> = events.filter_map(|event| event["loss"].as_f64()).collect();
    // close to ln 1200 = 7.1, the loss of a uniform guess
    assert!(losses.len() == 1 && (6.0..9.0).contains(&losses[0]), "{losses:?}");

    fs::write(imported.join("tokenizer.json"), "{}").unwrap();
    assert!(said(&train(&imported, "broken")).contains("the tokenizer in"));
}
