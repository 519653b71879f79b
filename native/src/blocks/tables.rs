//! The tables of a block store's file. Arrows lead from key to value.

use r3mes_wgpu::store::{Cid, Codec, StoreError};
use redb::TableDefinition;

/// The SHA-256 hash of a block's bytes.
pub(super) type Digest = [u8; 32];

/// Digest → bytes of the block.
pub(super) const BYTES: TableDefinition<Digest, &[u8]> = TableDefinition::new("bytes");
/// Digest → number of pins that keep the block.
pub(super) const HELD: TableDefinition<Digest, u64> = TableDefinition::new("held");
/// Digest of an unpinned block → the block's mark, which determines when it is deleted.
pub(super) const LOOSE: TableDefinition<Digest, u64> = TableDefinition::new("loose");
/// (Mark, digest) of each unpinned block, in the order in which blocks are deleted.
pub(super) const QUEUE: TableDefinition<(u64, Digest), ()> = TableDefinition::new("queue");
/// (Owner of a pin, CID of its root).
pub(super) const ROOTS: TableDefinition<(u8, &[u8]), ()> = TableDefinition::new("roots");
/// Name → integer. The names are the constants below.
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// Key in [`NUMBERS`]: the version of the file format.
pub(super) const FORMAT: &str = "format";
/// Key in [`NUMBERS`]: the mark that was used last.
pub(super) const MARK: &str = "mark";
/// Key in [`NUMBERS`]: the total size of all blocks, as counted by [`quota::cost`](super::quota::cost).
pub(super) const TOTAL_BYTES: &str = "total bytes";
/// Key in [`NUMBERS`]: the total size of the unpinned blocks, as counted by [`quota::cost`](super::quota::cost).
pub(super) const LOOSE_BYTES: &str = "loose bytes";

/// Returns the digest in a CID. Returns an error if the store does not support the CID's codec or hash function.
pub(super) fn digest(cid: &Cid) -> Result<Digest, StoreError> {
    Codec::of(cid)?;
    cid.hash().digest().try_into().map_err(|_| StoreError::Codec(*cid))
}
