//! Replicas under real CometBFTs: they agree whatever is killed, and new ones join. `scripts/interop cometbft` runs it.

#![allow(unreachable_pub, reason = "one crate each")]

mod face;
mod liar;
mod network;
mod place;
mod rogue;

use liar::Liar;
use network::{CHAIN, Network, Replica};
use place::accepted;
use r3mes_wgpu::tx::SessionKey;
use rogue::Rogue;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    process::Command,
    time::Duration,
};

/// Moments at which a CometBFT can be told to end: those of `fail.Fail()` in its consensus/state.go and state/execution.go.
const MOMENTS: u32 = 10;

/// What some are given, and what a forger has to lose, in micro-units.
const COINS: u64 = 1_000_000_000;
const STAKE: u64 = 100_000_000;

/// Few blocks to wait for draws, for disputes, and where one that was drawn is dead; no bond, since the miners own nothing.
fn quick(genesis: &mut Value) {
    genesis["params"]["claim_bond"] = json!(0);
    genesis["params"]["draw_blocks"] = json!(1);
    genesis["params"]["challenge_blocks"] = json!(3);
    genesis["params"]["attestation_blocks"] = json!(20);
    genesis["params"]["decision_blocks"] = json!(40);
}

/// That replicas have the same ledger, by what each says of itself and by the headers of the first one.
fn agree(replicas: &[&Replica]) {
    let first = replicas[0];
    let least = first.height();
    for replica in replicas {
        replica.until("as high as the first", |replica| (replica.height() >= least).then_some(()));
        let (height, root) = replica.root().unwrap();
        // a header has the root of the block before
        let header =
            first.until("a header", |first| first.call("header", &json!({ "height": (height + 1).to_string() })));
        let app_hash = header["header"]["app_hash"].as_str().unwrap().to_owned();
        assert_eq!(hex(&root), app_hash, "{} at height {height}", replica.url);
    }
}

/// That a replica that was ended runs new blocks.
fn goes_on(replica: &Replica, first: &Replica) {
    let height = first.height();
    replica.until("goes on", |replica| (replica.height() > height).then_some(()));
}

fn hex(base64: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    data_encoding::HEXUPPER.encode(&BASE64.decode(base64).unwrap())
}

/// That a replica serves the present adapter with all its parts, wherever it was computed.
fn has_the_adapter(replica: &Replica) {
    replica.until("has the present adapter", |replica| {
        let pools = replica.get("/remes/remes/v1/task_pool/active")?;
        let adapter = pools["pools"][0]["adapter"].as_str()?.to_owned();
        replica.bytes(&format!("/ipfs/{adapter}?format=car")).filter(|car| car.len() > 1000).map(drop)
    });
}

/// CosmJS reads and sends there.
fn cosmjs(replica: &Replica) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/browser/replica.mjs");
    let amount = COINS.to_string();
    assert!(Command::new("node").args([script, &replica.url, CHAIN, &amount]).status().unwrap().success());
}

#[test]
#[ignore = "needs a CometBFT: scripts/interop"]
fn cometbft_replicas_agree_whatever_is_killed_and_others_join() {
    let network = Network::new("cometbft", 4, 2, |genesis| {
        quick(genesis);
        genesis["accounts"].as_array_mut().unwrap().push(json!([Rogue::address_of(7), COINS]));
    });
    let start = |at| network.start(at, &[]);
    let (first, second) = (start(0), start(1));
    let (mut third, fourth) = (start(2), start(3));
    first.until("a block", |replica| (replica.height() >= 2).then_some(()));

    // a round, while one of four dies in the middle of it
    let mut mining = network.miner("miner", 0, "5").spawn().unwrap();
    let mut lines = BufReader::new(mining.stdout.take().unwrap());
    let mut said = Vec::new();
    lines.read_until(b'\n', &mut said).unwrap();
    fourth.kill();
    let other = network.miner("other", 1, "1").output().unwrap();
    assert_eq!(accepted(&other.stdout).len(), 1);
    lines.read_to_end(&mut said).unwrap();
    assert!(mining.wait().unwrap().success());
    assert_eq!(accepted(&said).len(), 5);
    first.until("closed a round", |replica| (replica.round() >= 1).then_some(()));
    agree(&[&first, &second, &third]);

    // it comes back
    let fourth = start(3);
    agree(&[&first, &second, &third, &fourth]);
    has_the_adapter(&fourth);

    // its CometBFT at each of the moments of a block that CometBFT's own tests end it at, with the node and without
    third.kill();
    let failing = |index: u32| [("FAIL_TEST_INDEX", index.to_string())];
    third = network.start(2, &failing(0));
    for index in 1..MOMENTS {
        third.engine_ends();
        if index % 2 == 0 {
            third.kill();
            third = network.start(2, &failing(index));
        } else {
            third.engine = network.engine(2, &failing(index));
        }
    }
    third.engine_ends();
    for index in 0..MOMENTS {
        assert!(third.engine_said().contains(&format!("fail-test {index} ")), "it did not end at moment {index}");
    }
    third.engine = network.engine(2, &[]);
    goes_on(&third, &first);

    // the node alone, at any moment
    for pause in [0, 170, 340] {
        std::thread::sleep(Duration::from_millis(pause));
        third.node.kill().unwrap();
        third.node.wait().unwrap();
        third.engine_ends();
        third = start(2);
        goes_on(&third, &first);
    }
    agree(&[&first, &second, &third, &fourth]);

    // one more by every block from the first on
    let fifth = start(4);
    agree(&[&first, &fifth]);
    has_the_adapter(&fifth);

    // and one by a snapshot
    let trusted = first.until("a block to trust", |first| first.call("commit", &json!({ "height": "2" })));
    let hash = trusted["signed_header"]["commit"]["block_id"]["hash"].as_str().unwrap().to_owned();
    let joined = network.start(
        5,
        &[
            ("CMT_STATESYNC_ENABLE", "true".to_owned()),
            ("CMT_STATESYNC_RPC_SERVERS", format!("{},{}", first.rpc, second.rpc)),
            ("CMT_STATESYNC_TRUST_HEIGHT", "2".to_owned()),
            ("CMT_STATESYNC_TRUST_HASH", hash),
            ("CMT_STATESYNC_DISCOVERY_TIME", "5s".to_owned()),
        ],
    );
    agree(&[&first, &joined]);
    has_the_adapter(&joined);
    assert!(joined.call("block", &json!({ "height": "3" })).is_none(), "it has no block from before its snapshot");
    joined.kill();
    let joined = start(5);
    goes_on(&joined, &first);

    // what CosmJS asks is answered by CometBFT, and mining goes on where the snapshot went
    let status = joined.call("status", &json!({})).unwrap();
    assert_eq!(status["node_info"]["network"], CHAIN);
    let rest = |path: &str| joined.get(&format!("/cosmos/base/tendermint/v1beta1/{path}")).unwrap();
    assert_eq!(rest("node_info")["default_node_info"]["network"], CHAIN);
    let header = rest("blocks/latest")["block"]["header"].clone();
    assert_eq!((&header["chain_id"], hex(header["app_hash"].as_str().unwrap()).len()), (&CHAIN.into(), 64));
    let nobody = SessionKey::new(&[77; 32]).unwrap();
    // field 1 is the address
    let asked = [&[0x0A, nobody.address().len() as u8], nobody.address().as_bytes()].concat();
    let data = data_encoding::HEXUPPER.encode(&asked);
    let asked = json!({ "path": "/cosmos.auth.v1beta1.Query/Account", "data": data });
    let unknown = joined.call("abci_query", &asked).unwrap()["response"].clone();
    assert!(unknown["log"].as_str().unwrap().contains("code = NotFound"), "{unknown}");
    assert!(unknown["height"].as_str().unwrap().parse::<u64>().unwrap() > 2);
    cosmjs(&joined);
    let last = network.miner("last", 5, "1").output().unwrap();
    let last = accepted(&last.stdout);
    assert_eq!(last.len(), 1);
    let hash = last[0]["transaction"].as_str().unwrap();
    let found = joined.until("finds the transaction", |joined| {
        let found = joined.call("tx_search", &json!({ "query": format!("tx.hash='{hash}'") }))?;
        (found["total_count"] == "1").then(|| found["txs"][0].clone())
    });
    assert_eq!((found["hash"].as_str(), found["tx_result"]["code"].as_u64()), (Some(hash), Some(0)));
    agree(&[&first, &second, &third, &fourth, &fifth, &joined]);
}

#[test]
#[ignore = "needs a CometBFT: scripts/interop"]
fn cometbft_replicas_bring_down_what_is_forged_though_one_dies_in_the_middle() {
    let network = Network::new("cometbft-forged", 4, 0, |genesis| {
        quick(genesis);
        // nobody is drawn; whoever doubts has the time that the whole game takes
        genesis["params"]["sampling"] = json!(0);
        genesis["params"]["trap_share"] = json!(0);
        genesis["params"]["probation"] = json!(0);
        genesis["params"]["challenge_blocks"] = json!(200);
        genesis["params"]["move_blocks"] = json!(60);
        // one operator can bond what it doubts, so one game is played
        let rich = [genesis["nodes"][0][0].clone(), json!(Rogue::address_of(66))];
        let coins = rich.map(|address| json!([address, COINS]));
        genesis["accounts"].as_array_mut().unwrap().extend(coins);
    });
    let mut replicas: Vec<Replica> = (0..4).map(|at| network.start(at, &[])).collect();
    replicas[0].until("a block", |replica| (replica.height() >= 2).then_some(()));
    let rogue = Rogue::new(&replicas[0].url, &network.place, 66);
    rogue.stake(STAKE, 1).unwrap();
    let (task, _) = rogue.claim().unwrap();
    let mut liar = Liar::new(&network.place, &rogue, &task);
    let id = liar.submit(&rogue);
    replicas[0].until("disputed", |replica| {
        let stored = replica.get(&format!("/remes/remes/v1/stored_gradient/{id}"))?;
        (stored["stored_gradient"]["status"] == "disputed").then_some(())
    });
    replicas.pop().unwrap().kill();
    let said = liar.defend(&rogue, id);
    assert!(said > 3, "a game was played: {said}");
    let replicas: Vec<&Replica> = replicas.iter().collect();
    agree(&replicas);
    let node = replicas[1].get(&format!("/remes/remes/v1/node_registration/{}", rogue.address())).unwrap();
    assert_eq!(node["node_registration"]["stake"], (STAKE / 2).to_string());
}
