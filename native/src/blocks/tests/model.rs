//! Tests that the block store and a simple reference implementation contain the same blocks and pins after every step
//! of a random sequence of actions.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the blocks that the random actions store and pin: six blocks without links, and five manifests that link to
/// these blocks and to other manifests.
fn universe() -> Vec<Block> {
    let mut blocks: Vec<Block> = (0..6).map(raw).collect();
    for parts in [vec![0, 1], vec![1, 2, 3], vec![6, 4], vec![6, 7], vec![9, 5]] {
        let parts: Vec<Block> = parts.into_iter().map(|at: usize| blocks[at].clone()).collect();
        blocks.push(manifest(&parts));
    }
    blocks
}

#[derive(Clone, Debug)]
enum StoreAction {
    Put(Vec<usize>),
    Pin(usize),
    Unpin(usize),
    KeepOnly(Vec<usize>),
    /// Delete the unpinned blocks whose mark (the sequence number of the `put` that stored the block) is at most the
    /// mark of the last `put` minus this number.
    Collect(u64),
}

fn step() -> impl Strategy<Value = StoreAction> {
    let block = 0..universe().len();
    prop_oneof![
        4 => prop::collection::vec(block.clone(), 1..6).prop_map(StoreAction::Put),
        2 => block.clone().prop_map(StoreAction::Pin),
        1 => block.clone().prop_map(StoreAction::Unpin),
        2 => prop::collection::vec(block, 0..4).prop_map(StoreAction::KeepOnly),
        1 => (0..4u64).prop_map(StoreAction::Collect),
    ]
}

/// The reference implementation: a block store in memory that is as simple as possible. It identifies a block by the
/// block's index in `blocks`.
#[derive(Clone)]
struct ReferenceStore {
    blocks: Vec<Block>,
    quota: Quota,
    mark: u64,
    /// The mark of each stored block (the sequence number of the `put` that stored it, or 0 if it has lost its last
    /// pin), by the block's index.
    there: BTreeMap<usize, u64>,
    user: BTreeSet<usize>,
    system: BTreeSet<usize>,
}

impl ReferenceStore {
    fn whole(&self, root: usize) -> BTreeSet<usize> {
        let parts = r3mes_wgpu::protocol::parts(&self.blocks[root]).unwrap();
        let at = |cid: &Cid| self.blocks.iter().position(|block| block.cid() == *cid).unwrap();
        let below = parts.iter().flat_map(|part| self.whole(at(part)));
        below.chain([root]).collect()
    }

    fn held(&self) -> BTreeSet<usize> {
        self.user.union(&self.system).flat_map(|root| self.whole(*root)).collect()
    }

    fn bytes(&self, of: impl Iterator<Item = usize>) -> u64 {
        of.map(|at| quota::cost(self.blocks[at].bytes())).sum()
    }

    fn unpinned(&self) -> Vec<usize> {
        let held = self.held();
        self.there.keys().copied().filter(|at| !held.contains(at)).collect()
    }

    /// Deletes the unpinned block with the smallest mark, if that mark is below `mark`. Returns whether a block was
    /// deleted.
    fn drop_oldest(&mut self, mark: u64) -> bool {
        let key = |at: &usize| (self.there[at], digest(&self.blocks[*at].cid()).unwrap());
        let oldest = self.unpinned().into_iter().filter(|at| self.there[at] < mark).min_by_key(key);
        oldest.is_some_and(|at| self.there.remove(&at).is_some())
    }

    fn fits(&mut self, mark: u64, total: bool) -> bool {
        while self.bytes(self.unpinned().into_iter()) > self.quota.unpinned_bytes
            || total && self.bytes(self.there.keys().copied()) > self.quota.total_bytes
        {
            if !self.drop_oldest(mark) {
                return false;
            }
        }
        true
    }

    /// Replaces the pins of the user and of the system. Changes nothing and returns false if a block that the new pins
    /// keep is not stored. Blocks that lose their last pin are the first to be deleted.
    fn pinned(&mut self, user: BTreeSet<usize>, system: BTreeSet<usize>) -> bool {
        let before = self.held();
        let next = Self { user, system, ..self.clone() };
        if !next.held().iter().all(|at| self.there.contains_key(at)) {
            return false;
        }
        *self = next;
        for at in before.difference(&self.held()) {
            self.there.insert(*at, quota::RELEASED);
        }
        self.fits(u64::MAX, false)
    }

    fn step(&mut self, step: &StoreAction) -> bool {
        let (mut user, system) = (self.user.clone(), self.system.clone());
        match step {
            StoreAction::Put(put) => {
                let (before, held) = (self.clone(), self.held());
                self.mark += 1;
                for at in put.iter().filter(|at| !held.contains(at)) {
                    self.there.insert(*at, self.mark);
                }
                let fits = self.fits(self.mark, true);
                if !fits {
                    *self = before;
                }
                fits
            }
            StoreAction::Pin(at) => {
                user.insert(*at);
                self.pinned(user, system)
            }
            StoreAction::Unpin(at) => user.remove(at) && self.pinned(user, system),
            StoreAction::KeepOnly(roots) => self.pinned(user, roots.iter().copied().collect()),
            StoreAction::Collect(ago) => {
                let mark = (self.mark + 1).saturating_sub(*ago);
                while self.drop_oldest(mark) {}
                true
            }
        }
    }
}

fn take(store: &BlockStore, blocks: &[Block], step: &StoreAction) -> bool {
    let cid = |at: &usize| blocks[*at].cid();
    match step {
        StoreAction::Put(put) => store.put(&put.iter().map(|at| blocks[*at].clone()).collect::<Vec<_>>()).is_ok(),
        StoreAction::Pin(at) => store.pin(&cid(at)).is_ok(),
        StoreAction::Unpin(at) => store.unpin(&cid(at)).unwrap(),
        StoreAction::KeepOnly(roots) => store.replace_system_pins(roots.iter().map(cid)).is_ok(),
        StoreAction::Collect(ago) => store.collect(store.mark().unwrap().saturating_sub(*ago)).is_ok(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_of_the_store_ends_as_the_model_predicts(
        steps in prop::collection::vec(step(), 1..40),
        unpinned in 0..2500u64,
        pinned in 0..2500u64,
    ) {
        let quota = Quota { unpinned_bytes: unpinned, total_bytes: unpinned + pinned };
        let (store, blocks) = (BlockStore::in_memory(quota).unwrap(), universe());
        let (there, user, system) = Default::default();
        let mut model = ReferenceStore { blocks: blocks.clone(), quota, mark: 0, there, user, system };
        for step in &steps {
            prop_assert_eq!(take(&store, &blocks, step), model.step(step), "{:?}", step);
            let there: Vec<usize> = (0..blocks.len()).filter(|at| store.has(&blocks[*at].cid()).unwrap()).collect();
            prop_assert_eq!(&there, &model.there.keys().copied().collect::<Vec<_>>(), "{:?}", step);
            let cids = |set: &BTreeSet<usize>| set.iter().map(|at| blocks[*at].cid()).collect::<BTreeSet<_>>();
            prop_assert_eq!(store.user_pins().unwrap().into_iter().collect::<BTreeSet<_>>(), cids(&model.user));
            prop_assert_eq!(store.system_pins().unwrap().into_iter().collect::<BTreeSet<_>>(), cids(&model.system));
            let expected = Usage {
                blocks: there.len() as u64,
                bytes: model.bytes(there.iter().copied()),
                unpinned_bytes: model.bytes(model.unpinned().into_iter()),
            };
            prop_assert_eq!(store.usage().unwrap(), expected, "{:?}", step);
        }
    }
}
