//! The binary as its users run it: mined, killed, resumed, verified.

mod place;

use place::{Place, SMALL_MODEL, accepted};
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

const REWARD: u64 = 1_000_000;

#[test]
fn mining_is_accepted_verified_and_tampering_is_told() {
    let place = Place::new("verify");
    let output = place.mine("5").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = accepted(&output.stdout);
    let field = |name: &str| events.iter().map(|event| event[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(field("accepted"), [1, 2, 3, 4, 5]);
    assert_eq!(field("round"), [0, 0, 0, 0, 1]);
    assert_eq!(field("balance"), [1, 2, 3, 4, 5].map(|count| count * REWARD));
    assert!(events.iter().all(|event| event["loss"].as_f64().is_some_and(|loss| loss > 1.0)));

    let receipt = &place.receipts()[0];
    let output = place.verify(receipt);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    // one character of the commitment, another miner, the whole file cut short
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
        refused(&place.verify(&path));
        fs::remove_file(path).unwrap();
    }
}

/// The reason that `verify` gives for its 4.
fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str::<Value>(&said).unwrap()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_flipped_bit_of_any_block_that_a_receipt_rests_on_is_named() {
    const BYTES: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("bytes");
    let place = Place::new("flip");
    assert!(place.mine("1").output().unwrap().status.success());
    let file = &place.receipts()[0];
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
            let reason = refused(&place.verify(file));
            assert!(reason.contains(&cid.to_string()), "bit {bit} of {cid}: {reason}");
        }
        put(cid, &bytes);
    }
    assert_eq!(place.verify(file).status.code(), Some(0), "all is as it was");
}

#[test]
fn a_flipped_bit_of_the_model_is_refused_unless_it_reads_as_the_same_model() {
    let place = Place::new("model");
    assert!(place.mine("1").output().unwrap().status.success());
    let receipt = &place.receipts()[0];
    let files = ["config.json", "model.safetensors"].map(|name| place.model().join(name));
    let read = || file::read(&fs::read(&files[0]).unwrap(), &fs::read(&files[1]).unwrap());
    let (model, mut refusals) = (read().unwrap(), 0);
    for path in &files {
        let bytes = fs::read(path).unwrap();
        for bit in (3..8 * bytes.len()).step_by(8 * bytes.len() / 40 + 1) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, flipped).unwrap();
            // a letter of a name that nothing reads, or less than a unit of the embedding's int8
            if read().is_ok_and(|read| read == model) {
                assert_eq!(place.verify(receipt).status.code(), Some(0), "bit {bit} of {}", path.display());
            } else {
                refused(&place.verify(receipt));
                refusals += 1;
            }
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(refusals > 20, "{refusals}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_after_the_task_and_the_next_run_goes_on() {
    let place = Place::new("interrupt");
    let mut child = place.mine("1000").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    stdout.read_until(b'\n', &mut said).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stdout.read_to_end(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let seen = accepted(&said).len() as u64;
    assert!(said.ends_with(b"\n") && seen > 0, "no line is cut");
    let next = accepted(&place.mine("1").output().unwrap().stdout);
    assert_eq!(next[0]["accepted"].as_u64(), Some(seen + 1));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let place = Place::new("pipe");
    let mut child = place.mine("1000").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_until(b'\n', &mut Vec::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_dry_run_says_what_would_be_and_leaves_no_ledger() {
    let place = Place::new("dry");
    let output = place.mine("1").arg("--dry-run").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains("CPU") && said.contains("Rewards go to remes1"), "{said}");
    let made = fs::read_dir(place.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(made.into_iter().all(|name| name.ends_with(".key")), "nothing but this machine's keys");
}

#[test]
fn devices_are_listed_by_any_command_and_unknown_ones_exit_with_3() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu")).args(args).output().unwrap();
    let listed = run(&["mine", "--list-devices"]);
    assert!(listed.status.success());
    assert_eq!(listed.stdout, run(&["devices"]).stdout);
    let output = run(&["bench", "--backend", "gpu", "-d", "no such GPU", "-d", "nor this"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such GPU"));
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_counts_nothing_twice() {
    let place = Place::new("kill");
    let mut seen = 0;
    for kill in 0..12u64 {
        let mut child = place.mine("1000").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        // after the first, second or no acceptance of this run, then anywhere in what follows
        for _ in 0..kill % 3 {
            stdout.read_until(b'\n', &mut said).unwrap();
        }
        std::thread::sleep(Duration::from_millis(kill * 173 % 500));
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut said).unwrap();
        if let Some(last) = accepted(&said).last() {
            let (count, balance) = (last["accepted"].as_u64().unwrap(), last["balance"].as_u64().unwrap());
            assert!(count > seen, "{count} after {seen}");
            assert_eq!(balance, count * REWARD);
            seen = count;
        }
    }
    let output = place.mine("1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = accepted(&output.stdout);
    let count = events[0]["accepted"].as_u64().unwrap();
    assert!(count > seen && seen > 0, "{count} after {seen}");
    assert_eq!(events[0]["balance"].as_u64().unwrap(), count * REWARD);
}

#[test]
fn bad_input_is_named() {
    let place = Place::new("input");
    fs::write(place.text(), "too short").unwrap();
    let output = place.mine("1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("shorter than one chunk"));
    fs::write(place.model().join("model.safetensors"), [0; 100]).unwrap();
    let output = place.mine("1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("model.safetensors"));
    let unknown = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu")).args(["mine", "--no-such-flag"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn the_small_model_is_what_the_generator_makes() {
    let config = ModelConfig {
        layers: 1,
        width: 32,
        heads: 2,
        kv_heads: 1,
        head_dim: 16,
        ffn_width: 48,
        vocab: 256,
        context: 128,
        rope_theta: 10_000,
        norm_epsilon: 1e-5,
        residual_fraction_bits: 16,
    };
    let (config, tensors) = file::write(&seeded(config, [5; 32]).unwrap()).unwrap();
    let stored = |name: &str| fs::read(Path::new(SMALL_MODEL).join(name)).unwrap();
    assert!(config == stored("config.json") && tensors == stored("model.safetensors"));
}

#[test]
fn a_text_held_out_is_told_of_before_between_and_after_steps() {
    let place = Place::new("eval");
    let eval = place.data().with_file_name("eval.txt");
    fs::write(&eval, (0u32..1000).map(|i| b'a' + (i * i / 7 % 26) as u8).collect::<Vec<_>>()).unwrap();
    let train = |eval: &Path, steps: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["train", "--backend", "cpu", "--rank", "4", "--json", "--steps", steps, "--eval-steps", "2"]);
        command.arg("--model").arg(place.model()).arg("--text").arg(place.text()).arg("--eval").arg(eval);
        command.arg("--out").arg(place.data()).arg("--data-dir").arg(place.data()).output().unwrap()
    };
    let told = |output: Output| -> Vec<(u64, f64)> {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let evaluations = lines.filter(|event: &Value| event["event"] == "evaluation");
        let number = |event: &Value, name: &str| event[name].as_f64().unwrap();
        evaluations
            .map(|event| {
                // a byte is a token here, and the first is not predicted
                let bits = number(&event, "held_out_loss") / std::f64::consts::LN_2 * 999.0 / 1000.0;
                assert!((number(&event, "bits_per_byte") - bits).abs() < 1e-9, "{event}");
                (event["step"].as_u64().unwrap(), bits)
            })
            .collect()
    };
    let first = told(train(&eval, "5"));
    assert_eq!(first.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 2, 4, 5]);
    assert!(first[0].1 > first[3].1 && (7.0..9.0).contains(&first[0].1), "{first:?}");
    // nothing left to do: the same text of the same adapter
    assert_eq!(told(train(&eval, "5")), [first[3]]);

    fs::write(&eval, "a").unwrap();
    let output = train(&eval, "5");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has 1 tokens, at least 2 are needed"));
}

#[test]
fn quality_is_told_beside_floating_point() {
    let place = Place::new("quality");
    let data = place.data();
    let output = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"))
        .args([
            "quality",
            "--backend",
            "cpu",
            "--rank",
            "4",
            "--steps",
            "3",
            "--json",
            "--model",
            SMALL_MODEL,
            "--text",
        ])
        .arg(place.text())
        .arg("--data-dir")
        .arg(data)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ways = report["ways"].as_array().unwrap();
    assert_eq!(
        ways.iter().map(|way| way["way"].as_str().unwrap()).collect::<Vec<_>>(),
        ["integers", "f32 beside", "bfloat16"]
    );
    for way in ways {
        let number = |name: &str| way[name].as_f64().unwrap();
        assert!(number("cosine") > 0.99 && (0.9..1.1).contains(&number("norm_ratio")), "{way}");
        assert!(number("loss_gap").abs() < 0.05, "{way}");
        assert_eq!(way["matrices"].as_array().unwrap().len(), report["matrices"].as_array().unwrap().len());
    }
    assert!(report["held_out_loss_f64"].as_f64() < report["held_out_loss_before"].as_f64());
}
