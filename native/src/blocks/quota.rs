//! The size limits of a block store: how many bytes are counted for each block, and which unpinned blocks are deleted
//! to make space.

use super::tables::{BYTES, Digest, MARK, NUMBERS, QUEUE, TOTAL_BYTES, UNPINNED, UNPINNED_BYTES};
use anyhow::{Context, Result};
use redb::{ReadableTable, WriteTransaction};

/// The bytes that are counted for every block in addition to its content, because of its entries in the database
/// tables.
const BLOCK_OVERHEAD: u64 = 128;
/// The mark of an unpinned block that has lost its last pin. Blocks with smaller marks are deleted first, and every
/// `put` gives larger marks to the blocks that it stores. A block with this mark is therefore deleted before all
/// others.
pub(super) const RELEASED: u64 = 0;

/// The size limits of a store. The size of a block includes 128 bytes of bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Maximum total size of the unpinned blocks, in bytes.
    pub(crate) unpinned_bytes: u64,
    /// Maximum total size of all blocks, in bytes.
    pub(crate) total_bytes: u64,
}

/// Error returned when a limit would be exceeded even after unpinned blocks are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block store is full: {what} would have {bytes} bytes in total, but the limit is {limit} bytes")]
pub(crate) struct StoreFull {
    /// The blocks whose limit would be exceeded: `unpinned blocks` or `all blocks`.
    pub(crate) what: &'static str,
    /// The total size, in bytes, that the blocks (the unpinned ones or all) would have.
    pub(crate) bytes: u64,
    /// The exceeded limit: the maximum total size of the unpinned blocks or of all blocks, in bytes.
    pub(crate) limit: u64,
}

/// Returns how many bytes are counted toward the size limits for a block with this content.
pub(crate) fn cost(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + BLOCK_OVERHEAD
}

/// Returns the mark (sequence number) that the next `put` gives to the blocks that it stores: one more than the mark of
/// the last `put`.
pub(super) fn next_mark(write: &WriteTransaction) -> Result<u64> {
    add(write, MARK, 1)?;
    number(write, MARK)
}

/// Deletes unpinned blocks until neither the unpinned blocks nor all blocks together exceed their size limit. Deletes
/// the blocks with the smallest marks (the sequence numbers of the `put`s that stored them) first, and only blocks
/// whose marks are below `mark`. Returns [`StoreFull`] if deleting all these blocks is not enough.
pub(super) fn make_space(write: &WriteTransaction, quota: &Quota, mark: u64) -> Result<()> {
    for (name, what, limit) in
        [(UNPINNED_BYTES, "unpinned blocks", quota.unpinned_bytes), (TOTAL_BYTES, "all blocks", quota.total_bytes)]
    {
        loop {
            let bytes = number(write, name)?;
            if bytes <= limit {
                break;
            }
            delete_oldest(write, mark)?.ok_or(StoreFull { what, bytes, limit })?;
        }
    }
    Ok(())
}

/// Deletes unpinned blocks until their total size is within its limit. Deletes the blocks with the smallest marks (the
/// sequence numbers of the `put`s that stored them) first.
pub(super) fn shrink(write: &WriteTransaction, quota: &Quota) -> Result<()> {
    make_space(write, &Quota { total_bytes: u64::MAX, ..*quota }, u64::MAX)
}

pub(super) fn is_unpinned(write: &WriteTransaction, digest: &Digest) -> Result<bool> {
    Ok(write.open_table(UNPINNED)?.get(digest)?.is_some())
}

/// Makes a block unpinned and gives it the mark `mark`, which determines when the block is deleted. If the block is
/// already unpinned, only its mark changes.
pub(super) fn mark_unpinned(write: &WriteTransaction, digest: &Digest, mark: u64) -> Result<()> {
    let before = write.open_table(UNPINNED)?.insert(digest, mark)?.map(|mark| mark.value());
    let mut queue = write.open_table(QUEUE)?;
    queue.insert((mark, *digest), ())?;
    match before {
        Some(before) if before != mark => {
            queue.remove((before, *digest))?;
        }
        Some(_) => {}
        None => add(write, UNPINNED_BYTES, stored_cost(write, digest)?)?,
    }
    Ok(())
}

/// Records that a block is no longer unpinned. Does nothing if the block is already pinned.
pub(super) fn unmark_unpinned(write: &WriteTransaction, digest: &Digest) -> Result<()> {
    let before = write.open_table(UNPINNED)?.remove(digest)?.map(|mark| mark.value());
    if let Some(mark) = before {
        write.open_table(QUEUE)?.remove((mark, *digest))?;
        subtract(write, UNPINNED_BYTES, stored_cost(write, digest)?)?;
    }
    Ok(())
}

/// Deletes the oldest unpinned block, which is the one with the smallest mark (the sequence number of the `put` that
/// stored it), and returns its digest. Deletes nothing and returns `None` if no unpinned block has a mark below `mark`.
pub(super) fn delete_oldest(write: &WriteTransaction, mark: u64) -> Result<Option<Digest>> {
    let oldest = write.open_table(QUEUE)?.first()?.map(|(key, _)| key.value());
    let Some((_, digest)) = oldest.filter(|(stored, _)| *stored < mark) else { return Ok(None) };
    let cost = stored_cost(write, &digest)?;
    unmark_unpinned(write, &digest)?;
    write.open_table(BYTES)?.remove(digest)?;
    subtract(write, TOTAL_BYTES, cost)?;
    Ok(Some(digest))
}

fn stored_cost(write: &WriteTransaction, digest: &Digest) -> Result<u64> {
    let bytes = write.open_table(BYTES)?;
    let found = bytes.get(digest)?.context("the block store is damaged: it lists a block whose bytes are missing")?;
    Ok(cost(found.value()))
}

fn number(write: &WriteTransaction, name: &str) -> Result<u64> {
    Ok(write.open_table(NUMBERS)?.get(name)?.map_or(0, |number| number.value()))
}

pub(super) fn add(write: &WriteTransaction, name: &str, more: u64) -> Result<()> {
    let sum =
        number(write, name)?.checked_add(more).context("the block store is damaged: a counter exceeds 64 bits")?;
    write.open_table(NUMBERS)?.insert(name, sum)?;
    Ok(())
}

fn subtract(write: &WriteTransaction, name: &str, less: u64) -> Result<()> {
    let rest =
        number(write, name)?.checked_sub(less).context("the block store is damaged: a total size would be negative")?;
    write.open_table(NUMBERS)?.insert(name, rest)?;
    Ok(())
}
