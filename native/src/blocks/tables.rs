//! The database tables of a block store.

use r3mes_wgpu::store::{Cid, Codec, StoreError};
use redb::TableDefinition;

/// The SHA-256 hash of a block's bytes.
pub(super) type Digest = [u8; 32];

/// The bytes of each block, by the block's digest.
pub(super) const BYTES: TableDefinition<Digest, &[u8]> = TableDefinition::new("bytes");
/// The number of pins that keep a block, by the block's digest. An unpinned block has no entry.
pub(super) const HELD: TableDefinition<Digest, u64> = TableDefinition::new("held");
/// The mark of each unpinned block, by the block's digest. The mark is the sequence number of the `put` that stored the
/// block, or 0 if the block has lost its last pin since. Blocks with smaller marks are deleted first.
pub(super) const UNPINNED: TableDefinition<Digest, u64> = TableDefinition::new("loose");
/// The order in which unpinned blocks are deleted. The keys are `(mark, digest)`, one for each unpinned block, in
/// ascending order; there are no values.
pub(super) const QUEUE: TableDefinition<(u64, Digest), ()> = TableDefinition::new("queue");
/// All pins. The keys are `(owner, CID of the pinned block)`, where the owner is 0 for the system and 1 for the user;
/// there are no values.
pub(super) const ROOTS: TableDefinition<(u8, &[u8]), ()> = TableDefinition::new("roots");
/// Single numbers, by name: the version of the file format, the mark (sequence number) of the last `put`, the total
/// size of all blocks, and the total size of the unpinned blocks.
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// The key in [`NUMBERS`] under which the version of the file format is stored.
pub(super) const FORMAT: &str = "format";
/// The key in [`NUMBERS`] under which the mark of the last `put` is stored, which is the number of successful `put`s so
/// far.
pub(super) const MARK: &str = "mark";
/// The key in [`NUMBERS`] under which the total size of all blocks is stored: the sum of their
/// [`quota::cost`](super::quota::cost), in bytes.
pub(super) const TOTAL_BYTES: &str = "total bytes";
/// The key in [`NUMBERS`] under which the total size of the unpinned blocks is stored: the sum of their
/// [`quota::cost`](super::quota::cost), in bytes.
pub(super) const UNPINNED_BYTES: &str = "loose bytes";

/// Returns the SHA-256 digest that a CID contains. Returns an error if the store does not support the CID's codec or
/// hash function.
pub(super) fn digest(cid: &Cid) -> Result<Digest, StoreError> {
    Codec::of(cid)?;
    cid.hash().digest().try_into().map_err(|_| StoreError::Codec(*cid))
}
