//! Tests of the command `verifier`. An outsider runs it: a party other than the node's operator, with its own stake and
//! data folder. The outsider must confirm honest gradients and catch forged ones, and must be slashed if it stays
//! silent.

use crate::node_process::{NodeProcess, claim};
use crate::scripted_miner::TestNetwork;
use crate::work_dir::{WorkDir, accepted};
use r3mes_wgpu::{
    store::Codec,
    tx::{Message, MsgSubmitGradient, SessionKey, Transfer},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// The stake of the verifier under test, in micro-units. It is so much larger than the stake of the node's operator
/// that the tested verifier is sampled for nearly every gradient.
const STAKE: u64 = 900_000_000_000;

/// A verifier that runs in a process of its own. Dropping this value kills the process.
struct VerifierProcess {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Returns a `verifier` command for the node at `url`. The command keeps its data in `home`.
fn command(home: &WorkDir, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.args(["verifier", "--json", "--backend", "cpu", "--node", url]).arg("--data-dir").arg(home.data());
    command
}

impl VerifierProcess {
    /// Starts a verifier with the stake [`STAKE`]. The process is also a proposer: at the end of each round, it adds up
    /// the accepted gradients and computes the next adapter.
    fn start(home: &WorkDir, url: &str) -> Self {
        let mut command = command(home, url);
        command.args(["--proposer", "--stake", &STAKE.to_string()]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns the next event that the verifier prints.
    fn next_event(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Sends a Unix signal to the process. `name` is the option of `kill` for the signal, such as `-INT`.
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Reads the next event and checks that it reports a recomputation. Returns the ID of the gradient and the result,
    /// such as "match".
    fn recomputed(&mut self) -> (u64, String) {
        let event = self.next_event();
        assert_eq!(event["event"], "recomputed", "{event}");
        (event["gradient"].as_u64().unwrap(), event["result"].as_str().unwrap().to_owned())
    }
}

impl Drop for VerifierProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Creates a working directory, and stores an operator key with the secret bytes `secret` in its data folder. Returns
/// the directory and the key.
fn home(name: &str, secret: [u8; 32]) -> (WorkDir, SessionKey) {
    let home = WorkDir::new(name);
    fs::create_dir_all(home.data()).unwrap();
    fs::write(home.data().join("operator.key"), secret).unwrap();
    (home, SessionKey::new(&secret).unwrap())
}

/// Runs `mine` with a new session key in a new working directory, until it exits.
fn mine(name: &str, url: &str, tasks: &str) -> Output {
    WorkDir::new(name).mine_for(url, tasks).output().unwrap()
}

/// Sends `amount` micro-units to the address `to` from the account of the node's operator, which has an initial
/// balance.
fn send(work_dir: &WorkDir, node: &NodeProcess, to: &str, amount: u64) {
    let secret = fs::read(work_dir.data().join("operator.key")).unwrap();
    let operator = SessionKey::new(&secret.try_into().unwrap()).unwrap();
    let transfer = Transfer { from: operator.address().to_owned(), to: to.to_owned(), amount };
    // the node may use this sequence number first, for another transaction of its operator (code 32)
    let sent = (0..20).map(|_| node.signed(&operator, Message::Send(transfer.clone()))).find(|(code, _)| *code != 32);
    assert_eq!(sent, Some((0, String::new())));
}

#[test]
fn a_staked_outsider_confirms_honest_gradients_and_catches_a_forged_one() {
    let (work_dir, (home, key)) = (WorkDir::new("verifier-node"), home("verifier-home", [21; 32]));
    let node = NodeProcess::start(&work_dir);
    send(&work_dir, &node, key.address(), STAKE);
    let mut outsider = VerifierProcess::start(&home, &node.url);
    let registered = outsider.next_event();
    assert_eq!((registered["event"].as_str(), registered["stake"].as_u64()), (Some("registered"), Some(STAKE)));
    let path = format!("/remes/remes/v1/node_registration/{}", key.address());
    assert_eq!(node.get(&path)["node_registration"]["stake"], STAKE.to_string());

    let output = mine("verifier-miner", &node.url, "3");
    assert_eq!(accepted(&output.stdout).len(), 3, "{}", String::from_utf8_lossy(&output.stderr));
    for id in 1..=3 {
        assert_eq!(outsider.recomputed(), (id, "match".to_owned()));
    }

    let forger = SessionKey::new(&[22; 32]).unwrap();
    assert_eq!(node.signed(&forger, claim(&forger, node.next_chunk())), (0, String::new()));
    let held = node.get(&format!("/r3mes/wgpu/v1/tasks/{}", forger.address()))["held"].clone();
    let forged = MsgSubmitGradient {
        miner: forger.address().to_owned(),
        ipfs_hash: Codec::DagCbor.cid(b"nowhere").to_string(),
        gradient_hash: "ab".repeat(32),
        model_version: node.get("/r3mes/wgpu/v1/job")["model"].as_str().unwrap().to_owned(),
        token_count: 2048,
        training_round_id: held["round"].as_u64().unwrap(),
        shard_id: held["shard_id"].as_u64().unwrap(),
        global_seed: held["global_seed"].as_str().unwrap().parse().unwrap(),
        nonce: 1,
        ..Default::default()
    };
    assert_eq!(node.signed(&forger, Message::SubmitGradient(Box::new(forged))), (0, String::new()));
    assert_eq!(outsider.recomputed(), (4, "mismatch".to_owned()));
    assert_eq!((node.settled_gradient(4)["status"].as_str(), node.balance(forger.address())), (Some("rejected"), 0));

    // the verifier reconnects to a node that was restarted
    let port = node.url.rsplit(':').next().unwrap().to_owned();
    drop(node);
    let node = NodeProcess::run(&mut work_dir.node(&port));
    let output = mine("verifier-again", &node.url, "1");
    assert_eq!(accepted(&output.stdout).len(), 1, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(outsider.recomputed(), (5, "match".to_owned()));
    // four accepted gradients complete a round
    assert_eq!(outsider.next_event()["event"], "aggregated");

    outsider.signal("-INT");
    assert_eq!(outsider.process.wait().unwrap().code(), Some(130));
    let output = command(&home, &node.url).arg("--leave").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""event":"left""#));
    assert_eq!(node.bytes(&path).0, 404);
}

#[test]
fn without_coins_nobody_can_register_and_without_stake_nobody_can_leave() {
    let (work_dir, (home, key)) = (WorkDir::new("verifier-poor-node"), home("verifier-poor", [23; 32]));
    let node = NodeProcess::start(&work_dir);
    for (flags, words) in [(&["--max-gradients", "1"][..], "has only 0uremes"), (&["--leave"], "has neither a stake")] {
        let output = command(&home, &node.url).args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(node.sequence(&key), 2, "both transactions are in a block");
}

#[test]
fn a_silent_verifier_is_slashed_and_exits_below_the_minimum_stake() {
    let (home, key) = home("verifier-silent", [24; 32]);
    let account = format!("{}={STAKE}", key.address());
    let network = TestNetwork::new("verifier-network", &["--rules", "embedded", "--account", &account], |genesis| {
        genesis["params"]["attestation_blocks"] = json!(2);
        genesis["params"]["silence_penalty"] = json!(10_000);
    });
    let mut outsider = VerifierProcess::start(&home, &network.node.url);
    assert_eq!(outsider.next_event()["event"], "registered");
    outsider.signal("-STOP");
    // the operator is sampled instead
    let output = mine("verifier-patient", &network.node.url, "1");
    assert_eq!(accepted(&output.stdout).len(), 1, "{}", String::from_utf8_lossy(&output.stderr));
    outsider.signal("-CONT");
    let event = outsider.next_event();
    assert_eq!((event["event"].as_str(), event["amount"].as_u64()), (Some("slashed"), Some(STAKE)), "{event}");
    assert_eq!(outsider.process.wait().unwrap().code(), Some(5));
}
