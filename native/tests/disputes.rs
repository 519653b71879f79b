//! Tests of disputes about gradients that no verifier was selected to recompute. The node runs in a process of its own.
//! Its operator must challenge forged gradients and defend correct ones. Another test checks that a miner with a faulty
//! backend withdraws its submission in time: before a block decides whether verifiers recompute the gradient.

use crate::forger::Forger;
use crate::scripted_miner::{HttpHost, ScriptedMiner, TestNetwork, model};
use pollster::block_on;
use r3mes_wgpu::{
    agents::miner::{Miner, MiningError},
    client::{Client, ClientError},
    compute::{Backend, cpu},
    kernels::{ALL, CpuKernel, Kernel, Saturated},
    store::Codec,
    training::worker::Worker,
    tx::{Message, MsgOpenDispute, code},
};
use serde_json::{Value, json};
use std::ops::Range;

/// The forger's stake, in micro-units.
const STAKE: u64 = 2_000_000;
/// The initial balance of each account that a test uses, in micro-units.
const COINS: u64 = 1_000_000_000;
/// The bond for opening a dispute, and the bond for an answer, both in micro-units.
const BONDS: [u64; 2] = [4_000_000, 2_000_000];

/// Starts a network that samples no verifiers: every submission is accepted without a recomputation, but can be
/// disputed afterwards.
fn network(name: &str, change: impl FnOnce(&mut Value)) -> TestNetwork {
    let [attacker, honest] = [66, 7].map(|number| format!("{}={COINS}", ScriptedMiner::address_of(number)));
    let arguments = ["--rules", "embedded", "--quota", "2", "--account", &attacker, "--account", &honest];
    TestNetwork::new(name, &arguments, |terms| {
        let operator = terms["nodes"][0][0].clone();
        terms["accounts"].as_array_mut().unwrap().push(json!([operator, COINS]));
        terms["params"]["sampling"] = json!(0);
        terms["params"]["challenge_blocks"] = json!(100_000);
        terms["params"]["move_blocks"] = json!(30);
        change(terms);
    })
}

/// Returns the status of submission `id`, such as "accepted" or "disputed".
fn status(rogue: &ScriptedMiner, id: u64) -> String {
    block_on(rogue.client.gradient_status(id)).unwrap().status
}

#[test]
fn an_accepted_forged_gradient_is_rejected_by_a_dispute_although_its_miner_defends_it() {
    let network = network("forged", |_| {});
    let mut rogue = network.miner(66);
    rogue.stake(STAKE, 1).unwrap();
    let (task, _) = rogue.claim().unwrap();
    let mut forger = Forger::new(&network.work_dir, &rogue, &task);
    assert!(forger.forged != rogue.compute(&task));
    let id = forger.submit(&rogue);
    let sent = forger.defend(&rogue, id);
    assert!(sent > 3, "the forger sent only {sent} messages");
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    let paid = network.node.balance(&network.operator.0) - COINS;
    assert_eq!(paid, STAKE / 4 + BONDS[1] / 2, "half of what the forger lost in stake and bond");
    assert_eq!(network.node.balance(rogue.address()), COINS - STAKE - BONDS[1]);
    // an honest miner can claim the chunk that the forger loses
    let mut miner = network.miner(7);
    let (next, held, artifact) = miner.claim_and_compute();
    assert_eq!(next.chunk, task.chunk);
    assert_eq!(miner.submit(&next, &held, &artifact).status, "accepted");
}

#[test]
fn a_forger_whose_accomplices_fill_all_dispute_slots_is_slashed_after_they_lose() {
    let network = network("friends", |terms| {
        let coins = [50, 51].map(|friend| json!([ScriptedMiner::address_of(friend), COINS]));
        terms["accounts"].as_array_mut().unwrap().extend(coins);
    });
    let (rogue, friends) = (network.miner(66), [network.miner(50), network.miner(51)]);
    rogue.stake(STAKE, 1).unwrap();
    let (task, _) = rogue.claim().unwrap();
    let mut forger = Forger::new(&network.work_dir, &rogue, &task);
    let dag = forger.forged.dag().unwrap();
    let (manifest, chunk) =
        (dag.get(&dag.root).unwrap(), block_on(rogue.client.block(Codec::Raw, &task.chunk)).unwrap());
    let id = forger.submit(&rogue);
    rogue.wait(|| (status(&rogue, id) == "accepted").then_some(()));
    // the accomplices open disputes before the operator, which must first recompute the gradient; they make no moves
    let full = friends.iter().all(|friend| {
        let (challenger, chunk, manifest) = (friend.address().to_owned(), chunk.clone(), manifest.clone());
        let opening = MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest };
        let openings = vec![Message::OpenDispute(opening.into()); 4];
        network.node.send(&friend.key.sign(crate::node_process::CHAIN, 0, &Default::default(), &openings).unwrap()).0
            == 0
    });
    forger.defend(&rogue, id);
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    for friend in friends.iter().filter(|_| full) {
        assert_eq!(network.node.balance(friend.address()), COINS - 4 * BONDS[0]);
    }
}

#[test]
fn the_operator_defends_a_correct_gradient_of_an_absent_miner_and_the_challenger_pays() {
    let network = network("griefed", |_| {});
    let (mut miner, griefer) = (network.miner(7), network.miner(66));
    let (task, held, artifact) = miner.claim_and_compute();
    let dag = artifact.dag().unwrap();
    assert_eq!(miner.submit(&task, &held, &artifact).status, "accepted");
    let block = |codec, cid| block_on(griefer.client.block(codec, cid)).unwrap();
    let (chunk, manifest) = (block(Codec::Raw, &task.chunk), block(Codec::DagCbor, &dag.root));
    let challenger = griefer.address().to_owned();
    let opening = MsgOpenDispute { challenger, stored_gradient_id: 1, chunk, manifest };
    block_on(griefer.client.send(Message::OpenDispute(opening.into()))).unwrap();
    assert_eq!(status(&griefer, 1), "disputed");
    griefer.wait(|| (status(&griefer, 1) == "accepted").then_some(()));
    assert_eq!(network.node.balance(griefer.address()), COINS - BONDS[0]);
    assert_eq!(network.node.balance(&network.operator.0), COINS + BONDS[0] / 2, "the operator defended the gradient");
    assert_eq!(network.node.balance(miner.address()), COINS, "the reward is paid when the round closes");
}

/// Returns the CPU implementation of a kernel on a faulty backend. This is the fastest correct implementation, except
/// for the first kernel in [`ALL`] (the list of all kernels): the last word of this kernel's output is wrong.
fn faulty(kernel: &Kernel) -> Option<CpuKernel> {
    fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
        let saturated = (ALL[0].reference)(params, units, reads, writes);
        if let Some(word) = writes[0].last_mut() {
            *word = word.wrapping_add(1);
        }
        saturated
    }
    if kernel.name == ALL[0].name { Some(reference) } else { cpu::fastest(kernel) }
}

#[test]
fn a_miner_whose_backend_fails_withdraws_its_submission_and_loses_nothing() {
    let network = network("unfit", |terms| {
        terms["params"]["sampling"] = json!(1 << 16);
        terms["params"]["epoch_blocks"] = json!(0);
        terms["params"]["draw_after"] = json!(100_000);
    });
    let rogue = network.miner(66);
    rogue.stake(STAKE, 1).unwrap();
    let (model, targets) = model(&network.work_dir);
    let backend = Backend::Cpu { threads: 1, kernels: faulty };
    let worker = block_on(Worker::new(&model, &targets, &backend, 1)).unwrap();
    let client = Client::new(HttpHost::new(&network.node.url), crate::scripted_miner::key(66));
    let miner = Miner::new(client, worker, rogue.address().to_owned(), "cpu".to_owned());
    let mut miner = miner.with_known_answers(backend);
    let error = block_on(miner.work(|| false, |_| {})).unwrap_err();
    assert!(matches!(error, MiningError::BackendFault(_)), "{error}");
    assert_eq!(status(&rogue, 1), "withdrawn");
    assert_eq!((network.stake(rogue.address()), network.node.balance(rogue.address())), (STAKE, COINS - STAKE));
    match rogue.claim() {
        Err(ClientError::Failed { code: code::REJECTED, log, .. }) => {
            assert!(log.contains("cannot claim a chunk before block"), "{log}")
        }
        other => panic!("{:?}", other.map(|(task, _)| task.cid())),
    }
}
