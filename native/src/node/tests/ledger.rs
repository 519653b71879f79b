//! Claims, verdicts, rewards, rounds and retention.

use super::*;
use crate::node::genesis::chunk_number;
use crate::node::tables::{ACCEPTED, BLOCKS, COMMITMENTS, LOOSE, Ledger, ROUNDS};
use crate::node::{Acceptance, Rejection};
use r3mes_wgpu::store::{Block, Cid};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};
use std::collections::BTreeSet;

#[test]
fn rounds_close_and_pay() {
    let node = memory(3, 7);
    let first = node.status().unwrap();
    for count in 1..=9u64 {
        let (_, verdict) = mine(&node, "remes1a", count).unwrap();
        let round = (count - 1) / 3;
        assert_eq!(verdict, Ok(Acceptance { round, again: false, balance: count * REWARD }));
    }
    let status = node.status().unwrap();
    assert_eq!((status.round, status.accepted_in_round, status.accepted_total), (3, 0, 9));
    assert_ne!(status.adapter, first.adapter);
    assert_eq!(node.adapter().unwrap().optimizer, 3u64.to_le_bytes());
    assert_eq!(node.balance("remes1a").unwrap(), 9 * REWARD);
    assert_eq!(node.balance("remes1b").unwrap(), 0);
}

#[test]
fn the_next_adapter_does_not_depend_on_who_came_first() {
    let miners = ["remes1a", "remes1b", "remes1c", "remes1d"];
    let run = |order: [usize; 4]| {
        let node = memory(4, 9);
        let tasks: Vec<Task> = miners.iter().map(|miner| node.claim(miner, 0).unwrap().unwrap()).collect();
        let receipts: Vec<Receipt> = tasks.iter().map(|task| work(&node, task).unwrap()).collect();
        for at in order {
            node.submit(&receipts[at]).unwrap().unwrap();
        }
        assert_eq!(node.status().unwrap().round, 1);
        // the naive twin: add up what each receipt's blocks say
        let mut sum = Aggregate::new(&node.genesis().job);
        for receipt in &receipts {
            sum.add(&open_receipt(receipt, &|cid| node.get_block(cid)).unwrap()).unwrap();
        }
        assert_eq!(node.adapter().unwrap(), Sums.step(&adapter(node.genesis()), &sum).unwrap());
        node.status().unwrap().adapter
    };
    let forward = run([0, 1, 2, 3]);
    assert_eq!(forward, run([3, 1, 0, 2]));
    assert_eq!(forward, run([2, 3, 1, 0]));
}

#[test]
fn claims_are_kept_handed_out_again_and_expire() {
    let node = memory(2, 5);
    let a = node.claim("remes1a", 0).unwrap().unwrap();
    assert_eq!(node.claim("remes1a", 50).unwrap().as_ref(), Some(&a), "an unfinished claim is handed out again");
    let b = node.claim("remes1b", 60).unwrap().unwrap();
    assert_ne!(a.chunk, b.chunk);
    assert_eq!(node.claim("remes1c", 149).unwrap(), None, "the round has its claims");
    let c = node.claim("remes1c", 150).unwrap().unwrap();
    assert_eq!(c.chunk, a.chunk, "the expired position goes to the next miner");
    assert_ne!(c.key(), a.key());
    let late = work(&node, &a).unwrap();
    assert_eq!(node.submit(&late).unwrap(), Err(Rejection::NotClaimed));
    assert!(node.submit(&work(&node, &b).unwrap()).unwrap().is_ok());
    assert_eq!(node.claim("remes1a", 155).unwrap(), None);
    assert!(node.submit(&work(&node, &c).unwrap()).unwrap().is_ok());
    assert_eq!(node.submit(&late).unwrap(), Err(Rejection::Stale(node.status().unwrap().adapter)));
    assert!(node.claim("with space", 0).is_err());
}

#[test]
fn submitting_twice_counts_once() {
    let node = memory(2, 5);
    for _ in 0..2 {
        let (receipt, verdict) = mine(&node, "remes1a", 0).unwrap();
        let Acceptance { round, balance, .. } = verdict.unwrap();
        for _ in 0..3 {
            assert_eq!(node.submit(&receipt).unwrap(), Ok(Acceptance { round, again: true, balance }));
        }
    }
    assert_eq!(node.status().unwrap().accepted_total, 2);
    assert_eq!(node.balance("remes1a").unwrap(), 2 * REWARD);
}

#[test]
fn forged_submissions_are_rejected_with_the_reason_and_the_claim_stays() {
    let node = memory(2, 5);
    let task = node.claim("remes1a", 0).unwrap().unwrap();
    let honest = Sums.recompute(&task, &|cid| node.get_block(cid)).unwrap();
    let receipt = Receipt::new(task.clone(), &honest, vec![]).unwrap();
    let missing = node.submit(&receipt).unwrap().unwrap_err();
    assert!(matches!(missing, Rejection::Wrong(Mismatch::Blocks(WorkError::Store(_)))), "{missing}");
    let forge = |artifact: &Artifact| {
        node.put_blocks(&artifact.dag().unwrap().blocks).unwrap();
        node.submit(&Receipt::new(task.clone(), artifact, vec![]).unwrap()).unwrap().unwrap_err()
    };
    assert_eq!(forge(&Artifact::void(&task)), Rejection::Wrong(Mismatch::Void { claimed_void: true }));
    let zero = |spec: &MatrixSpec| GradientMatrix {
        name: spec.name.clone(),
        rows: spec.rows as usize,
        columns: spec.columns as usize,
        exponent: spec.exponent,
        values: vec![0; spec.len()],
    };
    let loss = honest.as_gradient().unwrap().loss;
    let lazy = Gradient { loss, tokens: 2047, matrices: task.job.matrices.iter().map(zero).collect() };
    let shift = forge(&Artifact::gradient(&task, &lazy).unwrap());
    assert!(matches!(shift, Rejection::Wrong(Mismatch::Shift { .. })), "{shift}");
    let mut other = TaskTerms::from(task.clone());
    other.miner = "remes1b".to_owned();
    let stolen = Receipt::new(Task::new(other).unwrap(), &honest, vec![]).unwrap();
    assert_eq!(node.submit(&stolen).unwrap(), Err(Rejection::NotClaimed));
    let status = node.status().unwrap();
    assert_eq!((status.accepted_total, node.balance("remes1a").unwrap()), (0, 0));
    node.put_blocks(&honest.dag().unwrap().blocks).unwrap();
    assert!(node.submit(&receipt).unwrap().is_ok());
}

#[test]
fn a_stored_block_altered_on_disk_is_noticed() {
    let node = memory(2, 5);
    let task = node.claim("remes1a", 0).unwrap().unwrap();
    let receipt = work(&node, &task).unwrap();
    let write = node.write().unwrap();
    {
        let mut blocks = write.open_table(BLOCKS).unwrap();
        let mut bytes = blocks.get(receipt.artifact().to_bytes().as_slice()).unwrap().unwrap().value().to_vec();
        bytes[40] ^= 4;
        blocks.insert(receipt.artifact().to_bytes().as_slice(), bytes.as_slice()).unwrap();
    }
    write.commit().unwrap();
    let verdict = node.submit(&receipt).unwrap().unwrap_err();
    assert!(verdict.to_string().contains("are those of"), "{verdict}");
}

#[test]
fn voids_settle_like_any_other() {
    let genesis = genesis(1);
    let mut words = text(2);
    words[0] = b'!';
    words[CHUNK_TOKENS] = b'!';
    let setup = Setup::new(genesis.clone(), adapter(&genesis), cut_text(&words)).unwrap();
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    let node = Node::with_database(database, &setup, Sums).unwrap();
    let before = node.status().unwrap().adapter;
    let (first, verdict) = mine(&node, "remes1a", 0).unwrap();
    assert_eq!(verdict.unwrap().balance, REWARD);
    let (second, _) = mine(&node, "remes1a", 0).unwrap();
    assert_ne!(first.artifact(), second.artifact());
    let status = node.status().unwrap();
    assert_eq!((status.round, status.adapter), (2, before), "nothing to add, nothing changed");
}

#[test]
fn disk_stays_bounded() {
    let node = memory(2, 5);
    let count = |node: &Node<Sums>| {
        let read = node.database.begin_read().unwrap();
        let len = |length: redb::Result<u64>| length.unwrap();
        [
            len(read.open_table(BLOCKS).unwrap().len()),
            len(read.open_table(LOOSE).unwrap().len()),
            len(read.open_table(ACCEPTED).unwrap().len()),
            len(read.open_table(COMMITMENTS).unwrap().len()),
            len(read.open_table(ROUNDS).unwrap().len()),
        ]
    };
    let mut counts = BTreeSet::new();
    for step in 0..40u8 {
        let orphan = Block::new(Codec::Raw, vec![step; 100]).unwrap();
        node.put_blocks(&[orphan]).unwrap();
        mine(&node, "remes1a", 0).unwrap().1.unwrap();
        if step >= 20 && step % 2 == 1 {
            counts.insert(count(&node));
        }
    }
    assert_eq!(counts.len(), 1, "{counts:?}");
    let [_, loose, accepted, commitments, rounds] = counts.pop_first().unwrap();
    assert_eq!((accepted, commitments, rounds), (6, 6, 4), "three closed rounds and the present one");
    assert_eq!(Ledger::load(&node.read().unwrap()).unwrap().loose_bytes, 100 * loose);
    let status = node.status().unwrap();
    AdapterState::fetch(&status.adapter, &|cid: &Cid| node.get_block(cid)).unwrap();
}

#[test]
fn every_chunk_comes_once_in_each_pass() {
    for chunks in [1, 2, 3, 5, 12, 582] {
        for pass in 0..3 {
            let seen: BTreeSet<u64> = (pass * chunks..(pass + 1) * chunks).map(|at| chunk_number(at, chunks)).collect();
            assert_eq!(seen.len() as u64, chunks);
        }
    }
    let node = memory(5, 5);
    let miners = ["remes1a", "remes1b", "remes1c", "remes1d", "remes1e"];
    let chunks: BTreeSet<Cid> = miners.iter().map(|miner| node.claim(miner, 0).unwrap().unwrap().chunk).collect();
    assert_eq!(chunks.len(), 5);
}

#[test]
fn another_job_in_the_same_file_is_refused() {
    let folder = std::env::temp_dir().join(format!("r3mes-node-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("other-job.redb");
    std::fs::write(path.with_extension("new"), [0; 4096]).unwrap();
    let adapter_before = {
        let node = Node::open(&path, setup(2, 5), Sums).unwrap();
        mine(&node, "remes1a", 0).unwrap().1.unwrap();
        mine(&node, "remes1a", 0).unwrap().1.unwrap();
        let second = Node::open(&path, setup(2, 5), Sums).err().unwrap();
        assert!(format!("{second:#}").contains("another process uses it"), "{second:#}");
        node.status().unwrap()
    };
    let error = Node::open(&path, setup(2, 6), Sums).err().unwrap();
    assert!(format!("{error:#}").contains("its text is not the one given"), "{error:#}");
    let error = Node::open(&path, setup(3, 5), Sums).err().unwrap();
    assert!(format!("{error:#}").contains("quota"), "{error:#}");
    let node = Node::open(&path, setup(2, 5), Sums).unwrap();
    assert_eq!(node.status().unwrap(), adapter_before);
    drop(node);
    std::fs::remove_dir_all(&folder).unwrap();
    let too_short = genesis(4);
    assert!(Setup::new(too_short.clone(), adapter(&too_short), cut_text(&text(3))).is_err());
}
