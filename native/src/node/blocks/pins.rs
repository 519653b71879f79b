//! Pins: who holds which blocks.

use super::{BYTES, BlockStore, Digest, HELD, ROOTS, digest, quota};
use anyhow::{Context, Result};
use r3mes_wgpu::{
    protocol::parts,
    store::{Block, Cid, Codec, StoreError},
};
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeSet;

/// Whose pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    System = 0,
    User = 1,
}

impl BlockStore {
    /// Pins a block and all its parts for the user; one that is missing is named. A pin that is there already stays.
    pub(crate) fn pin(&self, root: &Cid) -> Result<()> {
        let write = self.write()?;
        hold(&write, Whose::User, root)?;
        Ok(write.commit()?)
    }

    /// Takes a pin of the user's away; false where there is none.
    pub(crate) fn unpin(&self, root: &Cid) -> Result<bool> {
        let write = self.write()?;
        let was_there = release(&write, Whose::User, root)?;
        quota::shrink(&write, &self.quota)?;
        write.commit()?;
        Ok(was_there)
    }

    /// The block `root` and all its parts, in the order of a depth-first walk; one that is missing is named.
    pub(crate) fn whole(&self, root: &Cid) -> Result<Vec<Cid>> {
        walk(&self.read()?.open_table(BYTES)?, root)
    }

    /// What the user pins.
    pub(crate) fn pins(&self) -> Result<Vec<Cid>> {
        roots(&self.read()?.open_table(ROOTS)?, Whose::User)
    }

    /// What the system pins.
    pub(crate) fn kept(&self) -> Result<Vec<Cid>> {
        roots(&self.read()?.open_table(ROOTS)?, Whose::System)
    }

    /// Adds to the system's pins, in one transaction. A block that is missing is named, and nothing changes.
    pub(crate) fn keep_too(&self, roots: impl Iterator<Item = Cid>) -> Result<()> {
        let mut roots = roots.peekable();
        if roots.peek().is_none() {
            return Ok(());
        }
        let write = self.write()?;
        roots.try_for_each(|root| hold(&write, Whose::System, &root))?;
        quota::shrink(&write, &self.quota)?;
        Ok(write.commit()?)
    }

    /// Makes the system's pins exactly these, in one transaction: what the others held, and nobody else holds, is loose.
    /// A block that is missing is named, and nothing changes.
    pub(crate) fn keep_only(&self, wanted: impl IntoIterator<Item = Cid>) -> Result<()> {
        let write = self.write()?;
        let kept: BTreeSet<Cid> = roots(&write.open_table(ROOTS)?, Whose::System)?.into_iter().collect();
        let wanted: BTreeSet<Cid> = wanted.into_iter().collect();
        // first those that come, so that nothing is let go in between
        for root in wanted.difference(&kept) {
            hold(&write, Whose::System, root)?;
        }
        for root in kept.difference(&wanted) {
            release(&write, Whose::System, root)?;
        }
        quota::shrink(&write, &self.quota)?;
        Ok(write.commit()?)
    }
}

fn hold(write: &WriteTransaction, whose: Whose, root: &Cid) -> Result<()> {
    let is_new = write.open_table(ROOTS)?.insert((whose as u8, root.to_bytes().as_slice()), ())?.is_none();
    if !is_new {
        return Ok(());
    }
    let whole = whole(&write.open_table(BYTES)?, root)?;
    for digest in whole {
        let count = count(write, &digest)?;
        write.open_table(HELD)?.insert(digest, count + 1)?;
        if count == 0 {
            quota::take_up(write, &digest)?;
        }
    }
    Ok(())
}

fn release(write: &WriteTransaction, whose: Whose, root: &Cid) -> Result<bool> {
    if write.open_table(ROOTS)?.remove((whose as u8, root.to_bytes().as_slice()))?.is_none() {
        return Ok(false);
    }
    let whole = whole(&write.open_table(BYTES)?, root)?;
    for digest in whole {
        match count(write, &digest)? {
            0 | 1 => {
                write.open_table(HELD)?.remove(digest)?;
                quota::let_go(write, &digest, quota::FIRST)?;
            }
            count => {
                write.open_table(HELD)?.insert(digest, count - 1)?;
            }
        }
    }
    Ok(true)
}

fn count(write: &WriteTransaction, digest: &Digest) -> Result<u64> {
    Ok(write.open_table(HELD)?.get(digest)?.map_or(0, |count| count.value()))
}

/// A block, its parts, and theirs: each once, before its parts, in the order of a depth-first walk.
fn walk(bytes: &impl ReadableTable<Digest, &'static [u8]>, root: &Cid) -> Result<Vec<Cid>> {
    let (mut seen, mut order, mut pending) = (BTreeSet::new(), Vec::new(), vec![*root]);
    while let Some(cid) = pending.pop() {
        if !seen.insert(cid) {
            continue;
        }
        order.push(cid);
        let found = bytes.get(digest(&cid)?)?.ok_or(StoreError::Missing(cid))?;
        if Codec::of(&cid)? != Codec::Raw {
            let block = Block::check(cid, found.value().to_vec())?;
            let parts = parts(&block).with_context(|| format!("the parts of {cid}"))?;
            pending.extend(parts.into_iter().rev());
        }
    }
    Ok(order)
}

/// The blocks that a pin holds, each once.
fn whole(bytes: &impl ReadableTable<Digest, &'static [u8]>, root: &Cid) -> Result<BTreeSet<Digest>> {
    Ok(walk(bytes, root)?.iter().map(digest).collect::<Result<_, _>>()?)
}

fn roots(roots: &impl ReadableTable<(u8, &'static [u8]), ()>, whose: Whose) -> Result<Vec<Cid>> {
    let range = roots.range((whose as u8, &[][..])..(whose as u8 + 1, &[][..]))?;
    range.map(|root| Ok(Cid::try_from(root?.0.value().1)?)).collect()
}
