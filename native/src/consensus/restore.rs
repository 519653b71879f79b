//! Restores a ledger from a snapshot. Each chunk of the snapshot is checked against its hash, and the restored ledger
//! against the app hash that CometBFT's light client has verified.

use super::snapshots::{FORMAT, unpack};
use anyhow::{Context, Result, ensure};
use r3mes_wgpu::ledger::{Genesis, Ledger, StateRow};
use sha2::{Digest, Sha256};
use tendermint_proto::v0_38::abci::{RequestOfferSnapshot, Snapshot};

/// The maximum number of chunks in a snapshot. It is enough for a ledger of 1 GiB.
const MAX_CHUNKS: u32 = 256;
/// The maximum total size of the chunks of a snapshot in bytes. The rows of the ledger that the chunks contain stay in
/// memory until the last chunk has arrived, because only then can they be compared with the app hash.
const MAX_BYTES: usize = 1 << 30;
/// The maximum number of rows (pairs of a key and a value) in a snapshot of the ledger. Even a very short row takes
/// about 100 bytes of memory.
const MAX_ROWS: usize = 1 << 23;

/// A snapshot that is being restored. Its chunks must arrive in order.
pub(super) struct SnapshotRestore {
    height: u64,
    app_hash: Vec<u8>,
    /// The SHA-256 hash of each chunk, in the order of the chunks.
    hashes: Vec<[u8; 32]>,
    rows: Vec<StateRow>,
    /// The total size of the chunks received so far.
    bytes: usize,
    /// The number of chunks received so far.
    received: usize,
}

/// The result of adding a chunk to a snapshot that is being restored.
pub(super) enum ChunkOutcome {
    /// The chunk was added, and more chunks are needed.
    More,
    /// The chunk does not match its hash, and must be requested again from another peer.
    Mismatch,
    /// The last chunk was added. The field is the restored ledger.
    Complete(Box<Ledger>),
}

impl SnapshotRestore {
    /// Starts to restore the offered snapshot. Returns `None` if its format is unknown, if the number of chunks is 0 or
    /// more than [`MAX_CHUNKS`], if there is not one hash per chunk, or if the snapshot's hash is not the hash of all
    /// chunk hashes.
    pub(super) fn begin(offer: RequestOfferSnapshot) -> Option<Self> {
        let Snapshot { height, format, chunks, hash, metadata } = offer.snapshot?;
        let (hashes, rest) = metadata.as_chunks::<32>();
        let fits = format == FORMAT && (1..=MAX_CHUNKS).contains(&chunks) && hashes.len() == chunks as usize;
        let valid = fits && rest.is_empty() && hash == *Sha256::digest(&metadata);
        let app_hash = offer.app_hash.to_vec();
        valid.then(|| Self { height, app_hash, hashes: hashes.to_vec(), rows: Vec::new(), bytes: 0, received: 0 })
    }

    /// Adds the chunk with the index `index`. Returns an error if the chunk is not the next one in order, if it is
    /// malformed, or if the complete snapshot is invalid.
    pub(super) fn add(&mut self, index: u32, chunk: &[u8], genesis: impl FnOnce() -> Genesis) -> Result<ChunkOutcome> {
        ensure!(index as usize == self.received, "received chunk {index}, expected chunk {}", self.received);
        let expected = self.hashes.get(self.received).context("received more chunks than were offered")?;
        if *expected != *Sha256::digest(chunk) {
            return Ok(ChunkOutcome::Mismatch);
        }
        self.bytes += chunk.len();
        ensure!(self.bytes <= MAX_BYTES, "the snapshot has more than {MAX_BYTES} bytes");
        self.rows.extend(unpack(chunk).context("malformed snapshot chunk")?);
        ensure!(self.rows.len() <= MAX_ROWS, "the snapshot has more than {MAX_ROWS} rows");
        self.received += 1;
        if self.received < self.hashes.len() {
            return Ok(ChunkOutcome::More);
        }
        let ledger = Ledger::restore(genesis(), &self.rows)?;
        let height = ledger.state().head().height;
        ensure!(height == self.height, "the snapshot has height {height}, expected {}", self.height);
        ensure!(ledger.root() == *self.app_hash, "the root of the snapshot is not the chain's app hash");
        Ok(ChunkOutcome::Complete(Box::new(ledger)))
    }
}
