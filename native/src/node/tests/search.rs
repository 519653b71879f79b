//! Tests of the index of transactions by the attributes of their events.

use super::*;
use std::ops::RangeInclusive;

fn filter(attributes: &[(&str, &str)], heights: RangeInclusive<u64>) -> TxFilter {
    let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TxFilter { hash: None, attributes, heights }
}

#[test]
fn transactions_are_found_by_attributes_heights_and_hash() {
    let node = node(memory()).unwrap();
    run(&node, |_, _| {}).unwrap();
    let all = 0..=u64::MAX;
    let found = |filter: TxFilter| -> Vec<u64> {
        node.search(filter).unwrap().unwrap().into_iter().map(|(height, _)| height).collect()
    };
    let every: Vec<u64> = (1..=BLOCKS).collect();
    assert_eq!(found(filter(&[], all.clone())), every);
    assert_eq!(found(filter(&[], 5..=7)), [5, 6, 7]);
    assert!(found(filter(&[], RangeInclusive::new(7, 5))).is_empty(), "conditions may exclude each other");

    let (sender, recipient) = (address(1), address(4));
    let sent = [("message.sender", sender.as_str()), ("transfer.sender", &sender)];
    let transfers: Vec<u64> = every.iter().copied().filter(|height| *height != 4).collect();
    assert_eq!(found(filter(&sent[..1], all.clone())), every);
    assert_eq!(found(filter(&sent, all.clone())), transfers);
    // the transaction in the block at height h + 1 sends coins to account 2 + h mod 5
    let to_fourth: Vec<u64> = transfers.iter().copied().filter(|height| (height - 1) % 5 == 2).collect();
    let both = [sent[1], ("transfer.recipient", recipient.as_str())];
    assert_eq!(found(filter(&both, all.clone())), to_fourth);
    assert_eq!(found(filter(&both, 9..=BLOCKS)), to_fourth[2..]);
    let claims = [("claimed.miner", sender.as_str()), ("message.action", "/remes.remes.v1.MsgClaimTask")];
    assert_eq!(found(filter(&claims, all.clone())), [4]);
    assert!(found(filter(&[("transfer.sender", &recipient)], all.clone())).is_empty());

    let hash = tx_hash(&transaction(7));
    let by_hash = |filter: TxFilter| found(TxFilter { hash: Some(hash.clone()), ..filter });
    assert_eq!((by_hash(filter(&sent, all.clone())), by_hash(filter(&[], 0..=7))), (vec![8], vec![]));
    assert!(by_hash(filter(&claims, all)).is_empty());
    let txs = node.transactions(&[(3, 0), (8, 0), (BLOCKS + 1, 0)]).unwrap();
    assert_eq!(txs.iter().map(|found| found.height).collect::<Vec<_>>(), [3, 8]);
    assert_eq!((&txs[1].outcome.hash, &txs[1].tx, txs[1].time), (&hash, &transaction(7), 1_007));
}

#[test]
fn a_transaction_that_is_executed_again_is_found_once() {
    let node = node(memory()).unwrap();
    let (early, late) = (transaction(1), transaction(0));
    // a block of another proposer may contain a transaction too early, before its sequence number is due
    for (height, txs) in [(1, vec![early.clone()]), (2, vec![late, early.clone()])] {
        let before = node.ledger();
        let block = ChainBlock::new(height, 1_000, before.root(), txs.into_iter().map(Tx).collect());
        let (after, applied) = before.apply(&block);
        node.add(after, AddedBlock { block, applied }).unwrap();
    }
    let heights = |attributes: &[(&str, &str)]| node.search(filter(attributes, 0..=u64::MAX)).unwrap().unwrap();
    assert_eq!(heights(&[]), [(2, 0), (2, 1)]);
    assert_eq!(heights(&[("tx.acc_seq", &format!("{}/1", address(1)))]), [(2, 1)]);
    assert_eq!(node.transaction(&tx_hash(&early)).unwrap().unwrap().outcome.code, 0);
}

#[test]
fn a_file_without_the_index_gets_one() {
    let (file, setup) = (std::env::temp_dir().join(format!("r3mes-index-{}", std::process::id())), setup(5));
    let _ = std::fs::remove_file(&file);
    let open = || {
        Node::with(
            RecoveringDatabase::once(Database::create(&file).unwrap()),
            BlockStore::in_memory(QUOTA).unwrap(),
            &setup,
            0,
        )
        .unwrap()
    };
    let node = open();
    run(&node, |_, _| {}).unwrap();
    drop(node);
    let database = Database::create(&file).unwrap();
    let write = database.begin_write().unwrap();
    assert!(write.delete_table(tx_index::TX_INDEX).unwrap());
    write.commit().unwrap();
    drop(database);
    let found = open().search(filter(&[("message.sender", &address(1))], 3..=u64::MAX)).unwrap().unwrap();
    assert_eq!(found.len() as u64, BLOCKS - 2);
    std::fs::remove_file(&file).unwrap();
}
