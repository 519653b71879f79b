//! The block store: content-addressed bytes, counted by who keeps them.

use super::tables::{BLOCKS, LOOSE, Ledger, PINS};
use super::{Engine, Node, unavailable};
use anyhow::{Context, Result, ensure};
use r3mes_wgpu::store::{Block, Cid, StoreError};
use r3mes_wgpu::work::AdapterState;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use std::path::Path;

/// Most bytes of blocks that nothing pins.
pub(crate) const LOOSE_BYTES: u64 = 1 << 30;

impl<E: Engine> Node<E> {
    /// Stores checked blocks, all or none; those already there stay as they are.
    pub(crate) fn put_blocks(&self, blocks: &[Block]) -> Result<()> {
        let write = self.write()?;
        let mut ledger = Ledger::load_for_write(&write)?;
        {
            let (mut table, mut loose) = (write.open_table(BLOCKS)?, write.open_table(LOOSE)?);
            for block in blocks {
                let cid = block.cid().to_bytes();
                if table.get(cid.as_slice())?.is_none() {
                    table.insert(cid.as_slice(), block.bytes())?;
                    loose.insert(cid.as_slice(), ledger.round)?;
                    ledger.loose_bytes += block.bytes().len() as u64;
                }
            }
        }
        let bytes = ledger.loose_bytes;
        ensure!(
            bytes <= LOOSE_BYTES,
            "blocks of no accepted artifact would take {bytes} bytes, the limit is {LOOSE_BYTES}"
        );
        ledger.store(&write)?;
        Ok(write.commit()?)
    }

    /// The bytes of a block; serves as a [`Fetch`](r3mes_wgpu::store::Fetch).
    pub(crate) fn get_block(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        let read = self.read().map_err(unavailable(cid))?;
        get(&read.open_table(BLOCKS).map_err(unavailable(cid))?, cid)
    }
}

/// The blocks of a ledger that nobody else has open.
pub(crate) struct BlockFile(Database);

impl BlockFile {
    /// Opens the ledger at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let database = Database::open(path).with_context(|| format!("opening the ledger {}", path.display()))?;
        Ok(Self(database))
    }

    /// The bytes of a block; serves as a [`Fetch`](r3mes_wgpu::store::Fetch).
    pub(crate) fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        let read = self.0.begin_read().map_err(unavailable(cid))?;
        get(&read.open_table(BLOCKS).map_err(unavailable(cid))?, cid)
    }

    /// The adapter that the ledger's job is improving.
    pub(crate) fn adapter(&self) -> Result<AdapterState> {
        let root = Ledger::load(&self.0.begin_read()?)?.adapter;
        Ok(AdapterState::fetch(&root, &|cid| self.get(cid))?)
    }
}

pub(super) fn get(blocks: &impl ReadableTable<&'static [u8], &'static [u8]>, cid: &Cid) -> Result<Vec<u8>, StoreError> {
    let found = blocks.get(cid.to_bytes().as_slice()).map_err(unavailable(cid))?;
    found.map(|bytes| bytes.value().to_vec()).ok_or(StoreError::Missing(*cid))
}

/// Stores a block, if need be, and pins it once more.
pub(super) fn insert_pinned(write: &WriteTransaction, ledger: &mut Ledger, block: &Block) -> Result<()> {
    write.open_table(BLOCKS)?.insert(block.cid().to_bytes().as_slice(), block.bytes())?;
    pin(write, ledger, &block.cid())
}

/// Keeps a block until as many [`unpin`]s as pins.
pub(super) fn pin(write: &WriteTransaction, ledger: &mut Ledger, cid: &Cid) -> Result<()> {
    let key = cid.to_bytes();
    let bytes = write.open_table(BLOCKS)?.get(key.as_slice())?.map(|bytes| bytes.value().len() as u64);
    let bytes = bytes.ok_or(StoreError::Missing(*cid))?;
    if write.open_table(LOOSE)?.remove(key.as_slice())?.is_some() {
        ledger.loose_bytes -= bytes;
    }
    let mut pins = write.open_table(PINS)?;
    let count = pins.get(key.as_slice())?.map_or(0, |count| count.value());
    pins.insert(key.as_slice(), count + 1)?;
    Ok(())
}

/// Takes one pin away; the last one takes the block along.
pub(super) fn unpin(write: &WriteTransaction, cid: &Cid) -> Result<()> {
    let key = cid.to_bytes();
    let mut pins = write.open_table(PINS)?;
    let count = pins.get(key.as_slice())?.map_or(0, |count| count.value());
    if count > 1 {
        pins.insert(key.as_slice(), count - 1)?;
    } else {
        pins.remove(key.as_slice())?;
        write.open_table(BLOCKS)?.remove(key.as_slice())?;
    }
    Ok(())
}

/// Drops loose blocks that came before round `oldest`.
pub(super) fn sweep(write: &WriteTransaction, ledger: &mut Ledger, oldest: u64) -> Result<()> {
    let (mut blocks, mut loose) = (write.open_table(BLOCKS)?, write.open_table(LOOSE)?);
    let mut gone = Vec::new();
    loose.retain(|cid, round| {
        let keep = round >= oldest;
        if !keep {
            gone.push(cid.to_vec());
        }
        keep
    })?;
    for cid in gone {
        let bytes = blocks.remove(cid.as_slice())?.map_or(0, |bytes| bytes.value().len());
        ledger.loose_bytes -= bytes as u64;
    }
    Ok(())
}
