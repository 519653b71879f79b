//! The chain on disk, in one redb file: the ledger's rows, its blocks with what came of them, and where each transaction
//! is.
//!
//! A block is one durable transaction: its rows, itself, its outcomes. So after `kill -9` or a power cut the file holds
//! all that was acknowledged and no half of anything.

use anyhow::{Context, Result, bail};
use r3mes_wgpu::ledger::{Applied, ChainBlock, Genesis, Ledger, StateRow, TxOutcome};
use redb::{
    Database, Durability, Key, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, Value,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// `genesis`, in DAG-CBOR.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The ledger's rows.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Height → [`Record`].
const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
/// Hash of a transaction → height and place in the block.
const TRANSACTIONS: TableDefinition<&str, (u64, u32)> = TableDefinition::new("transactions");
/// Blocks that are kept.
const KEPT: u64 = 100_000;

/// A block and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) block: ChainBlock,
    /// The ledger's root after it.
    #[serde(with = "serde_bytes")]
    pub(crate) root: [u8; 32],
    pub(crate) outcomes: Vec<TxOutcome>,
}

/// The file.
pub(super) struct Chain(Database);

impl Chain {
    /// Reads the ledger, or writes the first one; a file of another genesis is refused.
    pub(super) fn open(database: Database, genesis: &Genesis) -> Result<(Self, Ledger)> {
        let write = database.begin_write()?;
        // every table exists from here on, so that readers never miss one
        write.open_table(BLOCKS)?;
        write.open_table(TRANSACTIONS)?;
        let ledger = {
            let (mut meta, mut rows) = (write.open_table(META)?, write.open_table(ROWS)?);
            let stored = meta.get("genesis")?.map(|stored| decode::<Genesis>(stored.value())).transpose()?;
            match stored {
                Some(stored) => {
                    compare(genesis, &stored)?;
                    let all: Vec<StateRow> = rows
                        .iter()?
                        .map(|entry| {
                            let (key, value) = entry?;
                            Ok(StateRow { key: key.value().to_vec(), value: Some(value.value().to_vec()) })
                        })
                        .collect::<Result<_>>()?;
                    Ledger::restore(stored, &all).context("reading the ledger's rows")?
                }
                None => {
                    meta.insert("genesis", encode(genesis)?.as_slice())?;
                    let ledger = Ledger::new(genesis.clone())?;
                    insert(&mut rows, &ledger)?;
                    ledger
                }
            }
        };
        write.commit()?;
        Ok((Self(database), ledger))
    }

    /// Adds a block that made `after` of `before`.
    pub(super) fn add(&self, before: &Ledger, after: &Ledger, block: &ChainBlock, applied: &Applied) -> Result<()> {
        let mut write = self.0.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut rows = write.open_table(ROWS)?;
            for StateRow { key, value } in after.changes(before) {
                match value {
                    Some(value) => rows.insert(key.as_slice(), value.as_slice())?,
                    None => rows.remove(key.as_slice())?,
                };
            }
            let (mut blocks, mut transactions) = (write.open_table(BLOCKS)?, write.open_table(TRANSACTIONS)?);
            for (at, outcome) in applied.outcomes.iter().enumerate() {
                // one that was in a block before, and failed there, is found where it is last
                transactions.insert(outcome.hash.as_str(), (block.height, at as u32))?;
            }
            let record = Record { block: block.clone(), root: after.root(), outcomes: applied.outcomes.clone() };
            blocks.insert(block.height, encode(&record)?.as_slice())?;
            while blocks.len()? > KEPT {
                let Some((_, record)) = blocks.pop_first()? else { break };
                for outcome in decode::<Record>(record.value())?.outcomes {
                    transactions.remove(outcome.hash.as_str())?;
                }
            }
        }
        Ok(write.commit()?)
    }

    /// Makes the rows another ledger's, of the same genesis. What led here is not known then.
    pub(super) fn replace(&self, ledger: &Ledger) -> Result<()> {
        let mut write = self.0.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.delete_table(ROWS)?;
        write.delete_table(BLOCKS)?;
        write.delete_table(TRANSACTIONS)?;
        write.open_table(BLOCKS)?;
        write.open_table(TRANSACTIONS)?;
        insert(&mut write.open_table(ROWS)?, ledger)?;
        Ok(write.commit()?)
    }

    fn table<K: Key, V: Value>(&self, table: TableDefinition<K, V>) -> Result<ReadOnlyTable<K, V>> {
        Ok(self.0.begin_read()?.open_table(table)?)
    }

    /// A block that is kept.
    pub(super) fn block(&self, height: u64) -> Result<Option<Record>> {
        let blocks = self.table(BLOCKS)?;
        // the trait's `get`: what `ReadOnlyTable` gives by its own may outlive the table, and a commit frees it then
        let record = ReadableTable::get(&blocks, height)?;
        record.map(|record| decode(record.value())).transpose()
    }

    /// What became of a transaction: its height, place and outcome; `None` while it has no block, and long after.
    pub(super) fn outcome(&self, hash: &str) -> Result<Option<(u64, u32, TxOutcome)>> {
        let transactions = self.table(TRANSACTIONS)?;
        let place = ReadableTable::get(&transactions, hash)?.map(|place| place.value());
        let Some((height, at)) = place else { return Ok(None) };
        let record = self.block(height)?.context("a transaction's block is missing")?;
        let outcome = record.outcomes.into_iter().nth(at as usize).context("a transaction's outcome is missing")?;
        Ok(Some((height, at, outcome)))
    }
}

/// The ledger in a file that nobody else has open.
pub(crate) fn read_only(database: &Database) -> Result<Ledger> {
    let read = database.begin_read()?;
    let genesis = read.open_table(META)?.get("genesis")?.context("the ledger has no genesis")?;
    let rows = read.open_table(ROWS)?;
    let rows = rows.iter()?.map(|entry| {
        let (key, value) = entry?;
        Ok(StateRow { key: key.value().to_vec(), value: Some(value.value().to_vec()) })
    });
    Ok(Ledger::restore(decode(genesis.value())?, &rows.collect::<Result<Vec<_>>>()?)?)
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
            bail!("belongs to another run: its {what} is not the one given; use another data directory")
        }
    }
}

/// In what two geneses differ, first of all.
pub(crate) fn difference(one: &Genesis, other: &Genesis) -> Option<&'static str> {
    let parts = [
        ("model", one.job.model == other.job.model),
        ("text", one.chunks == other.chunks),
        ("first adapter", one.adapter == other.adapter),
        ("job", one.job == other.job),
        ("ground of disputes", (&one.ground, one.layout_root) == (&other.ground, other.layout_root)),
        ("first accounts and nodes", (&one.nodes, &one.accounts) == (&other.nodes, &other.accounts)),
        ("chain id, seed, quota or rules", one == other),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

/// A hash of a genesis that names its folder.
pub(super) fn name(genesis: &Genesis) -> String {
    format!("job-{}", data_encoding::HEXLOWER.encode(&genesis.hash()[..8]))
}
