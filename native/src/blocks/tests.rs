//! Tests that the block store keeps pinned blocks and respects its size limits, that it behaves like a simple reference
//! implementation, and that acknowledged blocks survive `kill -9`.

mod kill;
mod model;

use super::*;
use r3mes_wgpu::store::{Dag, dag_cbor, unixfs::FileLayout};

/// Size limits for tests that must not reach a limit.
pub(crate) const AMPLE: Quota = Quota { unpinned_bytes: 1 << 30, total_bytes: 1 << 30 };

fn store() -> BlockStore {
    BlockStore::in_memory(AMPLE).unwrap()
}

fn raw(byte: u8) -> Block {
    Block::new(Codec::Raw, vec![byte; 100]).unwrap()
}

/// Returns a manifest block that links to each of `parts`.
fn manifest(parts: &[Block]) -> Block {
    dag_cbor::block("test", &parts.iter().map(Block::cid).collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_stored_block_is_found_under_every_codec() {
    let store = store();
    let block = raw(1);
    assert_eq!(store.get(&block.cid()), Err(StoreError::Missing(block.cid())));
    assert!(!store.has(&block.cid()).unwrap());
    store.put(&[block.clone(), block.clone()]).unwrap();
    store.put(std::slice::from_ref(&block)).unwrap();
    assert_eq!(store.get(&block.cid()).as_deref(), Ok(block.bytes()));
    assert_eq!(store.size(&Codec::DagPb.cid(block.bytes())), Ok(100));
    assert_eq!(store.usage().unwrap(), Usage { blocks: 1, bytes: 228, unpinned_bytes: 228 });
}

#[test]
fn a_pin_needs_all_parts_and_holds_them_across_codecs() {
    let store = store();
    let file = Dag::file(FileLayout::new(10, 3).unwrap(), &(0..100).collect::<Vec<u8>>()).unwrap();
    let root = manifest(&[file.blocks[file.blocks.len() - 1].clone()]);
    store.put(std::slice::from_ref(&root)).unwrap();
    store.put(&file.blocks[1..]).unwrap();
    let error = store.pin(&root.cid()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&StoreError::Missing(file.blocks[0].cid())));
    assert_eq!(store.user_pins().unwrap(), []);
    store.put(&file.blocks[..1]).unwrap();
    store.pin(&root.cid()).unwrap();
    assert_eq!(store.collect(u64::MAX).unwrap(), []);
    assert!(store.unpin(&root.cid()).unwrap() && !store.unpin(&root.cid()).unwrap());
    assert_eq!(store.collect(u64::MAX).unwrap().len(), file.blocks.len() + 1);
}

#[test]
fn replacing_the_systems_pins_keeps_those_of_the_user() {
    let store = store();
    let (leaves, other) = ([raw(1), raw(2)], raw(3));
    let root = manifest(&leaves);
    store.put(&[leaves[0].clone(), leaves[1].clone(), root.clone(), other.clone()]).unwrap();
    store.replace_system_pins([root.cid(), other.cid()]).unwrap();
    store.pin(&leaves[1].cid()).unwrap();
    assert_eq!(store.system_pins().unwrap().len(), 2);
    let missing = raw(9).cid();
    assert!(store.replace_system_pins([missing]).unwrap_err().to_string().contains(&missing.to_string()));
    assert_eq!(store.system_pins().unwrap().len(), 2, "a failed replacement changes nothing");
    store.replace_system_pins([other.cid()]).unwrap();
    store.collect(u64::MAX).unwrap();
    let there = |block: &Block| store.has(&block.cid()).unwrap();
    assert_eq!([&leaves[0], &leaves[1], &root, &other].map(there), [false, true, false, true]);
    assert_eq!((store.user_pins().unwrap(), store.system_pins().unwrap()), (vec![leaves[1].cid()], vec![other.cid()]));
}

#[test]
fn only_blocks_before_the_mark_are_collected() {
    let store = store();
    store.put(&[raw(1)]).unwrap();
    let mark = store.mark().unwrap();
    store.put(&[raw(2)]).unwrap();
    assert_eq!(store.collect(mark).unwrap(), [raw(1).cid()]);
    assert!(store.has(&raw(2).cid()).unwrap());
}

#[test]
fn a_full_store_deletes_the_oldest_unpinned_blocks_and_rejects_what_does_not_fit() {
    let store = BlockStore::in_memory(Quota { unpinned_bytes: 3 * 228, total_bytes: 4 * 228 }).unwrap();
    for byte in 1..=5 {
        store.put(&[raw(byte)]).unwrap();
    }
    let there = |store: &BlockStore| (0..=9).filter(|byte| store.has(&raw(*byte).cid()).unwrap()).collect::<Vec<_>>();
    assert_eq!(there(&store), [3, 4, 5]);
    store.put(&[raw(3)]).unwrap();
    store.put(&[raw(6)]).unwrap();
    assert_eq!(there(&store), [3, 5, 6], "storing a block again renews its mark");
    let many = [raw(6), raw(7), raw(8), raw(9)];
    let full = store.put(&many).unwrap_err();
    assert_eq!(full.downcast_ref(), Some(&StoreFull { what: "unpinned blocks", bytes: 912, limit: 684 }));
    assert_eq!(there(&store), [3, 5, 6], "a put that does not fit stores no block");
    store.replace_system_pins([3, 5, 6].map(|byte| raw(byte).cid())).unwrap();
    store.put(&[raw(7)]).unwrap();
    let full = store.put(&[raw(8), raw(9)]).unwrap_err();
    assert!(full.to_string().contains("all blocks"), "{full}");
    assert_eq!(there(&store), [3, 5, 6, 7]);
    store.replace_system_pins([]).unwrap();
    assert_eq!(there(&store).len(), 3, "released blocks count as unpinned");
    assert!(store.has(&raw(7).cid()).unwrap(), "a released block is deleted before a block that was never pinned");
}
