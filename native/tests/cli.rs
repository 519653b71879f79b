//! Tests of the commands `mine`, `verify`, `train`, `quality` and `devices`. They check the output, the exit codes,
//! and the errors for invalid input. They also check that a run that was interrupted or killed can be resumed.

use crate::work_dir::{SMALL_MODEL, WorkDir, accepted};
use r3mes_wgpu::{
    model::{config::ModelConfig, file, generator::seeded},
    protocol::{Artifact, Receipt},
    store::Cid,
    tx::SessionKey,
};
use redb::{Database, ReadableDatabase, TableDefinition};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

/// The reward for an accepted gradient, in micro-units.
const REWARD: u64 = 1_000_000;

#[test]
fn mined_gradients_are_accepted_and_verify_and_tampered_receipts_are_rejected() {
    let work_dir = WorkDir::new("verify");
    let output = work_dir.mine("5").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = accepted(&output.stdout);
    let field = |name: &str| events.iter().map(|event| event[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(field("accepted"), [1, 2, 3, 4, 5]);
    assert_eq!(field("round"), [0, 0, 0, 0, 1]);
    assert_eq!(field("balance"), [1, 2, 3, 4, 5].map(|count| count * REWARD));
    assert!(events.iter().all(|event| event["loss"].as_f64().is_some_and(|loss| loss > 1.0)));

    let receipt = &work_dir.receipts()[0];
    let output = work_dir.verify(receipt);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    // three invalid receipts: one character of the commitment is changed, the miner is another one, or the file is cut
    // in half
    let text = fs::read_to_string(receipt).unwrap();
    let at = text.find("\"commitment\"").unwrap()
        + text[text.find("\"commitment\"").unwrap()..].find("\"bytes\":\"").unwrap()
        + 12;
    let mut changed = text.clone();
    changed.replace_range(at..=at, if text.as_bytes()[at] == b'A' { "B" } else { "A" });
    let miner = Receipt::from_json(&text).unwrap().task().miner.clone();
    let other = text.replace(&miner, SessionKey::new(&[1; 32]).unwrap().address());
    assert_ne!(other, text);
    for (name, text) in [("changed", changed.as_str()), ("other", &other), ("short", &text[..text.len() / 2])] {
        let path = receipt.with_file_name(format!("{name}.json"));
        fs::write(&path, text).unwrap();
        refused(&work_dir.verify(&path));
        fs::remove_file(path).unwrap();
    }
}

/// Checks that `verify` exited with code 4 (result not reproduced), and returns the reason that it printed.
fn refused(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str::<Value>(&stdout).unwrap()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn verify_names_the_block_in_which_a_bit_is_flipped() {
    const BYTES: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("bytes");
    let work_dir = WorkDir::new("flip");
    assert!(work_dir.mine("1").output().unwrap().status.success());
    let file = &work_dir.receipts()[0];
    let receipt = Receipt::from_json(&fs::read_to_string(file).unwrap()).unwrap();
    let store = file.parent().unwrap().with_file_name("blocks.redb");
    let digest = |cid: &Cid| <[u8; 32]>::try_from(cid.hash().digest()).unwrap();
    let block = |cid: &Cid| {
        let database = Database::open(&store).unwrap();
        let blocks = database.begin_read().unwrap().open_table(BYTES).unwrap();
        blocks.get(digest(cid)).unwrap().unwrap().value().to_vec()
    };
    let put = |cid: &Cid, bytes: &[u8]| {
        let write = Database::open(&store).unwrap().begin_write().unwrap();
        write.open_table(BYTES).unwrap().insert(digest(cid), bytes).unwrap();
        write.commit().unwrap();
    };
    let leaves = Artifact::links(&block(&receipt.artifact())).unwrap();
    let others = [receipt.artifact(), receipt.task().chunk, receipt.task().adapter];
    for cid in others.iter().chain([&leaves[0], &leaves[leaves.len() - 1]]) {
        let bytes = block(cid);
        for bit in [0, 4 * bytes.len() + 3, 8 * bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            put(cid, &flipped);
            let reason = refused(&work_dir.verify(file));
            assert!(reason.contains(&cid.to_string()), "bit {bit} of {cid}: {reason}");
        }
        put(cid, &bytes);
    }
    assert_eq!(work_dir.verify(file).status.code(), Some(0), "all blocks are restored");
}

#[test]
fn verify_refuses_a_model_with_a_flipped_bit_unless_it_decodes_to_the_same_model() {
    let work_dir = WorkDir::new("model");
    assert!(work_dir.mine("1").output().unwrap().status.success());
    let receipt = &work_dir.receipts()[0];
    let files = ["config.json", "model.safetensors"].map(|name| work_dir.model().join(name));
    let read = || file::read(&fs::read(&files[0]).unwrap(), &fs::read(&files[1]).unwrap());
    let (model, mut refusals) = (read().unwrap(), 0);
    for path in &files {
        let bytes = fs::read(path).unwrap();
        for bit in (3..8 * bytes.len()).step_by(8 * bytes.len() / 40 + 1) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, flipped).unwrap();
            // the model stays the same if the bit is in a name that is not read, or is lost when the embedding is
            // rounded to int8
            if read().is_ok_and(|read| read == model) {
                assert_eq!(work_dir.verify(receipt).status.code(), Some(0), "bit {bit} of {}", path.display());
            } else {
                refused(&work_dir.verify(receipt));
                refusals += 1;
            }
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(refusals > 20, "{refusals}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_exits_with_130_after_the_current_task_and_the_next_run_continues() {
    let work_dir = WorkDir::new("interrupt");
    let mut child = work_dir.mine("1000").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut printed = Vec::new();
    stdout.read_until(b'\n', &mut printed).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stdout.read_to_end(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let seen = accepted(&printed).len() as u64;
    assert!(printed.ends_with(b"\n") && seen > 0, "the last line is complete");
    let next = accepted(&work_dir.mine("1").output().unwrap().stdout);
    // one more if the interrupted miner did not wait for the verdict on its last gradient
    assert!((seen + 1..=seen + 2).contains(&next[0]["accepted"].as_u64().unwrap()), "{next:?}");
}

#[test]
fn a_closed_stdout_ends_mining_without_an_error() {
    let work_dir = WorkDir::new("pipe");
    let mut child = work_dir.mine("1000").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_until(b'\n', &mut Vec::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_dry_run_prints_the_plan_and_creates_no_ledger() {
    let work_dir = WorkDir::new("dry");
    let output = work_dir.mine("1").arg("--dry-run").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains("CPU") && said.contains("Rewards go to remes1"), "{said}");
    let made = fs::read_dir(work_dir.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(made.into_iter().all(|name| name.ends_with(".key")), "only key files are created");
}

#[test]
fn list_devices_works_with_mine_and_an_unknown_device_exits_with_3() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu")).args(args).output().unwrap();
    let listed = run(&["mine", "--list-devices"]);
    assert!(listed.status.success());
    assert_eq!(listed.stdout, run(&["devices"]).stdout);
    let output = run(&["bench", "--backend", "gpu", "-d", "no such GPU", "-d", "nor this"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such GPU"));
}

#[test]
fn after_kill_9_no_gradient_is_lost_or_counted_twice() {
    let work_dir = WorkDir::new("kill");
    let mut seen = 0;
    for kill in 0..12u64 {
        let mut child = work_dir.mine("1000").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = Vec::new();
        // the kill comes after 0, 1 or 2 accepted gradients of this run and a further delay that varies
        for _ in 0..kill % 3 {
            stdout.read_until(b'\n', &mut printed).unwrap();
        }
        std::thread::sleep(Duration::from_millis(kill * 173 % 500));
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut printed).unwrap();
        if let Some(last) = accepted(&printed).last() {
            let (count, balance) = (last["accepted"].as_u64().unwrap(), last["balance"].as_u64().unwrap());
            assert!(count > seen, "{count} after {seen}");
            assert_eq!(balance, count * REWARD);
            seen = count;
        }
    }
    let output = work_dir.mine("1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = accepted(&output.stdout);
    let count = events[0]["accepted"].as_u64().unwrap();
    assert!(count > seen && seen > 0, "{count} after {seen}");
    assert_eq!(events[0]["balance"].as_u64().unwrap(), count * REWARD);
}

#[test]
fn errors_name_the_bad_input() {
    let work_dir = WorkDir::new("input");
    fs::write(work_dir.text(), "too short").unwrap();
    let output = work_dir.mine("1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("shorter than one chunk"));
    fs::write(work_dir.model().join("model.safetensors"), [0; 100]).unwrap();
    let output = work_dir.mine("1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("model.safetensors"));
    let unknown = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu")).args(["mine", "--no-such-flag"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn the_small_model_equals_the_output_of_the_generator() {
    let config = ModelConfig { vocab: 256, ..ModelConfig::TINY };
    let (config, tensors) = file::write(&seeded(config, [5; 32]).unwrap()).unwrap();
    let stored = |name: &str| fs::read(Path::new(SMALL_MODEL).join(name)).unwrap();
    assert!(config == stored("config.json") && tensors == stored("model.safetensors"));
}

#[test]
fn the_held_out_loss_is_reported_before_between_and_after_steps() {
    let work_dir = WorkDir::new("eval");
    let eval = work_dir.data().with_file_name("eval.txt");
    fs::write(&eval, (0u32..1000).map(|i| b'a' + (i * i / 7 % 26) as u8).collect::<Vec<_>>()).unwrap();
    let train = |eval: &Path, steps: &str| {
        let mut command = work_dir.command("train");
        command.args(["--backend", "cpu", "--rank", "4", "--json", "--steps", steps, "--eval-steps", "2"]);
        command.arg("--eval").arg(eval).arg("--out").arg(work_dir.data()).output().unwrap()
    };
    let evaluations = |output: Output| -> Vec<(u64, f64)> {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let events = lines.filter(|event: &Value| event["event"] == "evaluation");
        let number = |event: &Value, name: &str| event[name].as_f64().unwrap();
        events
            .map(|event| {
                // each byte is a token, and the first of 1000 is not predicted
                let bits = number(&event, "held_out_loss") / std::f64::consts::LN_2 * 999.0 / 1000.0;
                assert!((number(&event, "bits_per_byte") - bits).abs() < 1e-9, "{event}");
                (event["step"].as_u64().unwrap(), bits)
            })
            .collect()
    };
    let first = evaluations(train(&eval, "5"));
    assert_eq!(first.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 2, 4, 5]);
    assert!(first[0].1 > first[3].1 && (7.0..9.0).contains(&first[0].1), "{first:?}");
    // all five steps were done before, so only the evaluation of their adapter is repeated
    assert_eq!(evaluations(train(&eval, "5")), [first[3]]);

    fs::write(&eval, "a").unwrap();
    let output = train(&eval, "5");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has 1 tokens; at least 2 are needed"));
}

#[test]
fn quality_compares_gradients_with_floating_point() {
    let work_dir = WorkDir::new("quality");
    let mut command = work_dir.command("quality");
    let output = command.args(["--backend", "cpu", "--rank", "4", "--steps", "3", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let methods = report["methods"].as_array().unwrap();
    assert_eq!(
        methods.iter().map(|method| method["method"].as_str().unwrap()).collect::<Vec<_>>(),
        ["integers", "f32, one ulp off", "bfloat16"]
    );
    for method in methods {
        let number = |name: &str| method[name].as_f64().unwrap();
        assert!(number("cosine") > 0.99 && (0.9..1.1).contains(&number("norm_ratio")), "{method}");
        assert!(number("loss_gap").abs() < 0.05, "{method}");
        assert_eq!(method["matrices"].as_array().unwrap().len(), report["matrices"].as_array().unwrap().len());
    }
    assert!(report["held_out_loss_f64"].as_f64() < report["held_out_loss_before"].as_f64());
}
