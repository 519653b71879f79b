//! The block store: content-addressed bytes in one redb file, kept while something pins them.
//!
//! A *pin* holds a block and all its parts ([`parts`](r3mes_wgpu::protocol::parts)). There are two sets of pins: the user's,
//! set by Kubo's routes, and the system's, which [`BlockStore::keep_only`] replaces as a whole by what the ledger needs.
//! A block that no pin holds is *loose*. Loose blocks go when they are collected, or when newer ones need their room: the
//! oldest first, and those that a pin let go before all others. What a pin holds never goes.
//!
//! Blocks are known by their hash alone, as in Kubo: under another codec a CID finds the same bytes.
//!
//! **Crashes.** Every change is one durable transaction, so after `kill -9` or a power cut the file holds all that was
//! acknowledged and no half of anything. The file itself is made aside and renamed into place.

mod file;
mod pins;
mod quota;
#[cfg(test)]
mod tests;

pub(crate) use quota::{Full, Quota};

use anyhow::{Context, Result};
use r3mes_wgpu::store::{Block, Cid, Codec, StoreError};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use std::{fmt::Display, path::Path};

/// SHA-256 of a block's bytes.
type Digest = [u8; 32];

/// Digest → bytes.
const BYTES: TableDefinition<Digest, &[u8]> = TableDefinition::new("bytes");
/// Digest → how many pinned roots hold it.
const HELD: TableDefinition<Digest, u64> = TableDefinition::new("held");
/// Digest of a loose block → the mark under which it came.
const LOOSE: TableDefinition<Digest, u64> = TableDefinition::new("loose");
/// (mark, digest) of loose blocks: in the order in which they go.
const QUEUE: TableDefinition<(u64, Digest), ()> = TableDefinition::new("queue");
/// (who pins, root's CID).
const ROOTS: TableDefinition<(u8, &[u8]), ()> = TableDefinition::new("roots");
/// Numbers by their names.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// What [`NUMBERS`] holds: the file's form, the next mark, and bytes as [`quota::cost`] counts them.
const FORMAT: &str = "format";
const MARK: &str = "mark";
const TOTAL_BYTES: &str = "total bytes";
const LOOSE_BYTES: &str = "loose bytes";

/// Blocks on disk, or in memory.
pub(crate) struct BlockStore {
    database: Database,
    quota: Quota,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) blocks: u64,
    /// With the bookkeeping.
    pub(crate) bytes: u64,
    /// Of these, in loose blocks.
    pub(crate) loose_bytes: u64,
}

impl BlockStore {
    /// Opens the file at `path`, or creates it.
    pub(crate) fn open(path: &Path, quota: Quota) -> Result<Self> {
        let context = || format!("the block store {}", path.display());
        let database = file::open(path).with_context(context)?;
        file::prepare(&database).with_context(context)?;
        Ok(Self { database, quota })
    }

    /// One that is gone with the value.
    #[cfg(test)]
    pub(crate) fn in_memory(quota: Quota) -> Result<Self> {
        let database = Database::builder().create_with_backend(redb::backends::InMemoryBackend::new())?;
        file::prepare(&database)?;
        Ok(Self { database, quota })
    }

    /// Stores checked blocks, all or none; they are on disk when it returns. Those already there stay, and are loose no
    /// longer than the new ones. Fails by [`Full`] where there is no room, and none can be made.
    pub(crate) fn put(&self, blocks: &[Block]) -> Result<()> {
        let write = self.write()?;
        let mark = quota::next_mark(&write)?;
        for block in blocks {
            let digest = digest(&block.cid())?;
            let is_new = write.open_table(BYTES)?.insert(digest, block.bytes())?.is_none();
            if is_new {
                quota::add(&write, TOTAL_BYTES, quota::cost(block.bytes()))?;
            }
            if is_new || quota::is_loose(&write, &digest)? {
                quota::let_go(&write, &digest, mark)?;
            }
        }
        quota::make(&write, &self.quota, mark)?;
        Ok(write.commit()?)
    }

    /// The bytes of a block; serves as a [`Fetch`](r3mes_wgpu::store::Fetch).
    pub(crate) fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        self.look(cid, |bytes| bytes.to_vec())
    }

    /// The length of a block.
    pub(crate) fn size(&self, cid: &Cid) -> Result<usize, StoreError> {
        self.look(cid, <[u8]>::len)
    }

    /// Whether a block is there.
    #[cfg(test)]
    pub(crate) fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        match self.size(cid) {
            Err(StoreError::Missing(_)) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// How much there is.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let read = self.read()?;
        let numbers = read.open_table(NUMBERS)?;
        let number = |name| -> Result<u64> { Ok(numbers.get(name)?.map_or(0, |number| number.value())) };
        let blocks = read.open_table(BYTES)?.len()?;
        Ok(Usage { blocks, bytes: number(TOTAL_BYTES)?, loose_bytes: number(LOOSE_BYTES)? })
    }

    /// How much there may be.
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    fn look<T>(&self, cid: &Cid, at: impl FnOnce(&[u8]) -> T) -> Result<T, StoreError> {
        let bytes = self.read().map_err(unavailable(cid))?.open_table(BYTES).map_err(unavailable(cid))?;
        let found = bytes.get(digest(cid)?).map_err(unavailable(cid))?;
        found.map(|bytes| at(bytes.value())).ok_or(StoreError::Missing(*cid))
    }

    fn read(&self) -> Result<ReadTransaction> {
        Ok(self.database.begin_read()?)
    }

    fn write(&self) -> Result<WriteTransaction> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        Ok(write)
    }
}

/// Its hash; a CID that names no block here has none.
fn digest(cid: &Cid) -> Result<Digest, StoreError> {
    Codec::of(cid)?;
    cid.hash().digest().try_into().map_err(|_| StoreError::Codec(*cid))
}

/// Turns a failure of the disk into the store's answer.
fn unavailable<F: Display>(cid: &Cid) -> impl Fn(F) -> StoreError + use<F> {
    let cid = *cid;
    move |error| StoreError::Unavailable { cid, reason: error.to_string().into() }
}
