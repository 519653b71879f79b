//! Tests of the commands `adapter` and `generate`. They check that `adapter` can inspect, merge, export and import
//! adapters, and can read them from checkpoints, from folders in PEFT's format, from the ledger in a data folder, and
//! from running nodes. They also check that `generate` applies an adapter to the model.

use crate::node_process::NodeProcess;
use crate::work_dir::{SMALL_MODEL, WorkDir};
use prost::Message;
use r3mes_wgpu::{
    model::peft::{self, GradientPackage},
    protocol::Receipt,
    training::checkpoint,
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder with the subfolders `model` and `adapter`: a model, and an adapter of this model in PEFT's format.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/peft");

/// Runs the program. Returns its stdout if it exits with code 0, otherwise an error with its exit code and stderr.
fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu")).args(args).output().unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        code => Err(format!("{code:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn adapter<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<String, String> {
    run(["adapter"].into_iter().chain(args))
}

/// Returns the report of `adapter inspect --json` about the adapter at `source`, a path or a URL.
fn inspect(source: &str) -> Value {
    serde_json::from_str(&adapter(["inspect", "--json", source]).unwrap()).unwrap()
}

/// Trains an adapter of a small test model up to optimizer step `steps`, and stores its checkpoint in the folder `out`.
fn train(work_dir: &WorkDir, out: &Path, steps: &str) -> Result<String, String> {
    let (out, data) = (out.to_str().unwrap(), work_dir.data());
    let (text, data) = (work_dir.text(), data.to_str().unwrap().to_owned());
    let flags = ["train", "--backend", "cpu", "--rank", "4", "--steps", steps, "--model", SMALL_MODEL];
    run(flags.into_iter().chain(["--text", text.to_str().unwrap(), "--out", out, "--data-dir", &data]))
}

fn read(checkpoint: &Path) -> r3mes_wgpu::numbers::lora::LoraAdapter {
    checkpoint::read(&fs::read(checkpoint).unwrap()).unwrap().0
}

/// Returns the path of `name` in the working directory, as a string for the command line.
fn path_in(work_dir: &WorkDir, name: &str) -> String {
    work_dir.data().with_file_name(name).to_str().unwrap().to_owned()
}

#[test]
fn an_adapter_survives_peft_export_and_import_and_can_be_trained_further() {
    let work_dir = WorkDir::new("adapter-peft");
    let [trained, exported, imported] = ["trained", "exported", "imported"].map(|name| path_in(&work_dir, name));
    train(&work_dir, Path::new(&trained), "2").unwrap();
    adapter(["export", &trained, "--out", &exported]).unwrap();
    let file = format!("{imported}/checkpoint.safetensors");
    adapter(["import", &exported, "--out", &file, "--model", SMALL_MODEL]).unwrap();
    // parameters as small as these lose no bit in f32
    assert_eq!(read(Path::new(&file)), read(&Path::new(&trained).join("checkpoint.safetensors")));
    for (source, kind, steps) in
        [(&trained, "a checkpoint", Some(2)), (&exported, "a PEFT adapter", None), (&imported, "a checkpoint", Some(0))]
    {
        let report = inspect(source);
        assert_eq!((report["kind"].as_str().unwrap(), report["steps"].as_u64()), (kind, steps));
        assert_eq!(
            (report["rank"].as_u64(), report["alpha"].as_u64(), report["layers"].as_u64()),
            (Some(4), Some(8), Some(1))
        );
        // rank 4 · 4 bytes per parameter · the sum of in + out features over q, k, v, o, gate, up and down
        assert_eq!(report["bytes"].as_u64(), Some(4 * 4 * (64 + 48 + 48 + 64 + 3 * 80)));
    }
    train(&work_dir, Path::new(&imported), "1").unwrap();
    assert_eq!(inspect(&imported)["steps"].as_u64(), Some(1));
    // files that exist are not overwritten
    for again in [["export", &trained, "--out", &exported], ["import", &exported, "--out", &file]] {
        assert!(adapter(again).unwrap_err().contains("already exists"));
    }
}

#[test]
fn an_adapter_of_some_linear_layers_can_be_trained_further() {
    let work_dir = WorkDir::new("adapter-subset");
    let [trained, exported, imported] = ["trained", "exported", "imported"].map(|name| path_in(&work_dir, name));
    train(&work_dir, Path::new(&trained), "1").unwrap();
    // keep the factors of two linear layers, and name the layers by a regular expression
    let mut subset = read(&Path::new(&trained).join("checkpoint.safetensors"));
    subset.matrices.retain(|matrix| matrix.name.contains("attention.q") || matrix.name.contains("attention.v"));
    let (config, tensors) = peft::write(&subset, "").unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["target_modules"] = r".*\.(q|v)_proj".into();
    fs::create_dir(&exported).unwrap();
    fs::write(format!("{exported}/adapter_config.json"), config.to_string()).unwrap();
    fs::write(format!("{exported}/adapter_model.safetensors"), tensors).unwrap();

    let checkpoint = format!("{imported}/checkpoint.safetensors");
    adapter(["import", &exported, "--out", &checkpoint, "--model", SMALL_MODEL]).unwrap();
    let before = read(Path::new(&checkpoint));
    train(&work_dir, Path::new(&imported), "1").unwrap();
    let report = inspect(&imported);
    assert_eq!(report["steps"].as_u64(), Some(1));
    assert_eq!(report["target_modules"], serde_json::json!(["q_proj", "v_proj"]));
    let after = read(Path::new(&checkpoint));
    assert!(after.matrices.len() == 4 && after.matrices[0].values != before.matrices[0].values);
    // an adapter of another model is refused
    let (data, text) = (work_dir.data(), work_dir.text());
    let flags = ["train", "--backend", "cpu", "--rank", "4", "--steps", "2", "--out", &imported];
    let paths = ["--text", text.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let model = format!("{FIXTURE}/model");
    let error = run(flags.into_iter().chain(paths).chain(["--model", &model])).unwrap_err();
    assert!(error.contains("does not fit the model"), "{error}");
}

#[test]
fn inspect_compares_sizes_with_named_baselines() {
    let text = adapter(["inspect", &format!("{FIXTURE}/adapter"), "--model", &format!("{FIXTURE}/model")]).unwrap();
    println!("{text}");
    assert!(
        text.contains("0.031 MB in f32") && text.contains("q_proj k_proj v_proj o_proj gate_proj up_proj down_proj")
    );
    // rank 4 on 2B4T: 30 · 4 · 45,056 parameters, compared with 2,412,820,480 parameters in bf16
    assert!(text.contains("BitNet b1.58 2B4T at this rank: a gradient in int8, 5.156 MB, 99.88 % less"), "{text}");
    assert!(text.contains("at least the 99.6 % promised"));
    let error = adapter(["inspect", &format!("{FIXTURE}/adapter"), "--model", SMALL_MODEL]).unwrap_err();
    assert!(error.contains("layers.0.attention.q.a [4, 32], found layers.0.attention.q.a [4, 64]"), "{error}");
}

#[test]
fn merge_computes_the_weighted_mean() {
    let work_dir = WorkDir::new("adapter-merge");
    let [one, two, mean] = ["one", "two", "mean/checkpoint.safetensors"].map(|name| path_in(&work_dir, name));
    train(&work_dir, Path::new(&one), "1").unwrap();
    train(&work_dir, Path::new(&two), "2").unwrap();
    adapter(["merge", &mean, &one, &two, "--weights", "3,1"]).unwrap();
    let [one_read, two_read] = [&one, &two].map(|folder| read(&Path::new(folder).join("checkpoint.safetensors")));
    for ((mean, one), two) in read(Path::new(&mean)).matrices.iter().zip(&one_read.matrices).zip(&two_read.matrices) {
        for ((&mean, &one), &two) in mean.values.iter().zip(&one.values).zip(&two.values) {
            let exact = (3.0 * f64::from(one) + f64::from(two)) / 4.0;
            assert_eq!(f64::from(mean), exact.round_ties_even());
        }
    }
    let other = format!("{FIXTURE}/adapter");
    let nowhere = path_in(&work_dir, "nowhere");
    assert!(adapter(["merge", &nowhere, &one, &other]).unwrap_err().contains("matrices of an adapter"));
    assert!(adapter(["merge", &nowhere, &one, &two, "--weights", "1"]).unwrap_err().contains("--weights"));
}

#[test]
fn the_adapter_of_a_job_and_an_accepted_gradient_can_be_exported() {
    let work_dir = WorkDir::new("adapter-job");
    assert!(work_dir.mine("5").output().unwrap().status.success());
    let data = work_dir.data();
    let data = data.to_str().unwrap();
    let report = inspect(data);
    assert_eq!((report["kind"].as_str().unwrap(), report["steps"].as_u64()), ("a job's adapter", Some(1)));

    let receipt = work_dir.receipts().remove(0);
    let cid = receipt.file_stem().unwrap().to_str().unwrap();
    let out = path_in(&work_dir, "package");
    let export = ["export", cid, "--format", "gradient-package", "--out", &out, "--round", "7", "--data-dir", data];
    adapter(export).unwrap();
    let package =
        GradientPackage::decode(&fs::read(PathBuf::from(out).join("gradient_package.pb")).unwrap()[..]).unwrap();
    assert!(package.gradients.is_sorted_by(|a, b| a.name < b.name) && package.gradients.len() == 14);
    assert_eq!(package.training_round_id, 7);
    assert!(package.miner_address.starts_with("remes1"), "{}", package.miner_address);
    let receipt = Receipt::from_json(&fs::read_to_string(receipt).unwrap()).unwrap();
    assert_eq!(package.metadata["artifact"], receipt.artifact().to_string());
    assert_eq!(package.metadata["commitment"], receipt.commitment().to_string());

    // the same adapter, read from a node
    let node = NodeProcess::start(&work_dir);
    let through = path_in(&work_dir, "through");
    adapter(["export", &node.url, "--out", &through]).unwrap();
    drop(node);
    let direct = path_in(&work_dir, "direct");
    adapter(["export", data, "--out", &direct]).unwrap();
    let tensors = |folder: &str| fs::read(Path::new(folder).join("adapter_model.safetensors")).unwrap();
    assert!(tensors(&through) == tensors(&direct));
}

#[test]
fn an_invalid_adapter_source_is_named_in_the_error() {
    let work_dir = WorkDir::new("adapter-none");
    let nowhere = path_in(&work_dir, "nowhere");
    assert!(adapter(["inspect", &nowhere]).unwrap_err().contains("nowhere"));
    let text = work_dir.text();
    assert!(adapter(["inspect", text.to_str().unwrap()]).unwrap_err().contains("text.txt"));
    let model = work_dir.model();
    assert!(adapter(["inspect", model.to_str().unwrap()]).unwrap_err().contains("adapter_config.json"));
    assert!(adapter(["inspect", "http://127.0.0.1:1"]).unwrap_err().contains("http://127.0.0.1:1"));
    assert!(adapter(["merge", &nowhere]).unwrap_err().contains("Some(2)"));
}

/// Runs `generate` with a fixed prompt and with the additional arguments `more`. Returns the text that it generates.
fn generate(work_dir: &WorkDir, more: &[&str]) -> Result<String, String> {
    let data = work_dir.data().to_str().unwrap().to_owned();
    let flags = ["generate", "--backend", "cpu", "--model", SMALL_MODEL, "--data-dir", &data, "--json"];
    let flags = flags.into_iter().chain(["--prompt", "It is a way I have", "--max-tokens", "200"]);
    let event: Value = serde_json::from_str(&run(flags.chain(more.iter().copied()))?).unwrap();
    assert_eq!(event["tokens"], 200);
    Ok(event["text"].as_str().unwrap().to_owned())
}

#[test]
fn generated_text_depends_on_the_seed_and_the_adapter() {
    let work_dir = WorkDir::new("generate");
    let trained = path_in(&work_dir, "trained");
    train(&work_dir, Path::new(&trained), "3").unwrap();
    let plain = generate(&work_dir, &["--seed", "1"]).unwrap();
    assert_eq!(generate(&work_dir, &["--seed", "1", "--threads", "1"]).unwrap(), plain);
    assert_ne!(generate(&work_dir, &["--seed", "2"]).unwrap(), plain);
    assert_ne!(generate(&work_dir, &["--seed", "1", "--adapter", &trained]).unwrap(), plain);
    let likeliest = |seed| generate(&work_dir, &["--temperature", "0", "--seed", seed]).unwrap();
    assert_eq!(likeliest("1"), likeliest("2"));
    for wrong in [["--temperature", "-1"], ["--adapter", "/nowhere"], ["--prompt", ""]] {
        assert!(generate(&work_dir, &wrong).is_err(), "{wrong:?}");
    }
}
