//! Room: what blocks take, how much they may, and which loose ones go for others.

use super::{BYTES, BlockStore, Digest, LOOSE, LOOSE_BYTES, MARK, NUMBERS, QUEUE, TOTAL_BYTES};
use anyhow::{Context, Result};
use r3mes_wgpu::store::{Cid, Codec};
use redb::{ReadableTable, WriteTransaction};

/// What a block takes beside its bytes: its names in the tables.
const BLOCK_OVERHEAD: u64 = 128;
/// The mark of blocks that a pin let go: before all that were put.
pub(super) const FIRST: u64 = 0;

/// How much a store holds at most, in bytes with the bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Of loose blocks.
    pub(crate) loose_bytes: u64,
    /// Of all blocks.
    pub(crate) total_bytes: u64,
}

/// No room, whatever loose blocks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block store is full: {what} would take {bytes} bytes, the limit is {limit}")]
pub(crate) struct Full {
    /// Whose limit it is.
    pub(crate) what: &'static str,
    /// What they would take.
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
}

impl BlockStore {
    /// A moment of the store's life: all that was put until now came before it, all that is put from now on does not.
    #[cfg(test)]
    pub(crate) fn mark(&self) -> Result<u64> {
        Ok(self.read()?.open_table(NUMBERS)?.get(MARK)?.map_or(FIRST + 1, |mark| mark.value() + 1))
    }

    /// Drops the loose blocks that came before a mark, and names them as raw blocks.
    pub(crate) fn collect(&self, older_than: u64) -> Result<Vec<Cid>> {
        let write = self.write()?;
        let mut gone = Vec::new();
        while let Some(digest) = drop_oldest(&write, older_than)? {
            gone.push(Codec::Raw.named(&digest));
        }
        write.commit()?;
        Ok(gone)
    }
}

/// What a block takes.
pub(super) fn cost(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + BLOCK_OVERHEAD
}

/// The mark of what is put now.
pub(super) fn next_mark(write: &WriteTransaction) -> Result<u64> {
    add(write, MARK, 1)?;
    number(write, MARK)
}

/// Drops loose blocks that came before `mark` until both limits hold.
pub(super) fn make(write: &WriteTransaction, quota: &Quota, mark: u64) -> Result<()> {
    for (name, what, limit) in
        [(LOOSE_BYTES, "blocks that nothing pins", quota.loose_bytes), (TOTAL_BYTES, "all blocks", quota.total_bytes)]
    {
        loop {
            let bytes = number(write, name)?;
            if bytes <= limit {
                break;
            }
            drop_oldest(write, mark)?.ok_or(Full { what, bytes, limit })?;
        }
    }
    Ok(())
}

/// Drops loose blocks until they are within their limit.
pub(super) fn shrink(write: &WriteTransaction, quota: &Quota) -> Result<()> {
    make(write, &Quota { total_bytes: u64::MAX, ..*quota }, u64::MAX)
}

pub(super) fn is_loose(write: &WriteTransaction, digest: &Digest) -> Result<bool> {
    Ok(write.open_table(LOOSE)?.get(digest)?.is_some())
}

/// Makes a block loose since `mark`, also where it is loose already.
pub(super) fn let_go(write: &WriteTransaction, digest: &Digest, mark: u64) -> Result<()> {
    let before = write.open_table(LOOSE)?.insert(digest, mark)?.map(|mark| mark.value());
    let mut queue = write.open_table(QUEUE)?;
    queue.insert((mark, *digest), ())?;
    match before {
        Some(before) if before != mark => {
            queue.remove((before, *digest))?;
        }
        Some(_) => {}
        None => add(write, LOOSE_BYTES, stored_cost(write, digest)?)?,
    }
    Ok(())
}

/// Makes a block loose no longer, if it is.
pub(super) fn take_up(write: &WriteTransaction, digest: &Digest) -> Result<()> {
    let before = write.open_table(LOOSE)?.remove(digest)?.map(|mark| mark.value());
    if let Some(mark) = before {
        write.open_table(QUEUE)?.remove((mark, *digest))?;
        subtract(write, LOOSE_BYTES, stored_cost(write, digest)?)?;
    }
    Ok(())
}

/// Drops the loose block that goes first, if it came before `mark`.
fn drop_oldest(write: &WriteTransaction, mark: u64) -> Result<Option<Digest>> {
    let oldest = write.open_table(QUEUE)?.first()?.map(|(key, _)| key.value());
    let Some((_, digest)) = oldest.filter(|(came, _)| *came < mark) else { return Ok(None) };
    let cost = stored_cost(write, &digest)?;
    take_up(write, &digest)?;
    write.open_table(BYTES)?.remove(digest)?;
    subtract(write, TOTAL_BYTES, cost)?;
    Ok(Some(digest))
}

fn stored_cost(write: &WriteTransaction, digest: &Digest) -> Result<u64> {
    let bytes = write.open_table(BYTES)?;
    let found = bytes.get(digest)?.context("a block of the tables is not there")?;
    Ok(cost(found.value()))
}

fn number(write: &WriteTransaction, name: &str) -> Result<u64> {
    Ok(write.open_table(NUMBERS)?.get(name)?.map_or(0, |number| number.value()))
}

pub(super) fn add(write: &WriteTransaction, name: &str, more: u64) -> Result<()> {
    let sum = number(write, name)?.checked_add(more).context("a count beyond 64 bits")?;
    write.open_table(NUMBERS)?.insert(name, sum)?;
    Ok(())
}

fn subtract(write: &WriteTransaction, name: &str, less: u64) -> Result<()> {
    let rest = number(write, name)?.checked_sub(less).context("the store's counts do not add up")?;
    write.open_table(NUMBERS)?.insert(name, rest)?;
    Ok(())
}
