//! Tests of attacks on a node, one attack per test. The node runs in a process of its own. The attackers try to be paid
//! for nothing, or to keep others from being paid. The tests check that honest miners are still paid, and that neither
//! honest miners nor honest verifiers lose anything.

use crate::scripted_miner::{ScriptedMiner, TestNetwork};
use pollster::block_on;
use r3mes_wgpu::{
    client::{ClientError, GradientStatus, HeldTask},
    protocol::{Artifact, Commitment, Gradient, Task, TaskTerms},
    store::Codec,
    tx::{Message, MsgClaimTask, MsgCommitAttestation, MsgRevealAttestation, code},
};
use serde_json::{Value, json};

/// The attacker's stake, in micro-units.
const STAKE: u64 = 2_000_000;

/// Starts a network of one node. The node's operator recomputes every gradient, and owns almost all of the stake.
fn network(name: &str, change: impl FnOnce(&mut Value)) -> TestNetwork {
    let (attacker, honest) = (ScriptedMiner::address_of(66), ScriptedMiner::address_of(7));
    let (attacker, honest) = (format!("{attacker}=1000000000"), format!("{honest}=1000000000"));
    let arguments = ["--rules", "embedded", "--quota", "2", "--account", &attacker, "--account", &honest];
    TestNetwork::new(name, &arguments, change)
}

/// Registers the attacker as a miner with the stake [`STAKE`], and returns it.
fn attacker(network: &TestNetwork) -> ScriptedMiner {
    let rogue = network.miner(66);
    rogue.stake(STAKE, 1).unwrap();
    rogue
}

/// An attacker submits the forged artifact that `forge` returns. Checks that the attacker loses half of its stake, and
/// that an honest miner is still paid.
fn assert_slashed(name: &str, forge: impl FnOnce(&mut ScriptedMiner, &Task) -> Artifact) {
    let network = network(name, |_| {});
    let mut rogue = attacker(&network);
    let (task, held) = rogue.claim().unwrap();
    let forged = forge(&mut rogue, &task);
    assert_mismatch(&rogue.submit(&task, &held, &forged));
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    let score = network.node.get(&format!("/remes/remes/v1/miner_fraud_score/{}", rogue.address()));
    assert_eq!(score["fraud_score"], "1.000000");
    fair(&network);
}

/// Checks that a submission was rejected because its gradient differs from the recomputed one.
fn assert_mismatch(stored: &GradientStatus) {
    assert_eq!((stored.status.as_str(), stored.finding.as_deref()), ("rejected", Some("mismatch")));
}

/// Checks that an honest miner is paid for its gradient, and that the operator has lost none of its stake.
fn fair(network: &TestNetwork) {
    let mut miner = network.miner(7);
    let before = network.node.balance(miner.address());
    assert_eq!(miner.mine().status, "settled");
    assert_eq!(network.node.balance(miner.address()), before + 1_000_000);
    assert_eq!(network.stake(&network.operator.0), network.operator.1);
}

/// Checks that a transaction failed with the code `expected` and a log that contains `words`.
fn refused<T>(answer: Result<T, ClientError>, expected: u32, words: &str) {
    match answer {
        Err(ClientError::Failed { code, log, .. }) => {
            assert!(code == expected && log.contains(words), "{code} {log}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("succeeded, expected a failure with {words:?}"),
    }
}

#[test]
fn a_gradient_of_zeros_is_slashed() {
    assert_slashed("zeros", |rogue, task| {
        rogue.forge(task, |matrices| matrices.iter_mut().for_each(|matrix| matrix.values.fill(0)))
    });
}

#[test]
fn a_void_is_slashed_if_the_task_does_not_saturate() {
    assert_slashed("void", |_, task| Artifact::void(task));
}

#[test]
fn swapped_gradients_of_two_matrices_are_slashed() {
    assert_slashed("linear", |rogue, task| {
        rogue.forge(task, |matrices| {
            let of = |name: &str| matrices.iter().position(|matrix| matrix.name == name).unwrap();
            let (one, other) = (of("layers.0.feed_forward.gate.b"), of("layers.0.feed_forward.up.b"));
            let values = std::mem::take(&mut matrices[one].values);
            matrices[one].values = std::mem::replace(&mut matrices[other].values, values);
        })
    });
}

#[test]
fn a_gradient_of_low_precision_is_slashed() {
    assert_slashed("precision", |rogue, task| {
        rogue.forge(task, |matrices| {
            for matrix in matrices {
                let most = matrix.values.iter().map(|value| value.unsigned_abs()).max().unwrap_or_default();
                // keeps three bits and a sign of each value, as a 4-bit format would
                let unit = (most / 7).max(1) as i64;
                matrix.values.iter_mut().for_each(|value| *value = *value / unit * unit);
            }
        })
    });
}

#[test]
fn one_wrong_element_is_slashed() {
    assert_slashed("element", |rogue, task| {
        rogue.forge(task, |matrices| {
            let values = &mut matrices[1].values;
            let most = values.iter().map(|value| value.abs()).max().unwrap();
            let least = values.iter_mut().min_by_key(|value| value.abs()).unwrap();
            *least += most / 2;
        })
    });
}

#[test]
fn a_gradient_for_a_stale_adapter_is_slashed() {
    let network = network("stale", |_| {});
    let mut rogue = attacker(&network);
    let (first, held, artifact) = rogue.claim_and_compute();
    let old = first.adapter;
    assert_eq!(rogue.submit(&first, &held, &artifact).status, "settled");
    // the round ends, and the adapter changes
    fair(&network);
    let (task, held) = rogue.wait(|| rogue.claim().ok());
    assert_ne!(task.adapter, old);
    let stale = Task::new(TaskTerms { adapter: old, ..(*task).clone() }).unwrap();
    let found = rogue.compute(&stale).as_gradient().unwrap().clone();
    let forged = rogue.forge(&task, |matrices| {
        for (matrix, stale) in matrices.iter_mut().zip(&found.matrices) {
            *matrix = stale.dequantized();
        }
    });
    assert_mismatch(&rogue.submit(&task, &held, &forged));
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    fair(&network);
}

#[test]
fn a_copied_gradient_is_slashed_and_its_owner_is_accepted() {
    let network = network("copy", |_| {});
    let (mut honest, rogue) = (network.miner(7), attacker(&network));
    let (task, held, artifact) = honest.claim_and_compute();
    let found = artifact.as_gradient().unwrap();
    // the attacker submits the honest miner's CID and commitment before the honest miner does
    let (_, own) = rogue.claim().unwrap();
    let copied = Commitment::new(&task, &artifact.gradient_root());
    let id = rogue.say(&own, artifact.dag().unwrap().root, copied).unwrap();
    assert_mismatch(&rogue.settled(id));
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    assert_eq!(honest.submit(&task, &held, &artifact).status, "settled", "submitting first gives no ownership");
    // the attacker submits the same numbers, encoded for its own task
    let (task, held) = rogue.claim().unwrap();
    let matrices = found.matrices.iter().map(|matrix| matrix.dequantized()).collect();
    let copied = Gradient { loss: found.loss, tokens: found.tokens, matrices };
    assert_mismatch(&rogue.submit(&task, &held, &Artifact::gradient(&task, &copied).unwrap()));
    fair(&network);
}

/// Tests a miner that submits a correct gradient but does not upload the artifact. The verifier must not attest that
/// the gradient is unavailable, because it can recompute the gradient from the task. It must attest a match, and store
/// the artifact that it has computed.
#[test]
fn withheld_bytes_of_a_right_gradient_are_stored_by_its_verifier() {
    let network = network("withheld", |_| {});
    let mut rogue = attacker(&network);
    let (task, held, artifact) = rogue.claim_and_compute();
    let root = artifact.dag().unwrap().root;
    let id = rogue.say(&held, root, Commitment::new(&task, &artifact.gradient_root())).unwrap();
    assert_eq!(rogue.settled(id).status, "settled");
    assert_eq!(network.stake(rogue.address()), STAKE);
    assert!(block_on(rogue.client.block(Codec::DagCbor, &root)).is_ok());
    fair(&network);
}

#[test]
fn withheld_bytes_are_found_by_aggregation_if_nobody_was_sampled() {
    let network = network("unseen", |terms| {
        terms["params"]["sampling"] = json!(0);
        terms["params"]["decision_blocks"] = json!(8);
        terms["params"]["challenge_blocks"] = json!(2);
    });
    let (rogue, mut honest) = (attacker(&network), network.miner(7));
    let (task, held) = rogue.claim().unwrap();
    let before = network.node.balance(rogue.address());
    let id = rogue.say(&held, Codec::DagCbor.cid(b"nowhere"), Commitment::new(&task, &[5; 32])).unwrap();
    assert_eq!(rogue.settled(id).status, "accepted");
    // this gradient fills the round, and aggregation leaves out the gradient whose bytes are missing
    assert_eq!(honest.mine().status, "accepted");
    let stored = rogue
        .wait(|| Some(block_on(rogue.client.gradient_status(id)).unwrap()).filter(|found| found.status == "rejected"));
    assert_eq!(stored.finding.as_deref(), Some("unavailable"));
    assert_eq!(
        (network.node.balance(rogue.address()), network.stake(rogue.address())),
        (before, STAKE),
        "nothing is paid"
    );
    // the round is repeated: another gradient takes the place of the missing one
    assert_eq!(honest.mine().status, "accepted");
    assert_eq!(rogue.wait(|| Some(block_on(rogue.client.job()).unwrap().round).filter(|round| *round > 0)), 1);
    assert_eq!(network.node.balance(honest.address()), 1_000_000_000 + 2_000_000);
    assert_eq!(network.stake(&network.operator.0), network.operator.1);
}

#[test]
fn a_seed_that_the_miner_chooses_is_rejected() {
    let network = network("seed", |_| {});
    let mut rogue = attacker(&network);
    let (task, held, artifact) = rogue.claim_and_compute();
    let commitment = Commitment::new(&task, &artifact.gradient_root());
    let root = artifact.dag().unwrap().root;
    let other = HeldTask { global_seed: held.global_seed ^ 1, ..held.clone() };
    refused(rogue.say(&other, root, commitment), code::REJECTED, "global_seed");
    let other = HeldTask { shard_id: (held.shard_id + 1) % 100, ..held.clone() };
    refused(rogue.say(&other, root, commitment), code::REJECTED, "shard_id");
    // a task with another seed, and therefore another dither, is a different task
    let other_seed = Task::new(TaskTerms { seed: [0; 32], ..(*task).clone() }).unwrap();
    let artifact = rogue.compute(&other_seed);
    assert_mismatch(&rogue.submit(&other_seed, &held, &artifact));
    fair(&network);
}

#[test]
fn a_second_claim_and_a_claim_of_a_taken_chunk_are_refused() {
    let network = network("double", |_| {});
    let (rogue, other) = (attacker(&network), network.miner(7));
    let (task, _) = rogue.claim().unwrap();
    let chunks = block_on(rogue.client.available(8)).unwrap().unwrap().1;
    let claim = |rogue: &ScriptedMiner, chunk_id: u64| {
        let miner = rogue.address().to_owned();
        block_on(rogue.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id: 0, chunk_id })))
    };
    refused(claim(&rogue, chunks[0]), code::TAKEN, "holds chunk");
    let position = (0..2).find(|position| !chunks.contains(position)).unwrap();
    refused(claim(&other, position), code::TAKEN, "not available");
    assert_eq!(rogue.held().0, task, "the first claim still holds");
    fair(&network);
}

#[test]
fn an_accepted_gradient_is_not_paid_again() {
    let network = network("replay", |_| {});
    let mut rogue = attacker(&network);
    let (task, held, artifact) = rogue.claim_and_compute();
    assert_eq!(rogue.submit(&task, &held, &artifact).status, "settled");
    let paid = network.node.balance(rogue.address());
    let (root, commitment) = (artifact.dag().unwrap().root, Commitment::new(&task, &artifact.gradient_root()));
    let id = rogue.say(&held, root, commitment).unwrap();
    assert_eq!(
        (rogue.settled(id).status.as_str(), network.node.balance(rogue.address())),
        ("settled", paid),
        "paid only once"
    );
    // the attacker submits the same bytes for its next task
    let (_, next) = rogue.claim().unwrap();
    let other = Codec::DagCbor.cid(b"another name");
    refused(rogue.say(&next, other, commitment), code::REJECTED, "nonce");
    // the attacker sends a transaction that has already been executed
    let message = Message::ClaimTask(MsgClaimTask { miner: rogue.address().to_owned(), pool_id: 0, chunk_id: 9 });
    let sequence = network.node.sequence(&rogue.key);
    let tx = rogue.key.sign(crate::node_process::CHAIN, sequence - 1, &Default::default(), &[message]).unwrap();
    assert_eq!(network.node.send(&tx).0, u64::from(code::WRONG_SEQUENCE));
    fair(&network);
}

#[test]
fn hoarded_claims_are_limited_and_lose_their_bonds() {
    let network = network("hoard", |terms| {
        terms["quota"] = json!(4);
        let params = &mut terms["params"];
        params["claim_bond"] = json!(100_000);
        params["newcomer_bond"] = json!(100_000);
        params["probation"] = json!(1);
        params["unbonded_share"] = json!(2_500);
        params["claim_lifetime"] = json!(3);
    });
    // addresses cost nothing, so at most a quarter of a round (`unbonded_share`) can be claimed without a bond
    let (first, second) = (network.miner(101), network.miner(102));
    first.claim().unwrap();
    refused(second.claim(), code::TAKEN, "locks");
    let rich = network.miner(66);
    let before = network.node.balance(rich.address());
    rich.claim().unwrap();
    assert_eq!(network.node.balance(rich.address()), before - 100_000);
    // the first reward of a miner without a stake is its collateral
    assert_eq!(network.miner(7).mine().status, "settled");
    rich.wait(|| block_on(rich.client.held_task()).unwrap().is_none().then_some(()));
    // the claim expired in a block that an honest miner's transaction caused
    fair(&network);
    assert_eq!(network.node.balance(rich.address()), before - 100_000, "an expired claim costs its bond");
}

/// Starts a network with the operator and `others` as its verifiers. Each entry of `others` is a pair: the number of
/// the verifier's key, and its stake in micro-units. For each gradient, the ledger selects a random verifier `drawn`
/// times. It may select the same verifier several times.
fn with_verifiers(name: &str, others: &[(u8, u64)], drawn: u64) -> (TestNetwork, Vec<ScriptedMiner>) {
    // a million micro-units more than the stake, for fees
    let coins = |(number, stake): &(u8, u64)| format!("{}={}", ScriptedMiner::address_of(*number), stake + 1_000_000);
    let accounts: Vec<String> = others.iter().map(coins).collect();
    let honest = format!("{}=1000000000", ScriptedMiner::address_of(7));
    let attacker = format!("{}=1000000000", ScriptedMiner::address_of(66));
    let mut arguments = vec!["--rules", "network", "--quota", "2", "--account", &honest, "--account", &attacker];
    accounts.iter().for_each(|account| arguments.extend(["--account", account]));
    let network = TestNetwork::new(name, &arguments, |terms| {
        let params = &mut terms["params"];
        params["sampling"] = json!(1 << 16);
        params["verifiers"] = json!(drawn);
        params["min_stake"] = json!(1_000_000);
        params["attestation_blocks"] = json!(30);
        params["claim_bond"] = json!(0);
        params["newcomer_bond"] = json!(0);
        params["probation"] = json!(0);
        params["epoch_blocks"] = json!(0);
        params["draw_after"] = json!(1);
        params["challenge_blocks"] = json!(0);
    });
    let rogues: Vec<ScriptedMiner> = others.iter().map(|(number, _)| network.miner(*number)).collect();
    for (rogue, (_, stake)) in rogues.iter().zip(others) {
        rogue.stake(*stake, 3).unwrap();
    }
    (network, rogues)
}

/// Sends attestations in the name of the verifier `rogue`, without recomputing anything. They state the result "match"
/// for every gradient that the verifier was selected to recompute.
fn attest_match_blindly(rogue: &ScriptedMiner) {
    for duty in block_on(rogue.client.duties()).unwrap().challenges.into_iter().filter(|duty| !duty.done) {
        let (verifier, challenge_id) = (rogue.address().to_owned(), duty.challenge_id);
        let shown = MsgRevealAttestation {
            verifier: verifier.clone(),
            challenge_id,
            result: "match".to_owned(),
            gradient_hash: duty.gradient_hash.clone(),
            leaf: "00".repeat(32),
            salt: vec![0x11; 32],
        };
        let message = match duty.stage.as_str() {
            "commit" => {
                let commitment = shown.commitment().to_vec();
                Message::CommitAttestation(MsgCommitAttestation { verifier, challenge_id, commitment })
            }
            "reveal" => Message::RevealAttestation(Box::new(shown)),
            // in other stages all validators vote; this verifier sends nothing
            _ => continue,
        };
        // the result is ignored, because the node refuses the message if the stage has ended meanwhile
        let _ = block_on(rogue.client.send(message));
    }
}

/// Waits until submission `id` is accepted, settled or rejected, and returns its status. During the wait, the verifiers
/// `rogues` attest that the gradient matches, without recomputing it.
fn settled_by(miner: &ScriptedMiner, id: u64, rogues: &[ScriptedMiner]) -> GradientStatus {
    miner.wait(|| {
        rogues.iter().for_each(attest_match_blindly);
        let stored = block_on(miner.client.gradient_status(id)).unwrap();
        ["accepted", "settled", "rejected"].contains(&stored.status.as_str()).then_some(stored)
    })
}

#[test]
fn a_verifier_that_does_not_recompute_is_slashed() {
    let (network, rogues) = with_verifiers("lazy", &[(50, 2_000_000)], 4_000);
    let mut honest = network.miner(7);
    let (task, held, artifact) = honest.claim_and_compute();
    let id = honest.submit_without_waiting(&task, &held, &artifact);
    assert_eq!(settled_by(&honest, id, &rogues).status, "settled", "the blind finding is right, its digest is wrong");
    assert_eq!(network.stake(rogues[0].address()), 1_000_000);
    assert_eq!(network.stake(&network.operator.0), network.operator.1, "the verifier that recomputed keeps its stake");
}

#[test]
fn sybil_verifiers_can_not_pass_a_forged_gradient_and_are_slashed() {
    let sybils: Vec<(u8, u64)> = (50..58).map(|number| (number, 2_000_000)).collect();
    let (network, rogues) = with_verifiers("sybil", &sybils, 4_000);
    let mut miner = network.miner(66);
    let (task, held) = miner.claim().unwrap();
    let forged = miner.forge(&task, |matrices| matrices[1].values.fill(0));
    let id = miner.submit_without_waiting(&task, &held, &forged);
    assert_mismatch(&settled_by(&miner, id, &rogues));
    let slashed = rogues.iter().filter(|rogue| network.stake(rogue.address()) == 1_000_000).count();
    assert!(slashed >= 1, "the sampled verifiers lose half of their stakes");
    assert_eq!(network.stake(&network.operator.0), network.operator.1);
}

#[test]
fn a_stake_below_the_minimum_is_refused() {
    let network = network("small-stake", |_| {});
    let rogue = network.miner(66);
    refused(rogue.stake(1, 3), code::INSUFFICIENT_FUNDS, "at least");
    fair(&network);
}
