//! Pins, which decide which blocks a block store must keep. The user and the node itself (the system) pin blocks. A pin
//! of a block also keeps the parts of the block, which are the other blocks without which its content is incomplete.

use super::{
    BlockStore, quota,
    tables::{BYTES, Digest, HELD, ROOTS, digest},
};
use anyhow::{Context, Result};
use r3mes_wgpu::{
    protocol::parts,
    store::{Block, Cid, Codec, StoreError, inline_bytes},
};
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeSet;

/// Who has set a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PinOwner {
    /// The node itself, which pins the data to which its ledger refers.
    System = 0,
    /// The user, who pins blocks over the Kubo-compatible HTTP API.
    User = 1,
}

impl BlockStore {
    /// Pins the block `root` and all its parts (the blocks without which its content is incomplete) for the user. Does
    /// nothing if the user has already pinned `root`. If any of these blocks is not stored, returns
    /// [`StoreError::Missing`] with the first missing one.
    pub(crate) fn pin(&self, root: &Cid) -> Result<()> {
        self.pin_all(std::slice::from_ref(root))
    }

    /// Pins the blocks `roots` and all their parts (the blocks without which their content is incomplete) for the user,
    /// in one transaction. If any of these blocks is not stored, returns [`StoreError::Missing`] and pins nothing.
    pub(crate) fn pin_all(&self, roots: &[Cid]) -> Result<()> {
        self.database.write(|write| roots.iter().try_for_each(|root| hold(write, PinOwner::User, root)))
    }

    /// Removes the user's pin of the block `root`. Returns false if there is no such pin.
    pub(crate) fn unpin(&self, root: &Cid) -> Result<bool> {
        self.database.write(|write| {
            let was_there = release(write, PinOwner::User, root)?;
            quota::shrink(write, &self.quota)?;
            Ok(was_there)
        })
    }

    /// Returns the CIDs of the block `root` and of all its parts (the blocks without which its content is incomplete),
    /// in depth-first order. If any of these blocks is not stored, returns [`StoreError::Missing`] with the first
    /// missing one.
    pub(crate) fn dag(&self, root: &Cid) -> Result<Vec<Cid>> {
        walk(&self.read()?.open_table(BYTES)?, root)
    }

    /// Returns the CIDs of the blocks that the user has pinned. The parts of these blocks, which the pins also keep,
    /// are not included.
    pub(crate) fn user_pins(&self) -> Result<Vec<Cid>> {
        roots(&self.read()?.open_table(ROOTS)?, PinOwner::User)
    }

    /// Returns the CIDs of the blocks that the system has pinned. The parts of these blocks, which the pins also keep,
    /// are not included.
    pub(crate) fn system_pins(&self) -> Result<Vec<Cid>> {
        roots(&self.read()?.open_table(ROOTS)?, PinOwner::System)
    }

    /// Pins the blocks `roots` and all their parts (the blocks without which their content is incomplete) for the
    /// system, in one transaction. If any of these blocks is not stored, returns [`StoreError::Missing`] and changes
    /// nothing.
    pub(crate) fn add_system_pins(&self, roots: impl Iterator<Item = Cid>) -> Result<()> {
        let mut roots = roots.peekable();
        if roots.peek().is_none() {
            return Ok(());
        }
        self.database.write(|write| {
            roots.try_for_each(|root| hold(write, PinOwner::System, &root))?;
            quota::shrink(write, &self.quota)
        })
    }

    /// Replaces all pins of the system with pins of the blocks `wanted`, in one transaction. Blocks that no pin keeps
    /// any longer become unpinned. If a block that the new pins keep is not stored, returns [`StoreError::Missing`] and
    /// changes nothing.
    pub(crate) fn replace_system_pins(&self, wanted: impl IntoIterator<Item = Cid>) -> Result<()> {
        self.database.write(|write| {
            let kept: BTreeSet<Cid> = roots(&write.open_table(ROOTS)?, PinOwner::System)?.into_iter().collect();
            let wanted: BTreeSet<Cid> = wanted.into_iter().collect();
            // new pins are set first, so that a block kept by an old and a new pin does not become unpinned in between
            for root in wanted.difference(&kept) {
                hold(write, PinOwner::System, root)?;
            }
            for root in kept.difference(&wanted) {
                release(write, PinOwner::System, root)?;
            }
            quota::shrink(write, &self.quota)
        })
    }
}

fn hold(write: &WriteTransaction, owner: PinOwner, root: &Cid) -> Result<()> {
    let is_new = write.open_table(ROOTS)?.insert((owner as u8, root.to_bytes().as_slice()), ())?.is_none();
    if !is_new {
        return Ok(());
    }
    let whole = whole(&write.open_table(BYTES)?, root)?;
    for digest in whole {
        let count = count(write, &digest)?;
        write.open_table(HELD)?.insert(digest, count + 1)?;
        if count == 0 {
            quota::unmark_unpinned(write, &digest)?;
        }
    }
    Ok(())
}

fn release(write: &WriteTransaction, owner: PinOwner, root: &Cid) -> Result<bool> {
    if write.open_table(ROOTS)?.remove((owner as u8, root.to_bytes().as_slice()))?.is_none() {
        return Ok(false);
    }
    let whole = whole(&write.open_table(BYTES)?, root)?;
    for digest in whole {
        match count(write, &digest)? {
            0 | 1 => {
                write.open_table(HELD)?.remove(digest)?;
                quota::mark_unpinned(write, &digest, quota::RELEASED)?;
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

/// Returns the CIDs of the block `root`, of its parts (the blocks without which its content is incomplete), of their
/// parts, and so on, in depth-first order and without duplicates.
fn walk(bytes: &impl ReadableTable<Digest, &'static [u8]>, root: &Cid) -> Result<Vec<Cid>> {
    let (mut seen, mut order, mut pending) = (BTreeSet::new(), Vec::new(), vec![*root]);
    while let Some(cid) = pending.pop() {
        // there is no block for a CID that contains its data
        if inline_bytes(&cid).is_some() || !seen.insert(cid) {
            continue;
        }
        order.push(cid);
        let found = bytes.get(digest(&cid)?)?.ok_or(StoreError::Missing(cid))?;
        if Codec::of(&cid)? != Codec::Raw {
            let block = Block::check(cid, found.value().to_vec())?;
            let parts = parts(&block).with_context(|| format!("reading the links of the block {cid}"))?;
            pending.extend(parts.into_iter().rev());
        }
    }
    Ok(order)
}

/// Returns the digests of the blocks that a pin of the block `root` keeps: `root` itself, and the blocks without which
/// its content is incomplete.
fn whole(bytes: &impl ReadableTable<Digest, &'static [u8]>, root: &Cid) -> Result<BTreeSet<Digest>> {
    Ok(walk(bytes, root)?.iter().map(digest).collect::<Result<_, _>>()?)
}

fn roots(roots: &impl ReadableTable<(u8, &'static [u8]), ()>, owner: PinOwner) -> Result<Vec<Cid>> {
    let range = roots.range((owner as u8, &[][..])..(owner as u8 + 1, &[][..]))?;
    range.map(|root| Ok(Cid::try_from(root?.0.value().1)?)).collect()
}
