//! A miner with several nodes of one chain, some of which do not respond, return wrong data, lose blocks or halt.

mod face;
mod place;
mod proxy;
mod rogue;

use face::Node;
use place::{Place, accepted};
use proxy::{Fate, Proxy};
use r3mes_wgpu::tx::SessionKey;
use rogue::Network;
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

const TXS: &str = "/cosmos/tx/v1beta1/txs";
const REWARD: u64 = 1_000_000;

fn miner(home: &Place, urls: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.args(["mine", "--json", "--backend", "cpu"]).args(urls.iter().flat_map(|url| ["--node", url])).args(more);
    command.arg("--data-dir").arg(home.data());
    command
}

fn mine(name: &str, urls: &[&str], more: &[&str]) -> Output {
    miner(&Place::new(name), urls, more).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stats(node: &Node) -> u64 {
    node.get("/stats")["accepted_total"].as_u64().unwrap()
}

#[test]
fn the_miner_fails_over_from_every_kind_of_bad_node() {
    let place = Place::new("nodes-other");
    let node = Node::start(&place);
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let of = |fate: fn(&str, &[String]) -> Fate| Proxy::start(&node.url, fate).url;
    let bad = [
        closed,
        of(|_, _| Fate::Garbage),
        of(|_, _| Fate::Close),
        of(|_, _| Fate::Answer(500, b"no".to_vec())),
        of(|_, _| Fate::Answer(200, b"{}".to_vec())),
        // a Cosmos node without our routes
        of(|line, _| if line.contains("/r3mes/") { Fate::Answer(404, b"Not Found".to_vec()) } else { Fate::Forward }),
        // cut short
        of(|line, _| if line.contains("model.safetensors") { Fate::Cut } else { Fate::Forward }),
        of(|line, _| if line.contains("/ipfs/") { Fate::Cut } else { Fate::Forward }),
        // it accepts blocks and loses them, or returns other CIDs
        of(|line, before| {
            let stored = before.iter().any(|line| line.contains("/block/put"));
            if stored && line.contains("/ipfs/") { Fate::Answer(404, vec![]) } else { Fate::Forward }
        }),
        of(|line, _| match line.contains("/block/put") {
            true => {
                Fate::Answer(200, br#"{"Key":"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}"#.to_vec())
            }
            false => Fate::Forward,
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
fn a_submission_whose_response_is_lost_counts_once_and_another_node_confirms_it() {
    let place = Place::new("nodes-lost");
    let node = Node::start(&place);
    // the second transaction is the submission: it is executed, but the node does not respond any more
    let first = Proxy::start(&node.url, |line, before| {
        match before.iter().filter(|line| line.starts_with(&format!("POST {TXS}"))).count() {
            0 => Fate::Forward,
            1 if line.starts_with(&format!("POST {TXS}")) => Fate::Lose,
            1 => Fate::Forward,
            _ => Fate::Close,
        }
    });
    let second = Proxy::start(&node.url, |_, _| Fate::Forward);
    let payee = SessionKey::new(&[31; 32]).unwrap();
    let output =
        mine("nodes-lost-miner", &[&first.url, &second.url], &["--max-tasks", "3", "--address", payee.address()]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(accepted(&output.stdout).len(), 3);
    assert_eq!((stats(&node), node.balance(payee.address())), (3, 3 * REWARD));
    assert_eq!(node.bytes("/remes/remes/v1/stored_gradient/4").0, 404, "three submissions, and no more");
    assert!(second.count("POST") > 0, "the other node was used");
}

/// The chain halts for longer than a claim lasts.
#[test]
fn a_halted_chain_is_reported_and_waited_for() {
    let network = Network::new("nodes-halt", &["--rules", "embedded"], |genesis| {
        genesis["params"]["claim_lifetime"] = json!(10);
    });
    let node = &network.node;
    let reputation = Arc::new(AtomicBool::new(true));
    let halted = reputation.clone();
    // it accepts transactions, and produces no block
    let proxy = Proxy::start(&node.url, move |line, before| {
        let sent = before.iter().filter(|line| line.starts_with(&format!("POST {TXS}"))).count();
        match line.starts_with(&format!("POST {TXS}")) && sent > 0 && halted.load(Ordering::SeqCst) {
            true => Fate::Answer(
                200,
                json!({ "tx_response": {
                "height": "0", "code": 0, "raw_log": "", "data": "", "txhash": "",
            } })
                .to_string()
                .into_bytes(),
            ),
            false => Fate::Forward,
        }
    });
    let home = Place::new("nodes-halt-miner");
    let mut command = miner(&home, &[&proxy.url], &["--max-tasks", "2"]);
    let mut mining = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(mining.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = errors.find(|line| line.contains("has produced no block")).unwrap();
    assert!(said.contains("(height") && said.contains("Retrying") && said.contains("pass another --node"), "{said}");
    let asked = proxy.asked().len();
    assert!(asked < 400, "{asked} requests in half a minute: the miner must wait between requests");
    assert!(home.data().join("work.car").exists(), "the work file is kept");
    reputation.store(false, Ordering::SeqCst);
    let rest = std::thread::spawn(move || errors.collect::<Vec<_>>());
    let output = mining.wait_with_output().unwrap();
    let rest = rest.join().unwrap();
    assert!(output.status.success(), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("the claim was lost") && line.contains("expired")), "{rest:?}");
    let events = accepted(&output.stdout);
    assert_eq!((events.len(), stats(node)), (2, 2));
    assert!(events[0]["tokens_per_second"].is_null(), "the same task again, computed before");
    assert_eq!(node.bytes("/remes/remes/v1/stored_gradient/3").0, 404, "nothing was submitted twice");
}

#[test]
fn errors_of_nodes_are_reported() {
    let (place, other) = (Place::new("nodes-wrong"), Place::new("nodes-wrong-other"));
    let node = Node::start(&place);
    fs::write(other.text(), vec![b'x'; 6 * 2048]).unwrap();
    let stranger = Node::start(&other);
    let output = mine("nodes-wrong-1", &[&node.url, &stranger.url], &["--max-tasks", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains(&format!("{} belongs to chain r3mes-local-1 with genesis", stranger.url)));

    let plain = Proxy::start(&node.url, |line, _| match line.contains("/r3mes/") {
        true => Fate::Answer(501, br#"{"code":12,"message":"Not Implemented"}"#.to_vec()),
        false => Fate::Forward,
    });
    let output = mine("nodes-wrong-2", &[&plain.url], &["--max-tasks", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("has no route /r3mes/wgpu/v1/job"), "{}", words(&output));

    let forgetful = Proxy::start(&node.url, |line, before| {
        let stored = before.iter().any(|line| line.contains("/block/put"));
        if stored && line.contains("/ipfs/") { Fate::Answer(404, vec![]) } else { Fate::Forward }
    });
    let output = mine("nodes-wrong-3", &[&forgetful.url], &["--time-limit", "4"]);
    assert!(output.status.success() && accepted(&output.stdout).is_empty(), "{}", words(&output));
    assert!(words(&output).contains("does not return it"), "{}", words(&output));
    assert_eq!((forgetful.count(&format!("POST {TXS}")), stats(&node)), (1, 0), "the claim alone was sent");

    let changed = Proxy::start(&node.url, |line, _| match line.contains("config.json") {
        true => Fate::Answer(200, b"{}".to_vec()),
        false => Fate::Forward,
    });
    let home = Place::new("nodes-wrong-4");
    let output = miner(&home, &[&changed.url], &["--max-tasks", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let kept =
        fs::read_dir(home.data().join("models")).unwrap().flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap());
    assert_eq!(kept.count(), 0, "a wrong model is deleted");
}

#[test]
fn one_key_on_two_machines_is_paid_for_each_gradient_once() {
    let place = Place::new("nodes-two");
    let node = Node::start(&place);
    let homes = [Place::new("nodes-two-a"), Place::new("nodes-two-b")];
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
fn a_session_expires_by_the_chain_s_clock() {
    let place = Place::new("nodes-clock");
    let node = Node::start(&place);
    let job = node.get("/r3mes/wgpu/v1/job");
    // the chain is a year ahead
    let time = job["time"].as_u64().unwrap() + 365 * 86_400;
    let mut ahead = job;
    ahead["time"] = Value::from(time);
    let answer = ahead.to_string().into_bytes();
    let proxy = Proxy::start(&node.url, move |line, _| match line.contains("/wgpu/v1/job") {
        true => Fate::Answer(200, answer.clone()),
        false => Fate::Forward,
    });
    let home = Place::new("nodes-clock-wallet");
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
