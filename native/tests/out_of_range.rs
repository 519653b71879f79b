//! Tests that commands name the cause if a value leaves the range of the arithmetic. The tests use a model whose logits
//! are too large.

use crate::work_dir::{SMALL_MODEL, WorkDir};
use r3mes_wgpu::model::file;
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// Replaces the model in the work dir by one in which the gains of the final norm are 2^14 times as large.
fn enlarge_logits(work_dir: &WorkDir) {
    let read = |name: &str| fs::read(Path::new(SMALL_MODEL).join(name)).unwrap();
    let mut model = file::read(&read("config.json"), &read("model.safetensors")).unwrap();
    model.final_norm.exponent += 14;
    let (config, tensors) = file::write(&model).unwrap();
    fs::write(work_dir.model().join("config.json"), config).unwrap();
    fs::write(work_dir.model().join("model.safetensors"), tensors).unwrap();
}

/// Runs a command, checks that it fails, and returns what it wrote to stderr.
fn error(mut command: Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    error
}

#[test]
fn logits_out_of_range_are_reported_as_such() {
    let work_dir = WorkDir::new("logits");
    enlarge_logits(&work_dir);
    let mut train = work_dir.command("train");
    train.args(["--backend", "cpu", "--rank", "4", "--learning-rate", "0", "--out"]).arg(work_dir.data().join("out"));
    let mut quality = work_dir.command("quality");
    quality.args(["--backend", "cpu", "--rank", "4", "--steps", "1", "--sequences", "1"]);
    for command in [train, quality] {
        let error = error(command);
        assert!(error.contains("head logits") && error.contains("±710 nats"), "{error}");
        assert!(error.contains("the cause is the model, and no learning rate avoids it"), "{error}");
    }
    let mut generate = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    generate.args(["generate", "--backend", "cpu", "--prompt", "It is", "--model"]).arg(work_dir.model());
    let error = error(generate);
    assert!(error.contains("head logits") && error.contains("±710 nats"), "{error}");

    let output = work_dir.mine("1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let event: Value = serde_json::from_slice(output.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(event["loss"], Value::Null);
    assert!(event["void_reason"].as_str().unwrap().contains("head logits"), "{event}");
}
