//! Tests of replicas that run a real CometBFT. They check that the replicas agree after any of them is killed and
//! while attackers break the rules, that new replicas can join, and that a forged gradient is rejected. `scripts/interop cometbft` runs these tests.

use crate::attacks::{
    self, ROGUE, leave_and_forge, stuffers, submit_garbage, while_blocks_are_filled, withhold_beacon_number,
};
use crate::forger::Forger;
use crate::replicas::{CHAIN, OPERATOR_STAKE, OTHER_COINS, Replica, ReplicaNetwork};
use crate::scripted_miner::{HttpHost, ScriptedMiner};
use crate::work_dir::accepted;
use pollster::block_on;
use r3mes_wgpu::{
    client::Client,
    ledger::VALIDATOR,
    tx::{Message, MsgRegisterNode, SessionKey},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    process::Command,
    time::Duration,
};

/// The number of points at which CometBFT can be made to exit. These are its calls of `fail.Fail()` in
/// consensus/state.go and state/execution.go.
const FAIL_POINTS: u32 = 10;

/// The initial balance of each account that a test uses, in micro-units.
const COINS: u64 = 1_000_000_000;
/// The forger's stake, in micro-units.
const STAKE: u64 = 100_000_000;

/// Edits the rules in the genesis. Shortens the epochs of the beacon, and the deadlines for disputes, attestations and
/// votes. When a test kills a replica, the verifier of this replica misses its deadlines, and the other replicas should
/// not wait long for it. Also sets the bonds of claims to 0, because the miners have no coins.
fn shorten_waits(genesis: &mut Value) {
    genesis["params"]["claim_bond"] = json!(0);
    genesis["params"]["newcomer_bond"] = json!(0);
    genesis["params"]["epoch_blocks"] = json!(3);
    genesis["params"]["challenge_blocks"] = json!(3);
    genesis["params"]["attestation_blocks"] = json!(20);
    genesis["params"]["decision_blocks"] = json!(40);
}

/// Checks that all replicas have the same ledger. Compares the current ledger root of each replica with the ledger root
/// of the first replica at the same height, which is read from a block header.
fn assert_agree(replicas: &[&Replica]) {
    let first = replicas[0];
    let least = first.height();
    for replica in replicas {
        replica.wait_for("block as high as the first replica's", |replica| (replica.height() >= least).then_some(()));
        let (height, root) = replica.root().unwrap();
        // a header contains the ledger root after the previous block
        let header =
            first.wait_for("header", |first| first.call("header", &json!({ "height": (height + 1).to_string() })));
        let app_hash = header["header"]["app_hash"].as_str().unwrap().to_owned();
        assert_eq!(hex(&root), app_hash, "{} at height {height}", replica.url);
    }
}

/// Reads the height of `first`, then waits until `replica`, which was restarted, has passed this height. Panics if that
/// takes too long.
fn assert_makes_progress(replica: &Replica, first: &Replica) {
    let height = first.height();
    replica.wait_for("new block", |replica| (replica.height() > height).then_some(()));
}

fn hex(base64: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    data_encoding::HEXUPPER.encode(&BASE64.decode(base64).unwrap())
}

/// Waits until a replica serves all data of the current adapter, no matter which replica computed the adapter.
fn assert_serves_adapter(replica: &Replica) {
    replica.wait_for("current adapter", |replica| {
        let pools = replica.get("/remes/remes/v1/task_pool/active")?;
        let adapter = pools["pools"][0]["adapter"].as_str()?.to_owned();
        replica.bytes(&format!("/ipfs/{adapter}?format=car")).filter(|car| car.len() > 1000).map(drop)
    });
}

/// Checks that CosmJS can query a replica and send transactions to it.
fn assert_cosmjs_works(replica: &Replica) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/browser/replica.mjs");
    let amount = COINS.to_string();
    assert!(Command::new("node").args([script, &replica.url, CHAIN, &amount]).status().unwrap().success());
}

#[test]
#[ignore = "needs a CometBFT: scripts/interop"]
fn cometbft_replicas_agree_after_kills_and_new_replicas_join() {
    let network = ReplicaNetwork::new("cometbft", 4, 2, |genesis| {
        shorten_waits(genesis);
        genesis["accounts"].as_array_mut().unwrap().push(json!([ScriptedMiner::address_of(7), COINS]));
    });
    let start = |at| network.start(at, &[]);
    let (first, second) = (start(0), start(1));
    let (mut third, fourth) = (start(2), start(3));
    first.wait_for("block", |replica| (replica.height() >= 2).then_some(()));

    // one of four replicas dies in the middle of a round
    let mut mining = network.miner("miner", 0, "5").spawn().unwrap();
    let mut lines = BufReader::new(mining.stdout.take().unwrap());
    let mut output = Vec::new();
    lines.read_until(b'\n', &mut output).unwrap();
    fourth.kill();
    let other = network.miner("other", 1, "1").output().unwrap();
    assert_eq!(accepted(&other.stdout).len(), 1);
    lines.read_to_end(&mut output).unwrap();
    assert!(mining.wait().unwrap().success());
    assert_eq!(accepted(&output).len(), 5);
    first.wait_for("closed round", |replica| (replica.round() >= 1).then_some(()));
    assert_agree(&[&first, &second, &third]);

    // the fourth replica is restarted
    let fourth = start(3);
    assert_agree(&[&first, &second, &third, &fourth]);
    assert_serves_adapter(&fourth);

    // CometBFT exits at each of its fail points; every other time, the node is restarted together with it
    third.kill();
    let failing = |index: u32| [("FAIL_TEST_INDEX", index.to_string())];
    third = network.start(2, &failing(0));
    for index in 1..FAIL_POINTS {
        third.wait_for_engine_exit();
        if index % 2 == 0 {
            third.kill();
            third = network.start(2, &failing(index));
        } else {
            third.engine = network.engine(2, &failing(index));
        }
    }
    third.wait_for_engine_exit();
    for index in 0..FAIL_POINTS {
        assert!(third.engine_log().contains(&format!("fail-test {index} ")), "no exit at fail point {index}");
    }
    third.engine = network.engine(2, &[]);
    assert_makes_progress(&third, &first);

    // the node alone is killed, after varying delays
    for pause in [0, 170, 340] {
        std::thread::sleep(Duration::from_millis(pause));
        third.node.kill().unwrap();
        third.node.wait().unwrap();
        third.wait_for_engine_exit();
        third = start(2);
        assert_makes_progress(&third, &first);
    }
    assert_agree(&[&first, &second, &third, &fourth]);

    // a new replica executes every block from the first on
    let fifth = start(4);
    assert_agree(&[&first, &fifth]);
    assert_serves_adapter(&fifth);

    // another new replica starts from a snapshot
    let trusted = first.wait_for("block to trust", |first| first.call("commit", &json!({ "height": "2" })));
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
    assert_agree(&[&first, &joined]);
    assert_serves_adapter(&joined);
    assert!(joined.call("block", &json!({ "height": "3" })).is_none(), "no block from before the snapshot is kept");
    joined.kill();
    let joined = start(5);
    assert_makes_progress(&joined, &first);

    // the operator of the fifth replica locks a stake, and its CometBFT gets the same voting power
    let key = network.consensus_key(4);
    // an operator that was killed, or that is slow, may have lost a part of its stake
    first.wait_for("voting power of the first operator", |first| {
        let power = first.voting_power(&network.consensus_key(0))?;
        (power == first.stake(network.operator(0).address()) / 1_000_000).then_some(())
    });
    assert_eq!(fifth.voting_power(&key), None);
    let operator = Client::new(HttpHost::new(&fifth.url), network.operator(4));
    let (node_address, stake) = (operator.address().to_owned(), (OTHER_COINS / 2).to_string());
    let message = MsgRegisterNode { node_address, stake, node_type: VALIDATOR as i32, ..Default::default() };
    block_on(operator.send(Message::RegisterNode(message))).unwrap();
    first.wait_for("voting power of the new validator", |first| {
        (first.voting_power(&key)? == first.stake(network.operator(4).address()) / 1_000_000).then_some(())
    });
    first.wait_for("vote of the new validator", |first| {
        let height = first.height().to_string();
        let signatures = first.call("commit", &json!({ "height": height }))?["signed_header"]["commit"]["signatures"]
            .as_array()?
            .iter()
            .filter(|signature| signature["block_id_flag"] == 2)
            .count();
        (signatures == 5).then_some(())
    });
    assert_agree(&[&first, &second, &third, &fourth, &fifth, &joined]);

    // the replica answers CosmJS's requests through its CometBFT, and miners can use it
    let status = joined.call("status", &json!({})).unwrap();
    assert_eq!(status["node_info"]["network"], CHAIN);
    let rest = |path: &str| joined.get(&format!("/cosmos/base/tendermint/v1beta1/{path}")).unwrap();
    assert_eq!(rest("node_info")["default_node_info"]["network"], CHAIN);
    let header = rest("blocks/latest")["block"]["header"].clone();
    assert_eq!((&header["chain_id"], hex(header["app_hash"].as_str().unwrap()).len()), (&CHAIN.into(), 64));
    let nobody = SessionKey::new(&[77; 32]).unwrap();
    // protobuf: the address is field 1
    let asked = [&[0x0A, nobody.address().len() as u8], nobody.address().as_bytes()].concat();
    let data = data_encoding::HEXUPPER.encode(&asked);
    let asked = json!({ "path": "/cosmos.auth.v1beta1.Query/Account", "data": data });
    let unknown = joined.call("abci_query", &asked).unwrap()["response"].clone();
    assert!(unknown["log"].as_str().unwrap().contains("code = NotFound"), "{unknown}");
    assert!(unknown["height"].as_str().unwrap().parse::<u64>().unwrap() > 2);
    assert_cosmjs_works(&joined);
    let last = network.miner("last", 5, "1").output().unwrap();
    let last = accepted(&last.stdout);
    assert_eq!(last.len(), 1);
    let hash = last[0]["transaction"].as_str().unwrap();
    let found = joined.wait_for("transaction in tx_search", |joined| {
        let found = joined.call("tx_search", &json!({ "query": format!("tx.hash='{hash}'") }))?;
        (found["total_count"] == "1").then(|| found["txs"][0].clone())
    });
    assert_eq!((found["hash"].as_str(), found["tx_result"]["code"].as_u64()), (Some(hash), Some(0)));
    assert_agree(&[&first, &second, &third, &fourth, &fifth, &joined]);
}

#[test]
#[ignore = "needs a CometBFT: scripts/interop"]
fn cometbft_replicas_reject_a_forged_gradient_although_one_dies_during_the_dispute() {
    let network = ReplicaNetwork::new("cometbft-forged", 4, 0, |genesis| {
        shorten_waits(genesis);
        // no verifier is sampled, and a challenger has time for all moves of a dispute
        genesis["params"]["sampling"] = json!(0);
        genesis["params"]["trap_share"] = json!(0);
        genesis["params"]["probation"] = json!(0);
        genesis["params"]["challenge_blocks"] = json!(200);
        genesis["params"]["move_blocks"] = json!(60);
        // only one operator can pay the bond of a dispute, so that only one dispute is opened
        let rich = [genesis["nodes"][0][0].clone(), json!(ScriptedMiner::address_of(66))];
        let coins = rich.map(|address| json!([address, COINS]));
        genesis["accounts"].as_array_mut().unwrap().extend(coins);
    });
    let mut replicas: Vec<Replica> = (0..4).map(|at| network.start(at, &[])).collect();
    replicas[0].wait_for("block", |replica| (replica.height() >= 2).then_some(()));
    let rogue = ScriptedMiner::new(&replicas[0].url, &network.work_dir, 66);
    rogue.stake(STAKE, 1).unwrap();
    let (task, _) = rogue.claim().unwrap();
    let mut forger = Forger::new(&network.work_dir, &rogue, &task);
    let id = forger.submit(&rogue);
    replicas[0].wait_for("dispute", |replica| {
        let stored = replica.get(&format!("/remes/remes/v1/stored_gradient/{id}"))?;
        (stored["stored_gradient"]["status"] == "disputed").then_some(())
    });
    replicas.pop().unwrap().kill();
    let sent = forger.defend(&rogue, id);
    assert!(sent > 3, "the forger sent only {sent} messages");
    let replicas: Vec<&Replica> = replicas.iter().collect();
    assert_agree(&replicas);
    assert_eq!(replicas[1].stake(rogue.address()), STAKE / 2);
}

/// Checks that attackers who fill blocks, submit garbage, withhold a number from the beacon, or leave and come back do
/// not make replicas disagree, and cost no operator any of its stake.
#[test]
#[ignore = "needs a CometBFT: scripts/interop"]
fn cometbft_replicas_agree_through_attacks_on_the_rules() {
    let network = ReplicaNetwork::new("cometbft-attacks", 4, 0, |genesis| {
        shorten_waits(genesis);
        let params = &mut genesis["params"];
        params["epoch_blocks"] = json!(15);
        params["attestation_blocks"] = json!(60);
        params["min_stake"] = json!(1_000_000);
        params["newcomer_bond"] = json!(100_000);
        params["unbonded_work_bits"] = json!(0);
        let accounts = genesis["accounts"].as_array_mut().unwrap();
        accounts.extend(stuffers());
        accounts.extend([ROGUE, 7].map(|number| json!([ScriptedMiner::address_of(number), COINS])));
    });
    let replicas: Vec<Replica> = (0..4).map(|at| network.start(at, &[])).collect();
    let first = &replicas[0];
    first.wait_for("block", |replica| (replica.height() >= 2).then_some(()));

    let taken = (100..108).filter(|number| submit_garbage(&first.url, *number, u64::from(*number % 4)) == 0);
    assert_eq!(taken.count(), 1);
    let mut rogue = ScriptedMiner::new(&replicas[1].url, &network.work_dir, ROGUE);
    withhold_beacon_number(&rogue);
    let mut honest = ScriptedMiner::new(&replicas[3].url, &network.work_dir, 7);
    let submitted = while_blocks_are_filled(&replicas[2].url, CHAIN, || {
        let (task, held, artifact) = honest.claim_and_compute();
        let id = honest.submit_without_waiting(&task, &held, &artifact);
        let height = first.height() + 10;
        first.wait_for("ten further blocks", |first| (first.height() >= height).then_some(()));
        id
    });
    let status = honest.settled(submitted).status;
    assert!(["accepted", "settled"].contains(&status.as_str()), "{status}");
    first.wait_for("penalty", |first| (first.stake(rogue.address()) < attacks::COINS).then_some(()));
    assert_eq!(leave_and_forge(&mut rogue).status, "rejected");
    for at in 0..4 {
        assert_eq!(first.stake(network.operator(at).address()), OPERATOR_STAKE, "the operator of replica {at}");
    }
    assert_agree(&replicas.iter().collect::<Vec<_>>());
}
