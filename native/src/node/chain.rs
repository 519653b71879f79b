//! The chain on disk, in one redb database file. It contains the ledger's rows, the blocks with the outcomes of their
//! transactions, and indexes of the transactions by hash and by the attributes of their events.
//!
//! Each block is written in one durable database transaction, together with the rows that it changed and the outcomes
//! of its transactions. The file therefore contains every acknowledged block, and no partly written one, even after
//! `kill -9` or a power cut.

use super::{
    block_record::{BlockRecord, FoundTx},
    tx_index::{self, TX_INDEX, TxFilter, TxPlace},
};
use crate::database::RecoveringDatabase;
use anyhow::{Context, Result, bail};
use r3mes_wgpu::ledger::{Applied, ChainBlock, Genesis, Ledger, StateRow};
use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, Value, WriteTransaction,
};
use serde::{Serialize, de::DeserializeOwned};

/// The table that contains the genesis, encoded in DAG-CBOR. Its only key is `genesis`.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The table of the ledger's rows. It maps the key of each row to the row's value.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// The table of the blocks. It maps the height of each block to its [`BlockRecord`] in DAG-CBOR.
const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
/// The table of the transactions. It maps the hash of each transaction to the height of the block that contains it, and
/// to its index in that block.
const TRANSACTIONS: TableDefinition<&str, (u64, u32)> = TableDefinition::new("transactions");
/// The number of blocks that are kept. Older blocks are deleted.
const KEPT_BLOCKS: u64 = 100_000;

/// The database file that contains a chain.
pub(super) struct Chain(RecoveringDatabase);

/// Error returned by an attempt to append a block that is already on disk. This happens if the disk reported an error
/// during an earlier attempt, but stored the block nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block at height {0} is already on disk")]
pub(super) struct AlreadyAdded(u64);

impl Chain {
    /// Reads the ledger from the database. If the database is empty, creates the ledger from `genesis` and writes it.
    /// Returns an error if the database belongs to another genesis.
    pub(super) fn open(database: RecoveringDatabase, genesis: &Genesis) -> Result<(Self, Ledger)> {
        let ledger = database.write(|write| {
            // creates the tables, so that readers never fail to find them
            write.open_table(BLOCKS)?;
            write.open_table(TRANSACTIONS)?;
            write.open_table(TX_INDEX)?;
            index_old_blocks(write)?;
            let (mut meta, mut rows) = (write.open_table(META)?, write.open_table(ROWS)?);
            let stored = meta.get("genesis")?.map(|stored| decode::<Genesis>(stored.value())).transpose()?;
            if let Some(stored) = stored {
                compare(genesis, &stored)?;
                return restore(stored, &rows);
            }
            meta.insert("genesis", encode(genesis)?.as_slice())?;
            let ledger = Ledger::new(genesis.clone())?;
            insert(&mut rows, &ledger)?;
            Ok(ledger)
        })?;
        Ok((Self(database), ledger))
    }

    /// Appends a block that changed the ledger from `before` to `after`. The block is on disk when this function
    /// returns. Returns [`AlreadyAdded`] and changes nothing if the chain on disk has a block at this height.
    pub(super) fn add(&self, before: &Ledger, after: &Ledger, block: &ChainBlock, applied: &Applied) -> Result<()> {
        self.0.write(|write| {
            let mut blocks = write.open_table(BLOCKS)?;
            if blocks.last()?.is_some_and(|(last, _)| last.value() >= block.height) {
                return Err(AlreadyAdded(block.height).into());
            }
            let mut rows = write.open_table(ROWS)?;
            for StateRow { key, value } in after.changes(before) {
                match value {
                    Some(value) => rows.insert(key.as_slice(), value.as_slice())?,
                    None => rows.remove(key.as_slice())?,
                };
            }
            let record = BlockRecord { block: block.clone(), root: after.root(), outcomes: applied.outcomes.clone() };
            blocks.insert(block.height, encode(&record)?.as_slice())?;
            let (mut transactions, mut index) = (write.open_table(TRANSACTIONS)?, write.open_table(TX_INDEX)?);
            for (at, outcome) in (0..).zip(&record.outcomes) {
                // a transaction that failed in an earlier block and is now executed again is found only here
                let replaced = transactions.insert(outcome.hash.as_str(), (block.height, at))?;
                if let Some((height, at)) = replaced.map(|place| place.value())
                    && let Some(earlier) = blocks.get(height)?
                {
                    tx_index::remove(&mut index, &decode(earlier.value())?, at)?;
                }
                tx_index::insert(&mut index, &record, at)?;
            }
            while blocks.len()? > KEPT_BLOCKS {
                let Some((height, record)) = blocks.pop_first()?.map(|(height, record)| (height.value(), record))
                else {
                    break;
                };
                let record: BlockRecord = decode(record.value())?;
                for (at, outcome) in (0..).zip(&record.outcomes) {
                    let place = transactions.get(outcome.hash.as_str())?.map(|place| place.value());
                    if place == Some((height, at)) {
                        transactions.remove(outcome.hash.as_str())?;
                        tx_index::remove(&mut index, &record, at)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Replaces the ledger with another ledger of the same genesis, and deletes all blocks and outcomes.
    pub(super) fn replace(&self, ledger: &Ledger) -> Result<()> {
        self.0.write(|write| {
            write.delete_table(ROWS)?;
            write.delete_table(BLOCKS)?;
            write.delete_table(TRANSACTIONS)?;
            write.delete_table(TX_INDEX)?;
            write.open_table(BLOCKS)?;
            write.open_table(TRANSACTIONS)?;
            write.open_table(TX_INDEX)?;
            insert(&mut write.open_table(ROWS)?, ledger)
        })
    }

    /// Returns the disk error that currently prevents adding blocks, or `None` if there is no such error.
    pub(super) fn fault(&self) -> Option<String> {
        self.0.fault()
    }

    /// Reads the ledger from the disk.
    pub(super) fn ledger(&self) -> Result<Ledger> {
        read(&self.0.begin_read()?)
    }

    fn table<K: Key, V: Value>(&self, table: TableDefinition<K, V>) -> Result<ReadOnlyTable<K, V>> {
        Ok(self.0.begin_read()?.open_table(table)?)
    }

    /// Returns the block at a height, or `None` if the block has been deleted or does not exist yet.
    pub(super) fn block(&self, height: u64) -> Result<Option<BlockRecord>> {
        let blocks = self.table(BLOCKS)?;
        // uses the trait's `get`, because the result of `ReadOnlyTable::get` may outlive the table, and a commit would
        // then free the pages that contain the result
        let record = ReadableTable::get(&blocks, height)?;
        record.map(|record| decode(record.value())).transpose()
    }

    /// Returns the transaction with the given hash, or `None` if none of the blocks that the node still stores contains
    /// it.
    pub(super) fn transaction(&self, hash: &str) -> Result<Option<FoundTx>> {
        let transactions = self.table(TRANSACTIONS)?;
        let place = ReadableTable::get(&transactions, hash)?.map(|place| place.value());
        Ok(self.transactions(&Vec::from_iter(place))?.pop())
    }

    /// Returns the transactions at these places. A place consists of a block's height and an index in the block. Places
    /// in deleted blocks are skipped.
    pub(super) fn transactions(&self, places: &[TxPlace]) -> Result<Vec<FoundTx>> {
        let mut found = Vec::new();
        for in_block in places.chunk_by(|(one, _), (other, _)| one == other) {
            if let Some(record) = self.block(in_block[0].0)? {
                for (_, index) in in_block {
                    found.push(record.transaction(*index)?);
                }
            }
        }
        Ok(found)
    }

    /// Returns the places (block height, index in the block) of all transactions that satisfy a filter, in ascending
    /// order. Returns `None` if the search would take too long.
    pub(super) fn search(&self, filter: &TxFilter) -> Result<Option<Vec<TxPlace>>> {
        let read = self.0.begin_read()?;
        let index = read.open_table(TX_INDEX)?;
        let Some(hash) = &filter.hash else { return tx_index::search(&index, filter) };
        let transactions = read.open_table(TRANSACTIONS)?;
        let mut places = Vec::from_iter(ReadableTable::get(&transactions, hash.as_str())?.map(|place| place.value()));
        if let [place] = places[..]
            && !tx_index::matches(&index, filter, place)?
        {
            places.clear();
        }
        Ok(Some(places))
    }
}

/// Reads the ledger from the database of a node that is not running. The database is not changed.
pub(crate) fn read_only(database: &Database) -> Result<Ledger> {
    read(&database.begin_read()?)
}

fn read(read: &ReadTransaction) -> Result<Ledger> {
    let genesis = read.open_table(META)?.get("genesis")?.context("the ledger has no genesis")?;
    restore(decode(genesis.value())?, &read.open_table(ROWS)?)
}

fn restore(genesis: Genesis, rows: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<Ledger> {
    let rows = rows.iter()?.map(|entry| {
        let (key, value) = entry?;
        Ok(StateRow { key: key.value().to_vec(), value: Some(value.value().to_vec()) })
    });
    Ledger::restore(genesis, &rows.collect::<Result<Vec<_>>>()?).context("reading the rows of the ledger")
}

/// Builds the index of transactions by the attributes of their events, if the database file contains transactions but
/// no such index. Older versions of this program wrote such files.
fn index_old_blocks(write: &WriteTransaction) -> Result<()> {
    let (transactions, mut index) = (write.open_table(TRANSACTIONS)?, write.open_table(TX_INDEX)?);
    if !index.is_empty()? || transactions.is_empty()? {
        return Ok(());
    }
    for entry in write.open_table(BLOCKS)?.iter()? {
        let (height, record) = entry?;
        let record: BlockRecord = decode(record.value())?;
        for (at, outcome) in (0..).zip(&record.outcomes) {
            if transactions.get(outcome.hash.as_str())?.is_some_and(|place| place.value() == (height.value(), at)) {
                tx_index::insert(&mut index, &record, at)?;
            }
        }
    }
    Ok(())
}

fn insert(rows: &mut Table<&[u8], &[u8]>, ledger: &Ledger) -> Result<()> {
    for StateRow { key, value } in ledger.rows() {
        rows.insert(key.as_slice(), value.unwrap_or_default().as_slice())?;
    }
    Ok(())
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    Ok(serde_ipld_dagcbor::to_vec(value)?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    Ok(serde_ipld_dagcbor::from_slice(bytes)?)
}

fn compare(given: &Genesis, stored: &Genesis) -> Result<()> {
    match difference(given, stored) {
        None => Ok(()),
        Some(what) => {
            bail!("the ledger belongs to another network, which differs in the {what}; pass another --data-dir")
        }
    }
}

/// Returns the name of the first part in which the geneses `one` and `other` differ, or `None` if they are equal.
pub(crate) fn difference(one: &Genesis, other: &Genesis) -> Option<&'static str> {
    let parts = [
        ("model", one.job.model == other.job.model),
        ("text", one.chunks == other.chunks),
        ("initial adapter", one.adapter == other.adapter),
        ("job", one.job == other.job),
        ("dispute context", (&one.dispute_context, one.layout_root) == (&other.dispute_context, other.layout_root)),
        (
            "initial accounts and nodes",
            (&one.nodes, &one.accounts, &one.consensus_keys) == (&other.nodes, &other.accounts, &other.consensus_keys),
        ),
        ("chain id, seed, quota or rules", one == other),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

/// Returns the name of a network's folder: `job-` and the first 8 bytes of the genesis hash, in hexadecimal.
pub(super) fn folder_name(genesis: &Genesis) -> String {
    format!("job-{}", data_encoding::HEXLOWER.encode(&genesis.hash()[..8]))
}
