//! The block store: content-addressed blocks in one redb file, and the pins that decide which blocks are kept.
//!
//! A *pin* keeps a block and all its [`parts`](r3mes_wgpu::protocol::parts), the blocks without which its content is
//! incomplete. There are two sets of pins. The user sets pins over the Kubo-compatible HTTP API. The node itself (the
//! system) pins the blocks that its ledger needs. A block that no pin keeps is *unpinned* (the database calls it
//! `loose`). Pinned blocks are never deleted. Unpinned blocks are deleted by garbage collection, or to make space for
//! newer blocks: first the blocks that have lost their last pin, then all other unpinned blocks, oldest first.
//!
//! This order follows from a *mark*, which each unpinned block has: the sequence number of the `put` that stored the
//! block, or 0 if the block has lost its last pin since. Blocks with smaller marks are deleted first.
//!
//! Blocks are found by their hash alone, as in Kubo: a CID with another codec but the same hash yields the same bytes.
//!
//! **Crashes.** Every change is one durable transaction. After `kill -9` or a power failure, the file therefore
//! contains every change that was acknowledged, and no partial change. A new file is created under a temporary name,
//! and gets its final name once it is complete.

mod pins;
mod quota;
mod store_file;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use quota::{Quota, StoreFull, cost};

use crate::database::RecoveringDatabase;
use anyhow::{Context, Result};
use r3mes_wgpu::store::{Block, Cid, Codec, StoreError, inline_bytes};
#[cfg(test)]
use redb::Database;
use redb::{ReadTransaction, ReadableTableMetadata};
use std::{collections::HashSet, fmt::Display, path::Path};
use tables::{BYTES, NUMBERS, TOTAL_BYTES, UNPINNED_BYTES, digest};

/// A block store, in a file or in memory.
pub(crate) struct BlockStore {
    database: RecoveringDatabase,
    quota: Quota,
}

/// The number and the total sizes of the blocks in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The number of blocks, pinned and unpinned.
    pub(crate) blocks: u64,
    /// Total size of all blocks in bytes, including 128 bytes of bookkeeping for each block.
    pub(crate) bytes: u64,
    /// Total size of the unpinned blocks in bytes, including 128 bytes of bookkeeping for each block.
    pub(crate) unpinned_bytes: u64,
}

impl BlockStore {
    /// Opens the store in the file at `path`. Creates an empty store if there is no file.
    pub(crate) fn open(path: &Path, quota: Quota) -> Result<Self> {
        let context = || format!("the block store {}", path.display());
        let file = path.to_owned();
        let database = RecoveringDatabase::open(move || store_file::open(&file)).with_context(context)?;
        Self::with(database, quota).with_context(context)
    }

    fn with(database: RecoveringDatabase, quota: Quota) -> Result<Self> {
        database.write(store_file::prepare)?;
        Ok(Self { database, quota })
    }

    /// Creates an empty store in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(quota: Quota) -> Result<Self> {
        let database = Database::builder().create_with_backend(redb::backends::InMemoryBackend::new())?;
        Self::with(RecoveringDatabase::once(database), quota)
    }

    /// Stores blocks and returns once they are on disk. Stores all of them, or none if it returns an error. An unpinned
    /// block that is already stored counts as newly stored, so that older blocks are deleted before it. Returns
    /// [`StoreFull`] if there would not be enough space even after all older unpinned blocks were deleted.
    pub(crate) fn put(&self, blocks: &[Block]) -> Result<()> {
        self.database.write(|write| {
            let mark = quota::next_mark(write)?;
            let mut seen = HashSet::new();
            for block in blocks {
                let digest = digest(&block.cid())?;
                if !seen.insert(digest) {
                    continue;
                }
                let is_new = write.open_table(BYTES)?.insert(digest, block.bytes())?.is_none();
                if is_new {
                    quota::add(write, TOTAL_BYTES, quota::cost(block.bytes()))?;
                }
                if is_new || quota::is_unpinned(write, &digest)? {
                    quota::mark_unpinned(write, &digest, mark)?;
                }
            }
            quota::make_space(write, &self.quota, mark)
        })
    }

    /// Returns the bytes of a block, or [`StoreError::Missing`] if the block is not stored. This function can be passed
    /// to the library as a [`Fetch`](r3mes_wgpu::store::Fetch) function, because it has the same signature.
    pub(crate) fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        self.look(cid, |bytes| bytes.to_vec())
    }

    /// Returns the size of a block in bytes, or [`StoreError::Missing`] if the block is not stored.
    pub(crate) fn size(&self, cid: &Cid) -> Result<usize, StoreError> {
        self.look(cid, <[u8]>::len)
    }

    /// Returns whether the store has a block.
    #[cfg(test)]
    pub(crate) fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        match self.size(cid) {
            Err(StoreError::Missing(_)) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// Returns the number of blocks, and the total sizes of all blocks and of the unpinned blocks.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let read = self.read()?;
        let numbers = read.open_table(NUMBERS)?;
        let number = |name| -> Result<u64> { Ok(numbers.get(name)?.map_or(0, |number| number.value())) };
        let blocks = read.open_table(BYTES)?.len()?;
        Ok(Usage { blocks, bytes: number(TOTAL_BYTES)?, unpinned_bytes: number(UNPINNED_BYTES)? })
    }

    /// Returns the size limits of the store.
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns the mark (sequence number) that the next `put` will give to the blocks that it stores.
    #[cfg(test)]
    pub(crate) fn mark(&self) -> Result<u64> {
        Ok(self.read()?.open_table(NUMBERS)?.get(tables::MARK)?.map_or(quota::RELEASED + 1, |mark| mark.value() + 1))
    }

    /// Deletes the unpinned blocks whose marks (the sequence numbers of the `put`s that stored them) are below
    /// `older_than`, and returns their CIDs. These CIDs have the raw codec whatever the original codec was, because the
    /// store keeps only hashes.
    pub(crate) fn collect(&self, older_than: u64) -> Result<Vec<Cid>> {
        self.database.write(|write| {
            let mut deleted = Vec::new();
            while let Some(digest) = quota::delete_oldest(write, older_than)? {
                deleted.push(Codec::Raw.named(&digest));
            }
            Ok(deleted)
        })
    }

    /// Returns the disk error with which the last attempt to store or delete something failed, or `None` if it
    /// succeeded.
    pub(crate) fn fault(&self) -> Option<String> {
        self.database.fault()
    }

    fn look<T>(&self, cid: &Cid, read: impl FnOnce(&[u8]) -> T) -> Result<T, StoreError> {
        if let Some(inline) = inline_bytes(cid) {
            return Ok(read(inline));
        }
        let bytes = self.read().map_err(unavailable(cid))?.open_table(BYTES).map_err(unavailable(cid))?;
        let found = bytes.get(digest(cid)?).map_err(unavailable(cid))?;
        found.map(|bytes| read(bytes.value())).ok_or(StoreError::Missing(*cid))
    }

    fn read(&self) -> Result<ReadTransaction> {
        self.database.begin_read()
    }
}

/// Returns a function that converts a database error into [`StoreError::Unavailable`] for the block `cid`.
fn unavailable<F: Display>(cid: &Cid) -> impl Fn(F) -> StoreError + use<F> {
    let cid = *cid;
    move |error| StoreError::Unavailable { cid, reason: error.to_string().into() }
}
