//! Tests that the ABCI application answers CometBFT's requests correctly: replicas agree, proposals contain only valid
//! transactions, and snapshots restore the ledger.

use super::{
    app::AbciApp,
    restore::SnapshotRestore,
    snapshots::{FORMAT, described, pack, unpack},
};
use crate::node::{
    Node,
    tests::{memory, node, node_with, transaction},
};
use r3mes_wgpu::{
    ledger::{ConsensusKey, MAX_BLOCK_BYTES},
    simulation::{CHAIN, address, key},
    tx::{Fee, Message, MsgClaimTask, MsgRegisterNode, MsgSetConsensusKey, MsgUnregisterNode, code},
};
use std::sync::Arc;
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::abci::{
        Request, RequestApplySnapshotChunk, RequestCheckTx, RequestCommit, RequestFinalizeBlock, RequestInfo,
        RequestInitChain, RequestListSnapshots, RequestLoadSnapshotChunk, RequestOfferSnapshot, RequestPrepareProposal,
        RequestProcessProposal, RequestQuery, ResponseFinalizeBlock, Snapshot, ValidatorUpdate,
        request::Value as RequestValue, response::Value as ResponseValue,
        response_apply_snapshot_chunk::Result as Applied, response_offer_snapshot::Result as Offered,
        response_process_proposal::ProposalStatus,
    },
    v0_38::crypto::public_key::Sum,
};

fn app(every: u64) -> (Arc<Node>, AbciApp) {
    let node = Arc::new(node(memory()).unwrap());
    (node.clone(), AbciApp::new(node, every))
}

/// Sends an ABCI request of the given kind. Evaluates to the response of the same kind, or to the error as text.
macro_rules! ask {
    ($app:expr, $kind:ident, $request:expr) => {
        match $app.answer(Request { value: Some(RequestValue::$kind($request)) }) {
            Ok(ResponseValue::$kind(response)) => Ok(response),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(format!("{error:#}")),
        }
    };
}

fn time(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp { seconds: seconds as i64, nanos: 999_999_999 })
}

fn block(height: u64, txs: Vec<Vec<u8>>) -> RequestFinalizeBlock {
    RequestFinalizeBlock {
        txs: txs.into_iter().map(Into::into).collect(),
        hash: vec![height as u8; 32].into(),
        height: height as i64,
        time: time(1_000 + height),
        ..Default::default()
    }
}

/// Executes a block at `height` with the transactions `txs`, commits it, and returns the response to its execution.
fn add(app: &AbciApp, height: u64, txs: Vec<Vec<u8>>) -> ResponseFinalizeBlock {
    let response = ask!(app, FinalizeBlock, block(height, txs)).unwrap();
    ask!(app, Commit, RequestCommit {}).unwrap();
    response
}

fn claim(chunk_id: u64, sequence: u64) -> Vec<u8> {
    let message = Message::ClaimTask(MsgClaimTask { miner: address(1), pool_id: 0, chunk_id });
    key(1).sign(CHAIN, sequence, &Fee::default(), &[message]).unwrap()
}

#[test]
fn replicas_agree_and_a_block_is_stored_only_on_commit() {
    let (one, other) = (app(1000), app(1000));
    let chain = RequestInitChain { chain_id: CHAIN.to_owned(), initial_height: 1, ..Default::default() };
    let begun = ask!(one.1, InitChain, chain.clone()).unwrap();
    assert_eq!(begun.app_hash, one.0.ledger().root().to_vec());
    assert!(ask!(one.1, Commit, RequestCommit {}).unwrap_err().contains("but no block was executed"));
    for height in 1..=5 {
        let before = one.0.ledger().root();
        let ran = ask!(one.1, FinalizeBlock, block(height, vec![transaction(height - 1)])).unwrap();
        assert_eq!(one.0.ledger().root(), before, "executing a block does not change the ledger on disk");
        // CometBFT sends the request again after a crash
        assert_eq!(ask!(one.1, FinalizeBlock, block(height, vec![transaction(height - 1)])).unwrap(), ran);
        ask!(one.1, Commit, RequestCommit {}).unwrap();
        assert_eq!(ran.app_hash, one.0.ledger().root().to_vec());
        assert_eq!((ran.tx_results[0].code, ran.tx_results[0].log.as_str()), (0, ""));
        let mut kinds = ran.tx_results[0].events.iter().map(|event| event.r#type.as_str());
        assert!(
            kinds.any(|kind| kind == if height == 4 { "claimed" } else { "transfer" }),
            "CometBFT indexes the events"
        );
        assert_eq!(add(&other.1, height, vec![transaction(height - 1)]), ran);
        let info = ask!(one.1, Info, RequestInfo::default()).unwrap();
        assert_eq!((info.last_block_height as u64, info.last_block_app_hash), (height, ran.app_hash));
    }
    let record = one.0.block(5).unwrap().unwrap();
    assert_eq!((record.block.time, record.block.hash), (1_005, [5; 32]), "the time and the hash that CometBFT sent");
    assert!(ask!(one.1, FinalizeBlock, block(7, Vec::new())).unwrap_err().contains("the ledger expects height 6"));
    assert!(ask!(one.1, InitChain, chain).unwrap_err().contains("the ledger is at height 5"));
    let foreign = RequestInitChain { chain_id: "test-2".to_owned(), initial_height: 1, ..Default::default() };
    assert!(
        ask!(one.1, InitChain, foreign)
            .unwrap_err()
            .contains("chain_id is test-2, but the genesis of the ledger has simulation-1")
    );
}

#[test]
fn cometbft_learns_the_voting_powers_that_follow_from_the_stakes() {
    let keys = [(address(9), ConsensusKey::new([9; 32]))];
    let node = node_with(memory(), |genesis| genesis.consensus_keys = keys.into()).unwrap();
    let app = AbciApp::new(Arc::new(node), 1000);
    let power = |update: &ValidatorUpdate| {
        let Some(Sum::Ed25519(key)) = update.pub_key.clone().unwrap().sum else { panic!("{update:?}") };
        (key[0], key.len(), update.power)
    };
    let chain = RequestInitChain { chain_id: CHAIN.to_owned(), initial_height: 1, ..Default::default() };
    let begun = ask!(app, InitChain, chain).unwrap();
    assert_eq!(begun.validators.iter().map(power).collect::<Vec<_>>(), [(9, 32, 1)]);
    let stake =
        MsgRegisterNode { node_address: address(1), node_type: 3, stake: "1000000".to_owned(), ..Default::default() };
    let set = MsgSetConsensusKey { node_address: address(1), key: vec![1; 32] };
    let messages = [Message::RegisterNode(stake), Message::SetConsensusKey(set)];
    let tx = key(1).sign(CHAIN, 0, &Fee::default(), &messages).unwrap();
    assert_eq!(add(&app, 1, vec![tx]).validator_updates.iter().map(power).collect::<Vec<_>>(), [(1, 32, 1)]);
    assert_eq!(add(&app, 2, vec![]).validator_updates, []);
    let leave = Message::UnregisterNode(MsgUnregisterNode { node_address: address(9) });
    let tx = key(9).sign(CHAIN, 0, &Fee::default(), &[leave]).unwrap();
    assert_eq!(add(&app, 3, vec![tx]).validator_updates.iter().map(power).collect::<Vec<_>>(), [(9, 32, 0)]);
}

#[test]
fn check_tx_follows_the_sequence_numbers_and_restarts_after_each_block() {
    let (_, app) = app(1000);
    let check = |tx: Vec<u8>| ask!(app, CheckTx, RequestCheckTx { tx: tx.into(), r#type: 0 }).unwrap().code;
    assert_eq!([check(transaction(1)), check(transaction(0)), check(transaction(1))], [code::WRONG_SEQUENCE, 0, 0]);
    assert_eq!(check(b"no transaction".to_vec()), code::MALFORMED);
    add(&app, 1, vec![transaction(0)]);
    assert_eq!([check(transaction(0)), check(transaction(1))], [code::WRONG_SEQUENCE, 0]);
}

#[test]
fn the_codespace_states_whether_a_code_is_one_of_the_cosmos_sdk() {
    let (_, app) = app(1000);
    let check = |tx| ask!(app, CheckTx, RequestCheckTx { tx, r#type: 0 }).unwrap();
    assert_eq!(check(transaction(0).into()).codespace, "");
    assert_eq!(check(transaction(9).into()).codespace, "sdk");
    let results = add(&app, 1, vec![claim(99, 0), transaction(9)]).tx_results;
    let codes: Vec<_> = results.iter().map(|result| (result.code, result.codespace.as_str())).collect();
    assert_eq!(codes, [(code::TAKEN, "remes"), (code::WRONG_SEQUENCE, "sdk")]);
    let unknown = RequestQuery { path: "/unknown".to_owned(), ..Default::default() };
    assert_eq!(ask!(app, Query, unknown).unwrap().codespace, "sdk");
}

#[test]
fn a_proposal_contains_only_valid_transactions_that_fit() {
    let (_, app) = app(1000);
    let prepare = |txs: &[Vec<u8>], max_bytes: usize| {
        let txs = txs.iter().map(|tx| tx.clone().into()).collect();
        let request = RequestPrepareProposal {
            max_tx_bytes: max_bytes as i64,
            txs,
            height: 1,
            time: time(9),
            ..Default::default()
        };
        ask!(app, PrepareProposal, request).unwrap().txs
    };
    let process = |txs| {
        let request = RequestProcessProposal { txs, height: 1, time: time(9), ..Default::default() };
        ask!(app, ProcessProposal, request).unwrap().status
    };
    let (first, second, third) = (transaction(0), transaction(1), transaction(2));
    let junk = vec![7; 100];
    let candidates = [junk.clone(), second.clone(), first.clone(), second.clone(), third.clone()];
    let proposed = prepare(&candidates, MAX_BLOCK_BYTES);
    assert_eq!(proposed, [first.clone(), second.clone(), third.clone()]);
    assert_eq!(process(proposed), i32::from(ProposalStatus::Accept));
    // in a block, each of these transactions takes three bytes more than its own size
    let max_bytes = first.len() + second.len() + 6;
    assert_eq!(prepare(&candidates, max_bytes).len(), 2);
    assert_eq!(prepare(&candidates, max_bytes - 1).len(), 1);
    for bad in [vec![junk], vec![second.clone()], vec![first.clone(), third], vec![first.clone(), first]] {
        let bad = bad.into_iter().map(Into::into).collect();
        assert_eq!(process(bad), i32::from(ProposalStatus::Reject));
    }
}

/// Returns the newest snapshot that a node offers, and its chunks.
fn newest_snapshot(app: &AbciApp) -> (Snapshot, Vec<Vec<u8>>) {
    let snapshot = ask!(app, ListSnapshots, RequestListSnapshots {}).unwrap().snapshots.remove(0);
    let chunk = |chunk| {
        let request = RequestLoadSnapshotChunk { height: snapshot.height, format: FORMAT, chunk };
        ask!(app, LoadSnapshotChunk, request).unwrap().chunk.to_vec()
    };
    let chunks = (0..snapshot.chunks).map(chunk).collect();
    (snapshot, chunks)
}

fn offer(app: &AbciApp, snapshot: &Snapshot, app_hash: &[u8]) -> i32 {
    let request = RequestOfferSnapshot { snapshot: Some(snapshot.clone()), app_hash: app_hash.to_vec().into() };
    ask!(app, OfferSnapshot, request).unwrap().result
}

#[test]
fn a_snapshot_restores_the_same_ledger_with_its_tasks() {
    let (giver, from) = app(3);
    let mut hashes = vec![Vec::new()];
    for height in 1..=8 {
        let txs = if height == 2 { vec![claim(1, 0)] } else { Vec::new() };
        hashes.push(add(&from, height, txs).app_hash.to_vec());
    }
    let (snapshot, chunks) = newest_snapshot(&from);
    assert_eq!(snapshot.height, 6, "the newest snapshot that two blocks follow");
    let nothing = ask!(from, LoadSnapshotChunk, RequestLoadSnapshotChunk { height: 5, format: FORMAT, chunk: 0 });
    assert!(nothing.unwrap().chunk.is_empty());

    let (node, to) = app(3);
    let apply = |index: u32, chunk: &[u8]| {
        let chunk = chunk.to_vec().into();
        ask!(to, ApplySnapshotChunk, RequestApplySnapshotChunk { index, chunk, sender: "peer".to_owned() })
    };
    assert!(apply(0, &chunks[0]).unwrap_err().contains("no snapshot was accepted"));
    let begun = node.ledger().root();
    assert_eq!(offer(&to, &snapshot, &hashes[5]), i32::from(Offered::Accept));
    assert_eq!(apply(0, &chunks[0]).unwrap().result, i32::from(Applied::RejectSnapshot), "app hash of another height");
    assert_eq!(node.ledger().root(), begun);

    assert_eq!(offer(&to, &snapshot, &hashes[6]), i32::from(Offered::Accept));
    let mut tampered = chunks[0].clone();
    tampered[40] ^= 1;
    let again = apply(0, &tampered).unwrap();
    assert_eq!(again.result, i32::from(Applied::Retry));
    assert_eq!((again.refetch_chunks, again.reject_senders), (vec![0], vec!["peer".to_owned()]));
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(apply(index as u32, chunk).unwrap().result, i32::from(Applied::Accept));
    }
    let info = ask!(to, Info, RequestInfo::default()).unwrap();
    assert_eq!((info.last_block_height, info.last_block_app_hash.to_vec()), (6, hashes[6].clone()));
    assert_eq!(
        add(&to, 7, Vec::new()).app_hash,
        hashes[7],
        "the restored node continues like the one that served the snapshot"
    );
    let task = giver.ledger().held(key(1).address()).unwrap().unwrap().task;
    assert!(node.blocks().get(&task.cid()).is_ok());
}

#[test]
fn chunks_of_a_snapshot_are_applied_in_order() {
    let (giver, from) = app(1);
    (0..3).for_each(|height| drop(add(&from, height + 1, vec![transaction(height)])));
    let ledger = giver.ledger();
    let chunks = pack(&ledger, 100).unwrap();
    assert!(chunks.len() > 3);
    let rows: Vec<_> = chunks.iter().flat_map(|chunk| unpack(chunk).unwrap()).collect();
    assert_eq!(rows, ledger.rows());
    let (node, to) = app(1);
    let apply = |index: u32, chunk: &[u8]| {
        let request = RequestApplySnapshotChunk { index, chunk: chunk.to_vec().into(), ..Default::default() };
        ask!(to, ApplySnapshotChunk, request).unwrap().result
    };
    let offered = described(3, &chunks).unwrap();
    assert_eq!(offer(&to, &offered, &ledger.root()), i32::from(Offered::Accept));
    assert_eq!(apply(1, &chunks[1]), i32::from(Applied::RejectSnapshot), "not the first chunk");
    assert_eq!(offer(&to, &offered, &ledger.root()), i32::from(Offered::Accept));
    for (index, chunk) in chunks.iter().enumerate() {
        assert_ne!(node.ledger().root(), ledger.root(), "the ledger is unchanged before the last chunk");
        assert_eq!(apply(index as u32, chunk), i32::from(Applied::Accept));
    }
    assert_eq!(node.ledger().root(), ledger.root());
}

#[test]
fn inconsistent_snapshot_offers_are_rejected() {
    let (_, from) = app(1);
    (1..=3).for_each(|height| drop(add(&from, height, Vec::new())));
    let (snapshot, _) = newest_snapshot(&from);
    let (_, to) = app(1);
    let mut bad = vec![
        Snapshot { format: 2, ..snapshot.clone() },
        Snapshot { chunks: 2, ..snapshot.clone() },
        Snapshot { chunks: 0, metadata: Vec::new().into(), ..snapshot.clone() },
        Snapshot { hash: vec![1; 32].into(), ..snapshot.clone() },
    ];
    bad.push(Snapshot { metadata: [&*snapshot.metadata, &[0]].concat().into(), ..snapshot.clone() });
    assert!(bad.iter().all(|bad| offer(&to, bad, &[0; 32]) == i32::from(Offered::Reject)));
    let none = RequestOfferSnapshot { snapshot: None, ..Default::default() };
    assert!(SnapshotRestore::begin(none).is_none());
}
