//! Tests of a miner that uses several nodes of the same chain. Some of the nodes are down, return wrong data, lose
//! stored data, or produce no new blocks. The miner must fail over to another node, and no gradient may be lost or paid
//! twice.

use crate::faulty_proxy::{FaultyProxy, Reply};
use crate::node_process::NodeProcess;
use crate::scripted_miner::TestNetwork;
use crate::work_dir::{WorkDir, accepted};
use r3mes_wgpu::tx::SessionKey;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The method and the path of a request that broadcasts a transaction.
const BROADCAST: &str = "POST /cosmos/tx/v1beta1/txs";
/// The reward for an accepted gradient, in micro-units.
const REWARD: u64 = 1_000_000;

/// Returns a `mine` command for the nodes at `urls`. The command keeps its data in `home`, and `more` are additional
/// arguments.
fn miner(home: &WorkDir, urls: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.args(["mine", "--json", "--backend", "cpu"]).args(urls.iter().flat_map(|url| ["--node", url])).args(more);
    command.arg("--data-dir").arg(home.data());
    command
}

/// Runs `mine` for the nodes at `urls` in a new working directory, until it exits. `more` are additional arguments.
fn mine(name: &str, urls: &[&str], more: &[&str]) -> Output {
    miner(&WorkDir::new(name), urls, more).output().unwrap()
}

/// Returns what the program wrote to stderr.
fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the total number of gradients that the ledger of the node has accepted.
fn stats(node: &NodeProcess) -> u64 {
    node.get("/stats")["accepted_total"].as_u64().unwrap()
}

/// Decides how a proxy replies to a request, so that the proxy acts as a node that accepts blocks without keeping them.
/// `line` is the method and path of the request, and `before` holds the methods and paths of all earlier requests. Once
/// a request has stored a block, every request for a block is answered with the status 404.
fn forget_blocks(line: &str, before: &[String]) -> Reply {
    let stored = before.iter().any(|line| line.contains("/block/put"));
    if stored && line.contains("/ipfs/") { Reply::Answer(404, vec![]) } else { Reply::Forward }
}

#[test]
fn a_miner_fails_over_when_a_node_misbehaves() {
    let work_dir = WorkDir::new("nodes-other");
    let node = NodeProcess::start(&work_dir);
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let of = |decide: fn(&str, &[String]) -> Reply| FaultyProxy::start(&node.url, decide).url;
    let bad = [
        closed,
        of(|_, _| Reply::NotHttp),
        of(|_, _| Reply::Close),
        of(|_, _| Reply::Answer(500, b"no".to_vec())),
        of(|_, _| Reply::Answer(200, b"{}".to_vec())),
        // a Cosmos node without the routes of this project
        of(|line, _| if line.contains("/r3mes/") { Reply::Answer(404, b"Not Found".to_vec()) } else { Reply::Forward }),
        // nodes that return half of a model file, or half of each block
        of(|line, _| if line.contains("model.safetensors") { Reply::TruncateAnswer } else { Reply::Forward }),
        of(|line, _| if line.contains("/ipfs/") { Reply::TruncateAnswer } else { Reply::Forward }),
        // nodes that accept a block without keeping it, or answer with the CID of another block
        of(forget_blocks),
        of(|line, _| match line.contains("/block/put") {
            true => {
                Reply::Answer(200, br#"{"Key":"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}"#.to_vec())
            }
            false => Reply::Forward,
        }),
    ];
    for (kind, bad) in bad.iter().enumerate() {
        let before = stats(&node);
        let output = mine(&format!("nodes-other-{kind}"), &[bad, &node.url], &["--max-tasks", "1"]);
        assert!(output.status.success(), "{kind}: {}", words(&output));
        assert_eq!((accepted(&output.stdout).len(), stats(&node)), (1, before + 1), "{kind}");
    }
}

#[test]
fn a_submission_whose_answer_is_lost_counts_once_and_is_confirmed_by_another_node() {
    let work_dir = WorkDir::new("nodes-lost");
    let node = NodeProcess::start(&work_dir);
    // the second transaction is the submission: the node gets it, but the miner gets no answer to it or to any later
    // request
    let first = FaultyProxy::start(&node.url, |line, before| {
        match before.iter().filter(|line| line.starts_with(BROADCAST)).count() {
            0 => Reply::Forward,
            1 if line.starts_with(BROADCAST) => Reply::DropAnswer,
            1 => Reply::Forward,
            _ => Reply::Close,
        }
    });
    let second = FaultyProxy::start(&node.url, |_, _| Reply::Forward);
    let payee = SessionKey::new(&[31; 32]).unwrap();
    let output =
        mine("nodes-lost-miner", &[&first.url, &second.url], &["--max-tasks", "3", "--address", payee.address()]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(accepted(&output.stdout).len(), 3);
    assert_eq!((stats(&node), node.balance(payee.address())), (3, 3 * REWARD));
    assert_eq!(node.bytes("/remes/remes/v1/stored_gradient/4").0, 404, "there are exactly three submissions");
    assert!(second.count("POST") > 0, "the miner failed over to the other node");
}

/// Checks that a miner reports that the chain has halted, and that it mines on after the chain continues, although its
/// claim has expired by then.
#[test]
fn a_miner_reports_a_halted_chain_and_waits_until_it_continues() {
    let network = TestNetwork::new("nodes-halt", &["--rules", "embedded"], |genesis| {
        genesis["params"]["claim_lifetime"] = json!(10);
    });
    let node = &network.node;
    let halt = Arc::new(AtomicBool::new(true));
    let halted = halt.clone();
    let answer = json!({ "tx_response": { "height": "0", "code": 0, "raw_log": "", "data": "", "txhash": "" } });
    // from the second transaction on, the proxy accepts transactions without forwarding them, so that no block is
    // produced
    let proxy = FaultyProxy::start(&node.url, move |line, before| {
        let sent = before.iter().any(|line| line.starts_with(BROADCAST));
        match sent && line.starts_with(BROADCAST) && halted.load(Ordering::SeqCst) {
            true => Reply::Answer(200, answer.to_string().into_bytes()),
            false => Reply::Forward,
        }
    });
    let home = WorkDir::new("nodes-halt-miner");
    let mut command = miner(&home, &[&proxy.url], &["--max-tasks", "2"]);
    let mut mining = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(mining.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = errors.find(|line| line.contains("has produced no block")).unwrap();
    assert!(
        said.contains("its last block has the height")
            && said.contains("Retrying")
            && said.contains("pass another --node"),
        "{said}"
    );
    let requests = proxy.requests().len();
    assert!(requests < 400, "{requests} requests in half a minute: the miner does not back off");
    assert!(home.data().join("work.car").exists(), "the computed gradient is kept");
    halt.store(false, Ordering::SeqCst);
    let rest = std::thread::spawn(move || errors.collect::<Vec<_>>());
    let output = mining.wait_with_output().unwrap();
    let rest = rest.join().unwrap();
    assert!(output.status.success(), "{rest:?}");
    assert!(
        rest.iter().any(|line| line.contains("claim on the chunk was lost") && line.contains("expired")),
        "{rest:?}"
    );
    let events = accepted(&output.stdout);
    assert_eq!((events.len(), stats(node)), (2, 2));
    assert!(events[0]["tokens_per_second"].is_null(), "the gradient is not computed again");
    assert_eq!(node.bytes("/remes/remes/v1/stored_gradient/3").0, 404, "no gradient was submitted twice");
}

#[test]
fn errors_say_what_is_wrong_with_a_node() {
    let (work_dir, other) = (WorkDir::new("nodes-wrong"), WorkDir::new("nodes-wrong-other"));
    let node = NodeProcess::start(&work_dir);
    fs::write(other.text(), vec![b'x'; 6 * 2048]).unwrap();
    let stranger = NodeProcess::start(&other);
    let output = mine("nodes-wrong-1", &[&node.url, &stranger.url], &["--max-tasks", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains(&format!("{} belongs to chain r3mes-local-1 with the genesis hash", stranger.url)));

    let plain = FaultyProxy::start(&node.url, |line, _| match line.contains("/r3mes/") {
        true => Reply::Answer(501, br#"{"code":12,"message":"Not Implemented"}"#.to_vec()),
        false => Reply::Forward,
    });
    let output = mine("nodes-wrong-2", &[&plain.url], &["--max-tasks", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("has no route /r3mes/wgpu/v1/job"), "{}", words(&output));

    let forgetful = FaultyProxy::start(&node.url, forget_blocks);
    let output = mine("nodes-wrong-3", &[&forgetful.url], &["--time-limit", "4"]);
    assert!(output.status.success() && accepted(&output.stdout).is_empty(), "{}", words(&output));
    assert!(words(&output).contains("does not return it"), "{}", words(&output));
    assert_eq!((forgetful.count(BROADCAST), stats(&node)), (1, 0), "the claim alone was sent");

    let changed = FaultyProxy::start(&node.url, |line, _| match line.contains("config.json") {
        true => Reply::Answer(200, b"{}".to_vec()),
        false => Reply::Forward,
    });
    let home = WorkDir::new("nodes-wrong-4");
    let output = miner(&home, &[&changed.url], &["--max-tasks", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let kept =
        fs::read_dir(home.data().join("models")).unwrap().flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap());
    assert_eq!(kept.count(), 0, "an invalid model is not kept");
}

#[test]
fn one_key_on_two_machines_is_paid_once_for_each_gradient() {
    let work_dir = WorkDir::new("nodes-two");
    let node = NodeProcess::start(&work_dir);
    let homes = [WorkDir::new("nodes-two-a"), WorkDir::new("nodes-two-b")];
    let mining = homes.each_ref().map(|home| {
        fs::create_dir_all(home.data()).unwrap();
        fs::write(home.data().join("session.key"), [33; 32]).unwrap();
        miner(home, &[&node.url], &["--max-tasks", "3"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for child in mining {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        assert_eq!(accepted(&output.stdout).len(), 3);
    }
    let address = SessionKey::new(&[33; 32]).unwrap().address().to_owned();
    assert_eq!(node.balance(&address), stats(&node) * REWARD);
}

#[test]
fn a_session_expires_by_the_clock_of_the_chain_not_of_this_machine() {
    let work_dir = WorkDir::new("nodes-clock");
    let node = NodeProcess::start(&work_dir);
    let job = node.get("/r3mes/wgpu/v1/job");
    // the clock of the chain is a year ahead
    let time = job["time"].as_u64().unwrap() + 365 * 86_400;
    let mut ahead = job;
    ahead["time"] = Value::from(time);
    let answer = ahead.to_string().into_bytes();
    let proxy = FaultyProxy::start(&node.url, move |line, _| match line.contains("/wgpu/v1/job") {
        true => Reply::Answer(200, answer.clone()),
        false => Reply::Forward,
    });
    let home = WorkDir::new("nodes-clock-wallet");
    fs::create_dir_all(home.data()).unwrap();
    let passphrase = home.data().join("passphrase");
    fs::write(&passphrase, "a long enough passphrase").unwrap();
    let wallet = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.arg("wallet").args(args).arg("--json").arg("--data-dir").arg(home.data());
        let output = command.arg("--passphrase-file").arg(&passphrase).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        output.stdout
    };
    wallet(&["new", "--print-mnemonic"]);
    let granted = wallet(&["grant", "--cap", "1", "--expires", "60s", "--node", &proxy.url]);
    let granted: Value = serde_json::from_slice(&granted).unwrap();
    assert_eq!(granted["expires"], r3mes_wgpu::tx::rfc3339(time + 60));
}
