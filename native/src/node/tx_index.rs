//! The index of transactions by the attributes of their events. For each attribute of each transaction, it has an entry
//! that consists of a hash of the attribute, the height of the block, and the position in the block. The entries are
//! sorted. A search for transactions with several attributes compares the entries of these attributes and reads no
//! block.

use super::BlockRecord;
use anyhow::Result;
use r3mes_wgpu::ledger::CosmosEvent;
use redb::{ReadableTable, Table, TableDefinition};
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;

pub(super) const TX_INDEX: TableDefinition<&Entry, ()> = TableDefinition::new("tx_index");
/// The maximum number of index entries that one search reads.
const MAX_READS: usize = 200_000;
/// The number of bytes of an attribute's hash in an entry of the index. Each hash is a truncated SHA-256 hash.
const HASH_BYTES: usize = 16;

/// An entry of the index, as bytes: the hash of an attribute of a transaction, the height of the transaction's block,
/// and the position of the transaction in the block. Both numbers are in big-endian order.
type Entry = [u8; HASH_BYTES + 8 + 4];
type AttributeHash = [u8; HASH_BYTES];
/// The place of a transaction: the height of its block, and its index in that block.
pub(crate) type TxPlace = (u64, u32);

/// The conditions of a search for transactions. The search finds the transactions that satisfy all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TxFilter {
    /// The hash that a transaction must have, in upper-case hexadecimal. If this is `None`, transactions with any hash
    /// are found.
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

/// Returns the attributes of a transaction's events as pairs of a key and a value. The key consists of the event's
/// type, a dot, and the attribute's name.
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

/// The value that replaces the attribute's hash in an additional entry of the index. Every transaction has one such
/// additional entry. A search that asks for no attributes reads these entries.
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

/// Returns whether the transaction at `place` satisfies all conditions of `filter` except the transaction hash. The
/// caller has found the transaction by this hash.
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

/// Returns the places of all transactions that satisfy `filter`, in ascending order. The filter must not ask for a
/// transaction hash. Returns `None` if the search would read too many entries of the index.
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

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, ReadableDatabase as _, backends::InMemoryBackend};

    #[test]
    fn a_search_that_would_read_too_many_entries_is_refused() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let attributes = ["a", "b"].map(|value| ("transfer.sender".to_owned(), value.to_owned()));
        let hashes = attributes.each_ref().map(|(key, value)| attribute_hash(key, value));
        let changes = database.begin_write().unwrap();
        // Every block has a transaction with one of the attributes, and no transaction has both. A search for both
        // reads about one entry for each block.
        let mut index = changes.open_table(TX_INDEX).unwrap();
        for height in 0..=MAX_READS as u64 {
            index.insert(&entry(&hashes[(height % 2) as usize], (height, 0)), ()).unwrap();
        }
        drop(index);
        changes.commit().unwrap();
        let index = database.begin_read().unwrap().open_table(TX_INDEX).unwrap();
        let found = |first: u64| {
            let filter = TxFilter { hash: None, attributes: attributes.to_vec(), heights: first..=u64::MAX };
            search(&index, &filter).unwrap()
        };
        assert_eq!(found(0), None, "one entry more than a search may read");
        assert_eq!(found(2), Some(Vec::new()), "one entry less than a search may read");
    }
}
