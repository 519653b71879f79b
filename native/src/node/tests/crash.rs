//! What every crash test asks: the end is the same as if nothing had happened.

use super::*;
use crate::node::{Acceptance, Status};
use r3mes_wgpu::work::Commitment;
use std::collections::BTreeSet;

pub(super) const QUOTA: u32 = 2;
pub(super) const CHUNKS: usize = 5;
pub(super) const TASKS: u64 = 8;

/// Mines until `TASKS` are accepted, telling each acceptance after the node acknowledged it.
pub(super) fn mine_to_the_end(node: &Node<Sums>, mut tell: impl FnMut(Commitment, &Acceptance)) -> Result<()> {
    while node.status()?.accepted_total < TASKS {
        let (receipt, verdict) = mine(node, "remes1a", 0)?;
        tell(receipt.commitment(), &verdict?);
    }
    Ok(())
}

/// The end of an undisturbed run: where the node stands and what was accepted.
pub(super) fn undisturbed() -> (Status, BTreeSet<Commitment>) {
    let (node, mut told) = (memory(QUOTA, CHUNKS), BTreeSet::new());
    mine_to_the_end(&node, |commitment, _| assert!(told.insert(commitment))).unwrap();
    assert_eq!(told.len() as u64, TASKS);
    (node.status().unwrap(), told)
}

/// That a disturbed run ended as the undisturbed one, every acceptance paid once.
pub(super) fn assert_same_end(node: &Node<Sums>, told: &BTreeSet<Commitment>, context: &str) {
    let (status, commitments) = undisturbed();
    assert_eq!(node.status().unwrap(), status, "{context}");
    assert_eq!(node.balance("remes1a").unwrap(), TASKS * REWARD, "{context}");
    assert!(told.is_subset(&commitments), "{context}: something accepted belongs to no undisturbed run");
}
