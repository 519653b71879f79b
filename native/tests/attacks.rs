//! Attacks on the rules of a running network by accounts that the rules cannot keep out: accounts that fill all blocks,
//! submit garbage, withhold their numbers from the beacon, or leave and come back. The tests check that honest miners
//! are still paid, and that the honest operator loses nothing. The tests of replicas use the same attacks.

use crate::node_process::CHAIN;
use crate::scripted_miner::{HttpHost, ScriptedMiner, TestNetwork, key};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use data_encoding::HEXLOWER;
use pollster::block_on;
use r3mes_wgpu::{
    client::{Client, ClientError, GradientStatus},
    ledger::{VALIDATOR, global_seed, shard},
    protocol::CHUNK_TOKENS,
    store::Codec,
    tx::{
        Fee, MAX_TX_BYTES, Message, MsgClaimTask, MsgOpenDispute, MsgRevealBeacon, MsgSubmitGradient, MsgUnregisterNode,
    },
};
use serde_json::{Value, json};
use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

/// The numbers of the attackers that fill blocks. A block has no room for a large transaction of each of them.
pub const STUFFERS: Range<u8> = 200..220;
/// An honest miner, with coins for its bonds.
const HONEST: u8 = 7;
/// An attacker with coins.
pub const ROGUE: u8 = 66;
/// A stake or an initial balance of an attacker, in micro-units.
pub const COINS: u64 = 2_000_000;
/// The fee of a large transaction, in micro-units. A node refuses a transaction without a fee if it would fail.
const FEE: u64 = 100_000;

/// Returns the accounts of the attackers that fill blocks, as the genesis of a network contains them.
pub fn stuffers() -> Vec<Value> {
    STUFFERS.map(|number| json!([ScriptedMiner::address_of(number), 1_000 * COINS])).collect()
}

/// Runs `work` while attackers send large transactions to the node at `url`, and returns its result. Blocks are then
/// full, or there are many of them in a second. Each transaction opens a dispute about a gradient that does not exist,
/// so it fails when it is executed, but its fee is paid. The node must belong to the chain with the ID `chain`, and its
/// genesis must contain the accounts [`stuffers`].
pub fn while_blocks_are_filled<T>(url: &str, chain: &str, work: impl FnOnce() -> T) -> T {
    /// Stops the attackers when it is dropped, also if `work` panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let ask = |path: &str| -> Option<Value> {
        let body = agent.get(format!("{url}{path}")).call().ok()?.body_mut().read_to_vec().ok()?;
        serde_json::from_slice(&body).ok()
    };
    let fill = |number: u8| {
        let key = key(number);
        let challenger = key.address().to_owned();
        let chunk = vec![number; MAX_TX_BYTES - 1024];
        let large = Message::OpenDispute(Box::new(MsgOpenDispute {
            challenger,
            chunk,
            stored_gradient_id: 9,
            manifest: vec![],
        }));
        while !stop.load(Relaxed) {
            let account = ask(&format!("/cosmos/auth/v1beta1/accounts/{}", key.address()));
            let sequence = account.and_then(|found| found["account"]["sequence"].as_str()?.parse().ok());
            let tx = key
                .sign(chain, sequence.unwrap_or(0), &Fee { amount: FEE, granter: None }, std::slice::from_ref(&large))
                .unwrap();
            let body = json!({ "tx_bytes": BASE64.encode(&tx), "mode": "BROADCAST_MODE_SYNC" }).to_string();
            let sent = agent.post(format!("{url}/cosmos/tx/v1beta1/txs")).header("content-type", "application/json");
            // the result is ignored: the sequence number may already be used by the transaction that is pending
            let _ = sent.send(&body);
        }
    };
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let fill = &fill;
        STUFFERS.for_each(|number| drop(scope.spawn(move || fill(number))));
        work()
    })
}

/// Claims the chunk with the ID `chunk_id` and submits a gradient that was never computed, both in one transaction of
/// account `number`, which owns no coins. The network must be in its first round. Returns the code of the transaction.
pub fn submit_garbage(url: &str, number: u8, chunk_id: u64) -> u32 {
    let client = Client::new(HttpHost::new(url), key(number));
    let (miner, job) = (client.address().to_owned(), block_on(client.job()).unwrap());
    let began: [u8; 32] = HEXLOWER.decode(job.genesis.as_bytes()).unwrap().try_into().unwrap();
    let garbage = MsgSubmitGradient {
        miner: miner.clone(),
        ipfs_hash: Codec::DagCbor.cid(&[number]).to_string(),
        model_version: job.model,
        shard_id: shard(&miner, &began, 0),
        gradient_hash: HEXLOWER.encode(&[number; 32]),
        nonce: 1,
        global_seed: global_seed(&began, 0),
        token_count: CHUNK_TOKENS as u64,
        ..Default::default()
    };
    let claim = Message::ClaimTask(MsgClaimTask { miner, pool_id: 0, chunk_id });
    match block_on(client.send_all(vec![claim, Message::SubmitGradient(Box::new(garbage))])) {
        Ok(_) => 0,
        Err(ClientError::Failed { code, .. }) => code,
        Err(error) => panic!("{error}"),
    }
}

/// Registers the account of `rogue` as a validator with the stake [`COINS`]. It commits to a number for the beacon, and
/// never reveals it.
pub fn withhold_beacon_number(rogue: &ScriptedMiner) {
    rogue.stake(COINS, VALIDATOR as i32).unwrap();
    rogue.wait(|| {
        let duty = block_on(rogue.client.duties()).unwrap().beacon.filter(|duty| !duty.reveals)?;
        let validator = rogue.address().to_owned();
        let next = MsgRevealBeacon::commitment(&validator, &[1; 32]).to_vec();
        let commit = MsgRevealBeacon { validator, epoch: duty.epoch, number: Vec::new(), next };
        // the epoch may have ended meanwhile
        block_on(rogue.client.send(Message::RevealBeacon(commit))).ok()
    });
}

/// Ends the registration of `rogue`, so that the coins in its escrow are paid out, and then submits a wrong gradient.
/// Returns the status of the gradient.
pub fn leave_and_forge(rogue: &mut ScriptedMiner) -> GradientStatus {
    let leave = MsgUnregisterNode { node_address: rogue.address().to_owned() };
    // a node that is sampled to recompute a gradient cannot leave before its attestation is due
    rogue.wait(|| block_on(rogue.client.send(Message::UnregisterNode(leave.clone()))).ok());
    forge(rogue)
}

fn forge(rogue: &mut ScriptedMiner) -> GradientStatus {
    let (task, held) = rogue.claim().unwrap();
    let forged = rogue.forge(&task, |matrices| matrices[1].values.fill(0));
    rogue.submit(&task, &held, &forged)
}

/// Starts a network of one node with two gradients in a round. Every gradient is recomputed unless `change` edits the
/// rules in the genesis.
fn network(name: &str, change: impl FnOnce(&mut Value)) -> TestNetwork {
    let [honest, rogue] = [HONEST, ROGUE].map(|number| format!("{}={}", ScriptedMiner::address_of(number), 10 * COINS));
    let arguments = ["--rules", "embedded", "--quota", "2", "--account", &honest, "--account", &rogue];
    TestNetwork::new(name, &arguments, |genesis| {
        genesis["params"]["silence_penalty"] = json!(5_000);
        change(genesis);
    })
}

/// Checks that an honest miner is paid for its gradient, and that the operator has lost none of its stake.
fn assert_fair(network: &TestNetwork) {
    assert_eq!(network.miner(HONEST).mine().status, "settled");
    assert_eq!(network.stake(&network.operator.0), network.operator.1);
}

#[test]
fn large_transactions_make_nobody_miss_a_deadline() {
    let network = network("large-transactions", |genesis| {
        genesis["params"]["attestation_blocks"] = json!(30);
        genesis["accounts"].as_array_mut().unwrap().extend(stuffers());
    });
    let mut miner = network.miner(HONEST);
    let mined = while_blocks_are_filled(&network.node.url, CHAIN, || [miner.mine().status, miner.mine().status]);
    assert_eq!(mined, ["settled"; 2]);
    let sent: u64 = STUFFERS.map(|number| network.node.sequence(&key(number))).sum();
    assert!(sent >= 100, "only {sent} large transactions are in blocks");
    assert_fair(&network);
}

#[test]
fn garbage_of_strangers_takes_only_the_share_of_a_round_that_needs_no_bond() {
    let network = network("garbage", |genesis| {
        genesis["quota"] = json!(4);
        genesis["params"]["claim_bond"] = json!(100_000);
        genesis["params"]["newcomer_bond"] = json!(100_000);
        genesis["params"]["probation"] = json!(1);
        genesis["params"]["unbonded_share"] = json!(2_500);
    });
    let strangers = 100..112u8;
    let taken = strangers.filter(|number| submit_garbage(&network.node.url, *number, u64::from(*number % 4)) == 0);
    assert_eq!(taken.count(), 1, "a quarter of the four chunks");
    (0..4).for_each(|_| assert_fair(&network));
}

#[test]
fn a_validator_that_withholds_its_beacon_number_pays_and_stops_nobody() {
    let network = network("withheld-number", |genesis| {
        genesis["params"]["epoch_blocks"] = json!(3);
        genesis["params"]["beacon_penalty"] = json!(50);
        // the attacker attests nothing either, when it is sampled to recompute a gradient
        genesis["params"]["attestation_blocks"] = json!(4);
        genesis["params"]["silence_penalty"] = json!(0);
    });
    let rogue = network.miner(ROGUE);
    withhold_beacon_number(&rogue);
    rogue.wait(|| {
        assert_fair(&network);
        (network.stake(rogue.address()) < COINS).then_some(())
    });
    assert_eq!(network.stake(rogue.address()), COINS - COINS / 200, "0.5 % of the stake");
}

#[test]
fn a_miner_that_leaves_is_on_probation_again() {
    for leaves in [true, false] {
        let network = network("left", |genesis| {
            genesis["params"]["probation"] = json!(2);
            genesis["params"]["sampling"] = json!(0);
        });
        let mut rogue = network.miner(ROGUE);
        assert_eq!([rogue.mine().status, rogue.mine().status], ["settled", "settled"]);
        let forged = if leaves { leave_and_forge(&mut rogue) } else { forge(&mut rogue) };
        // without its escrow, the miner has nothing to lose, so its gradient must be recomputed
        assert_eq!(forged.status == "rejected", leaves, "{forged:?}");
    }
}
