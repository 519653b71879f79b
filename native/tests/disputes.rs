//! What happens where nobody was drawn, against a node in a process of its own: its operator brings down what is forged,
//! stands for what is right, and a miner whose own backend fails takes its work back in time.

mod face;
mod liar;
mod place;
mod rogue;

use liar::Liar;
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
use rogue::{Network, Rogue, Web, model};
use serde_json::{Value, json};
use std::ops::Range;

const STAKE: u64 = 2_000_000;
const COINS: u64 = 1_000_000_000;
/// Of a dispute and of an answer.
const BONDS: [u64; 2] = [4_000_000, 2_000_000];

/// A network in which whatever comes in counts, until somebody disputes it.
fn network(name: &str, change: impl FnOnce(&mut Value)) -> Network {
    let [attacker, honest] = [66, 7].map(|number| format!("{}={COINS}", Rogue::address_of(number)));
    let arguments = ["--rules", "embedded", "--quota", "2", "--account", &attacker, "--account", &honest];
    Network::new(name, &arguments, |terms| {
        let operator = terms["nodes"][0][0].clone();
        terms["accounts"].as_array_mut().unwrap().push(json!([operator, COINS]));
        terms["params"]["sampling"] = json!(0);
        terms["params"]["challenge_blocks"] = json!(100_000);
        terms["params"]["move_blocks"] = json!(30);
        change(terms);
    })
}

fn status(rogue: &Rogue, id: u64) -> String {
    block_on(rogue.client.stored(id)).unwrap().status
}

#[test]
fn a_forged_gradient_that_counts_is_brought_down_though_it_is_defended() {
    let network = network("forged", |_| {});
    let mut rogue = network.rogue(66);
    rogue.stake(STAKE, 1).unwrap();
    let (task, _) = rogue.claim().unwrap();
    let mut liar = Liar::new(&network.place, &rogue, &task);
    assert!(liar.forged != rogue.compute(&task));
    let id = liar.submit(&rogue);
    let said = liar.defend(&rogue, id);
    assert!(said > 3, "a game was played: {said}");
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    let paid = network.node.balance(&network.operator.0) - COINS;
    assert_eq!(paid, STAKE / 4 + BONDS[1] / 2, "half of what the forger lost");
    assert_eq!(network.node.balance(rogue.address()), COINS - STAKE + 1_000_000 - BONDS[1]);
    // its position is another's, and honest
    let mut miner = network.rogue(7);
    let (next, _) = miner.claim().unwrap();
    assert_eq!(next.chunk, task.chunk);
    let (task, held) = miner.held();
    let artifact = miner.compute(&task);
    assert_eq!(miner.submit(&task, &held, &artifact).status, "accepted");
}

#[test]
fn a_forger_whose_friends_take_all_places_falls_when_they_have_ended() {
    let network = network("friends", |terms| {
        let coins = [50, 51].map(|friend| json!([Rogue::address_of(friend), COINS]));
        terms["accounts"].as_array_mut().unwrap().extend(coins);
    });
    let (rogue, friends) = (network.rogue(66), [network.rogue(50), network.rogue(51)]);
    rogue.stake(STAKE, 1).unwrap();
    let (task, _) = rogue.claim().unwrap();
    let mut liar = Liar::new(&network.place, &rogue, &task);
    let dag = liar.forged.dag().unwrap();
    let (manifest, chunk) =
        (dag.get(&dag.root).unwrap(), block_on(rogue.client.block(Codec::Raw, &task.chunk)).unwrap());
    let id = liar.submit(&rogue);
    rogue.wait(|| (status(&rogue, id) == "accepted").then_some(()));
    // sooner than the operator, which recomputes first; they never move
    let full = friends.iter().all(|friend| {
        let (challenger, chunk, manifest) = (friend.address().to_owned(), chunk.clone(), manifest.clone());
        let opening = MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest };
        let openings = vec![Message::OpenDispute(opening.into()); 4];
        network.node.send(&friend.key.sign(face::CHAIN, 0, &Default::default(), &openings).unwrap()).0 == 0
    });
    liar.defend(&rogue, id);
    assert_eq!(network.stake(rogue.address()), STAKE / 2);
    for friend in friends.iter().filter(|_| full) {
        assert_eq!(network.node.balance(friend.address()), COINS - 4 * BONDS[0]);
    }
}

#[test]
fn a_right_gradient_is_stood_for_though_its_miner_is_away_and_the_griefer_pays() {
    let network = network("griefed", |_| {});
    let (mut miner, griefer) = (network.rogue(7), network.rogue(66));
    let (task, held) = miner.claim().unwrap();
    let artifact = miner.compute(&task);
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
    assert_eq!(network.node.balance(&network.operator.0), COINS + BONDS[0] / 2, "who answered");
    assert_eq!(network.node.balance(miner.address()), COINS + 1_000_000);
}

/// The right references, but for the first kernel's last word.
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
fn a_miner_whose_backend_fails_takes_its_work_back_and_loses_nothing() {
    let network = network("unfit", |terms| {
        terms["params"]["sampling"] = json!(1 << 16);
        terms["params"]["draw_blocks"] = json!(100_000);
    });
    let rogue = network.rogue(66);
    rogue.stake(STAKE, 1).unwrap();
    let (model, targets) = model(&network.place);
    let backend = Backend::Cpu { threads: 1, kernels: faulty };
    let worker = block_on(Worker::new(&model, &targets, &backend, 1)).unwrap();
    let client = Client::new(Web::new(&network.node.url), rogue::key(66));
    let miner = Miner::new(client, worker, rogue.address().to_owned(), "cpu".to_owned());
    let mut miner = miner.with_known_answers(backend);
    let error = block_on(miner.work(|_| {})).unwrap_err();
    assert!(matches!(error, MiningError::Unfit(_)), "{error}");
    assert_eq!(status(&rogue, 1), "withdrawn");
    assert_eq!((network.stake(rogue.address()), network.node.balance(rogue.address())), (STAKE, COINS - STAKE));
    match rogue.claim() {
        Err(ClientError::Failed { code: code::REJECTED, log, .. }) => assert!(log.contains("claims nothing"), "{log}"),
        other => panic!("{:?}", other.map(|(task, _)| task.cid())),
    }
}
