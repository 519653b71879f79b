//! The store against a simple model of it, and against `kill -9`.

mod kill;
mod model;

use super::*;
use r3mes_wgpu::store::{Dag, dag_cbor, unixfs::FileLayout};

/// Room for everything.
pub(crate) const AMPLE: Quota = Quota { loose_bytes: 1 << 30, total_bytes: 1 << 30 };

fn store() -> BlockStore {
    BlockStore::in_memory(AMPLE).unwrap()
}

fn raw(byte: u8) -> Block {
    Block::new(Codec::Raw, vec![byte; 100]).unwrap()
}

/// A manifest that names all of `parts`.
fn over(parts: &[Block]) -> Block {
    dag_cbor::block("test", &parts.iter().map(Block::cid).collect::<Vec<_>>()).unwrap()
}

#[test]
fn what_is_put_is_got_under_every_codec() {
    let store = store();
    let block = raw(1);
    assert_eq!(store.get(&block.cid()), Err(StoreError::Missing(block.cid())));
    assert!(!store.has(&block.cid()).unwrap());
    store.put(&[block.clone(), block.clone()]).unwrap();
    store.put(std::slice::from_ref(&block)).unwrap();
    assert_eq!(store.get(&block.cid()).as_deref(), Ok(block.bytes()));
    assert_eq!(store.size(&Codec::DagPb.cid(block.bytes())), Ok(100));
    assert_eq!(store.usage().unwrap(), Usage { blocks: 1, bytes: 228, loose_bytes: 228 });
}

#[test]
fn a_pin_needs_all_parts_and_holds_them_through_both_codecs() {
    let store = store();
    let file = Dag::file(FileLayout::new(10, 3).unwrap(), &(0..100).collect::<Vec<u8>>()).unwrap();
    let root = over(&[file.blocks[file.blocks.len() - 1].clone()]);
    store.put(std::slice::from_ref(&root)).unwrap();
    store.put(&file.blocks[1..]).unwrap();
    let refused = store.pin(&root.cid()).unwrap_err();
    assert_eq!(refused.downcast_ref(), Some(&StoreError::Missing(file.blocks[0].cid())));
    assert_eq!(store.pins().unwrap(), []);
    store.put(&file.blocks[..1]).unwrap();
    store.pin(&root.cid()).unwrap();
    assert_eq!(store.collect(u64::MAX).unwrap(), []);
    assert!(store.unpin(&root.cid()).unwrap() && !store.unpin(&root.cid()).unwrap());
    assert_eq!(store.collect(u64::MAX).unwrap().len(), file.blocks.len() + 1);
}

#[test]
fn pins_of_the_user_survive_those_of_the_system() {
    let store = store();
    let (leaves, other) = ([raw(1), raw(2)], raw(3));
    let root = over(&leaves);
    store.put(&[leaves[0].clone(), leaves[1].clone(), root.clone(), other.clone()]).unwrap();
    store.keep_only([root.cid(), other.cid()]).unwrap();
    store.pin(&leaves[1].cid()).unwrap();
    assert_eq!(store.kept().unwrap().len(), 2);
    let missing = raw(9).cid();
    assert!(store.keep_only([missing]).unwrap_err().to_string().contains(&missing.to_string()));
    assert_eq!(store.kept().unwrap().len(), 2, "what fails changes nothing");
    store.keep_only([other.cid()]).unwrap();
    store.collect(u64::MAX).unwrap();
    let there = |block: &Block| store.has(&block.cid()).unwrap();
    assert_eq!([&leaves[0], &leaves[1], &root, &other].map(there), [false, true, false, true]);
    assert_eq!((store.pins().unwrap(), store.kept().unwrap()), (vec![leaves[1].cid()], vec![other.cid()]));
}

#[test]
fn only_what_came_before_the_mark_is_collected() {
    let store = store();
    store.put(&[raw(1)]).unwrap();
    let mark = store.mark().unwrap();
    store.put(&[raw(2)]).unwrap();
    assert_eq!(store.collect(mark).unwrap(), [raw(1).cid()]);
    assert!(store.has(&raw(2).cid()).unwrap());
}

#[test]
fn a_full_store_gives_up_the_oldest_and_refuses_what_does_not_fit() {
    let store = BlockStore::in_memory(Quota { loose_bytes: 3 * 228, total_bytes: 4 * 228 }).unwrap();
    for byte in 1..=5 {
        store.put(&[raw(byte)]).unwrap();
    }
    let there = |store: &BlockStore| (0..=9).filter(|byte| store.has(&raw(*byte).cid()).unwrap()).collect::<Vec<_>>();
    assert_eq!(there(&store), [3, 4, 5]);
    store.put(&[raw(3)]).unwrap();
    store.put(&[raw(6)]).unwrap();
    assert_eq!(there(&store), [3, 5, 6], "what is put again is young again");
    let many = [raw(6), raw(7), raw(8), raw(9)];
    let full = store.put(&many).unwrap_err();
    assert_eq!(full.downcast_ref(), Some(&Full { what: "blocks that nothing pins", bytes: 912, limit: 684 }));
    assert_eq!(there(&store), [3, 5, 6], "all or none");
    store.keep_only([3, 5, 6].map(|byte| raw(byte).cid())).unwrap();
    store.put(&[raw(7)]).unwrap();
    let full = store.put(&[raw(8), raw(9)]).unwrap_err();
    assert!(full.to_string().contains("all blocks"), "{full}");
    assert_eq!(there(&store), [3, 5, 6, 7]);
    store.keep_only([]).unwrap();
    assert_eq!(there(&store).len(), 3, "what is let go counts as loose");
    assert!(store.has(&raw(7).cid()).unwrap(), "and goes before what was put");
}
