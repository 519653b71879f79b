//! The index of transactions by the attributes of their events. For each attribute of each transaction, it has an entry
//! that consists of a hash of the attribute, the height of the block, and the position in the block. A search for
//! transactions with several attributes therefore steps through the sorted entries of these attributes and reads no
//! block.

use super::BlockRecord;
use anyhow::Result;
use r3mes_wgpu::ledger::CosmosEvent;
use redb::{ReadableTable, Table, TableDefinition};
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;

pub(super) const TX_INDEX: TableDefinition<&Entry, ()> = TableDefinition::new("tx_index");
/// The maximum number of entries that one search reads.
const MAX_READS: usize = 200_000;
/// The number of bytes of a hash in an entry.
const HASH_BYTES: usize = 16;

/// The bytes of an entry: the hash of the attribute, the height of the block, and the index of the transaction in the
/// block. Both numbers are in big-endian order.
type Entry = [u8; HASH_BYTES + 8 + 4];
type AttributeHash = [u8; HASH_BYTES];
/// The place of a transaction: the height of its block, and its index in that block.
pub(crate) type TxPlace = (u64, u32);

/// The conditions of a search for transactions. The search finds the transactions that satisfy all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TxFilter {
    /// The hash of the transaction in upper-case hexadecimal, or `None` if every hash satisfies the condition.
    pub(crate) hash: Option<String>,
    /// The attributes that the events of the transaction must have. The key of an attribute is the type of the event, a
    /// dot, and the name of the attribute.
    pub(crate) attributes: Vec<(String, String)>,
    /// The heights of the blocks that may contain the transaction.
    pub(crate) heights: RangeInclusive<u64>,
}

impl TxFilter {
    fn hashes(&self) -> impl Iterator<Item = AttributeHash> {
        self.attributes.iter().map(|(key, value)| attribute_hash(key, value))
    }
}

/// Returns all keys and values of a transaction's events. A key is the type of the event, a dot, and the name of the
/// attribute.
pub(crate) fn attributes(events: Vec<CosmosEvent>) -> impl Iterator<Item = (String, String)> {
    events.into_iter().flat_map(|CosmosEvent { kind, attributes }| {
        attributes.into_iter().map(move |(name, value)| (format!("{kind}.{name}"), value))
    })
}

/// Adds a transaction of a block to the index. `at` is the position of the transaction in the block.
pub(super) fn insert(index: &mut Table<&Entry, ()>, record: &BlockRecord, at: u32) -> Result<()> {
    for entry in entries(record, at) {
        index.insert(&entry, ())?;
    }
    Ok(())
}

/// Removes a transaction of a block from the index. `at` is the position of the transaction in the block.
pub(super) fn remove(index: &mut Table<&Entry, ()>, record: &BlockRecord, at: u32) -> Result<()> {
    for entry in entries(record, at) {
        index.remove(&entry)?;
    }
    Ok(())
}

fn entries(record: &BlockRecord, at: u32) -> Vec<Entry> {
    let BlockRecord { block, outcomes, .. } = record;
    let (Some(outcome), Some(tx)) = (outcomes.get(at as usize), block.txs.get(at as usize)) else { return Vec::new() };
    let hashes = attributes(outcome.cosmos_events(&tx.0)).map(|(key, value)| attribute_hash(&key, &value));
    hashes.chain([ANY]).map(|hash| entry(&hash, (block.height, at))).collect()
}

/// The hash in an additional entry that every transaction has, whatever its attributes are. A search without attributes
/// reads these entries.
const ANY: AttributeHash = [0; HASH_BYTES];

fn attribute_hash(key: &str, value: &str) -> AttributeHash {
    let hash = Sha256::new().chain_update(key).chain_update([0]).chain_update(value).finalize();
    std::array::from_fn(|at| hash[at])
}

fn entry(hash: &AttributeHash, (height, index): TxPlace) -> Entry {
    let bytes = hash.iter().copied().chain(height.to_be_bytes()).chain(index.to_be_bytes());
    let mut entry = [0; _];
    entry.iter_mut().zip(bytes).for_each(|(byte, value)| *byte = value);
    entry
}

fn place(entry: &Entry) -> TxPlace {
    let number =
        |range: std::ops::Range<usize>| entry[range].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (number(HASH_BYTES..HASH_BYTES + 8), number(HASH_BYTES + 8..entry.len()) as u32)
}

/// Returns whether the transaction at `place`, which has the hash that the filter states, satisfies the other
/// conditions of the filter.
pub(super) fn matches(
    index: &impl ReadableTable<&'static Entry, ()>,
    filter: &TxFilter,
    place: TxPlace,
) -> Result<bool> {
    for hash in filter.hashes() {
        if index.get(&entry(&hash, place))?.is_none() {
            return Ok(false);
        }
    }
    Ok(filter.heights.contains(&place.0))
}

/// Returns the places of all transactions that satisfy `filter`, in ascending order. The hash in the filter must be
/// `None`. Returns `None` if the search would read too many entries.
pub(super) fn search(
    index: &impl ReadableTable<&'static Entry, ()>,
    filter: &TxFilter,
) -> Result<Option<Vec<TxPlace>>> {
    let mut hashes: Vec<_> = filter.hashes().collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        hashes.push(ANY);
    }
    let (mut found, mut reads) = (Vec::new(), 0);
    let (mut from, last) = ((*filter.heights.start(), 0), (*filter.heights.end(), u32::MAX));
    // the number of consecutive elements of `hashes` for which the transaction at `from` is known to have an entry
    let mut agreed = 0;
    for hash in hashes.iter().cycle() {
        if from > last {
            break;
        }
        if reads == MAX_READS {
            return Ok(None);
        }
        reads += 1;
        let Some(next) = index.range::<&Entry>(&entry(hash, from)..=&entry(hash, last))?.next() else { break };
        let next = place(next?.0.value());
        agreed = if next == from { agreed + 1 } else { 1 };
        from = next;
        if agreed == hashes.len() {
            found.push(from);
            (from, agreed) = ((from.0, from.1 + 1), 0);
        }
    }
    Ok(Some(found))
}
