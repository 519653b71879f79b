//! The tables of the store's file.

use r3mes_wgpu::store::{Cid, Codec, StoreError};
use redb::TableDefinition;

/// The SHA-256 hash of a block's bytes.
pub(super) type Digest = [u8; 32];

/// Digest → bytes.
pub(super) const BYTES: TableDefinition<Digest, &[u8]> = TableDefinition::new("bytes");
/// Digest → the number of pins that hold the block.
pub(super) const HELD: TableDefinition<Digest, u64> = TableDefinition::new("held");
/// Digest of a loose block → its mark, the number of the `put` that stored it.
pub(super) const LOOSE: TableDefinition<Digest, u64> = TableDefinition::new("loose");
/// (mark, digest) of loose blocks, in the order in which they are deleted.
pub(super) const QUEUE: TableDefinition<(u64, Digest), ()> = TableDefinition::new("queue");
/// (owner of the pin, CID of the root).
pub(super) const ROOTS: TableDefinition<(u8, &[u8]), ()> = TableDefinition::new("roots");
/// Name → number.
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// The name in [`NUMBERS`] of the version of the file format.
pub(super) const FORMAT: &str = "format";
/// The name of the last mark.
pub(super) const MARK: &str = "mark";
/// The name of the size of all blocks, as [`quota::cost`](super::quota::cost) counts it.
pub(super) const TOTAL_BYTES: &str = "total bytes";
/// The name of the size of the loose blocks.
pub(super) const LOOSE_BYTES: &str = "loose bytes";

/// Returns the digest of a CID. Returns an error if the codec or the hash function is not one of this store.
pub(super) fn digest(cid: &Cid) -> Result<Digest, StoreError> {
    Codec::of(cid)?;
    cid.hash().digest().try_into().map_err(|_| StoreError::Codec(*cid))
}
