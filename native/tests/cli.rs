//! The binary as its users run it: mined, killed, resumed, verified.

use r3mes_wgpu::model::{config::ModelConfig, file, generator::seeded};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

const REWARD: u64 = 1_000_000;

/// A folder with a small model, a text, and room for data; gone with the value.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = Self(std::env::temp_dir().join(format!("r3mes-cli-{name}-{}", std::process::id())));
        let _ = fs::remove_dir_all(&place.0);
        fs::create_dir_all(place.model()).unwrap();
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
        fs::write(place.model().join("config.json"), config).unwrap();
        fs::write(place.model().join("model.safetensors"), tensors).unwrap();
        let text: Vec<u8> = (0u32..6 * 2048).map(|i| b'a' + (i * i / 7 % 26) as u8).collect();
        fs::write(place.text(), text).unwrap();
        place
    }

    fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    fn text(&self) -> PathBuf {
        self.0.join("text.txt")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn mine(&self, tasks: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["mine", "--json", "--backend", "cpu", "--rank", "4", "--max-tasks", tasks]);
        command.arg("--model").arg(self.model()).arg("--text").arg(self.text());
        command.arg("--data-dir").arg(self.data());
        command
    }

    fn verify(&self, receipt: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["verify", "--json", "--backend", "cpu"]).arg(receipt).arg("--model").arg(self.model());
        command.arg("--data-dir").arg(self.data()).output().unwrap()
    }

    /// Receipts on disk.
    fn receipts(&self) -> Vec<PathBuf> {
        let jobs = fs::read_dir(self.data()).unwrap().map(|job| job.unwrap().path().join("receipts"));
        jobs.filter(|dir| dir.is_dir())
            .flat_map(|dir| fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The accepted events of one run; a line cut short by a kill is none.
fn accepted(stdout: &[u8]) -> Vec<Value> {
    let lines = stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    lines.filter(|event: &Value| event["event"] == "accepted").collect()
}

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

    // one character of the commitment, then the whole file cut short
    let text = fs::read_to_string(receipt).unwrap();
    let at = text.find("\"commitment\"").unwrap()
        + text[text.find("\"commitment\"").unwrap()..].find("\"bytes\":\"").unwrap()
        + 12;
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    let mut changed = text.clone();
    changed.replace_range(at..=at, other);
    for (name, text) in [("changed", changed.as_str()), ("short", &text[..text.len() / 2])] {
        let path = receipt.with_file_name(format!("{name}.json"));
        fs::write(&path, text).unwrap();
        let output = place.verify(&path);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(4), "{name}: {said}");
        assert!(serde_json::from_str::<Value>(&said).unwrap()["reason"].is_string(), "{said}");
    }
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
