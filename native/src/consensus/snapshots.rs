//! The snapshots of the ledger that this node offers to new replicas. A snapshot contains the ledger's rows in chunks,
//! whose bytes are the same on every node.

use anyhow::{Context, Result, bail};
use r3mes_wgpu::ledger::{Ledger, StateRow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tendermint_proto::v0_38::abci::Snapshot;

/// The version number of the encoding of snapshot chunks.
pub(super) const FORMAT: u32 = 1;
/// The minimum total size, in bytes, of the rows in a chunk; only the last chunk can be smaller. CometBFT transfers at
/// most 16 MB per chunk.
const CHUNK_BYTES: usize = 4 << 20;
/// The number of snapshots that the node keeps. Older snapshots are dropped.
const KEPT: usize = 4;
/// The number of blocks that must follow a snapshot before it is offered. The light client of a new replica needs the
/// next two block headers to verify a snapshot.
const NEWER_BLOCKS: u64 = 2;

/// A row of the ledger in a snapshot chunk: first the key, then the value.
#[derive(Serialize, Deserialize)]
struct SnapshotRow(#[serde(with = "serde_bytes")] Vec<u8>, #[serde(with = "serde_bytes")] Vec<u8>);

/// The newest snapshots of the ledger. Taking a snapshot only copies the ledger, which is cheap; the chunks are encoded
/// when they are first requested.
pub(super) struct Snapshots {
    every: u64,
    taken: Mutex<VecDeque<Arc<KeptSnapshot>>>,
}

struct KeptSnapshot {
    height: u64,
    ledger: Ledger,
    chunks: OnceLock<Vec<Vec<u8>>>,
}

impl Snapshots {
    /// Creates the list of snapshots. `every` is the number of blocks from one snapshot to the next. The list begins
    /// with a snapshot of `ledger`, unless this ledger has height 0.
    pub(super) fn new(every: u64, ledger: Ledger) -> Self {
        let snapshots = Self { every: every.max(1), taken: Mutex::default() };
        if ledger.state().head().height > 0 {
            snapshots.push(ledger);
        }
        snapshots
    }

    /// Takes a snapshot of `ledger` if its height is a multiple of the interval between snapshots.
    pub(super) fn take(&self, ledger: &Ledger) {
        if ledger.state().head().height.is_multiple_of(self.every) {
            self.push(ledger.clone());
        }
    }

    fn push(&self, ledger: Ledger) {
        let mut taken = self.taken();
        let height = ledger.state().head().height;
        taken.push_back(Arc::new(KeptSnapshot { height, ledger, chunks: OnceLock::new() }));
        while taken.len() > KEPT {
            taken.pop_front();
        }
    }

    /// Returns the snapshots that can be offered when the ledger has the height `height`, the newest first. A snapshot
    /// can be offered once at least [`NEWER_BLOCKS`] blocks have followed it.
    pub(super) fn list(&self, height: u64) -> Result<Vec<Snapshot>> {
        let taken: Vec<_> =
            self.taken().iter().rev().filter(|taken| taken.height + NEWER_BLOCKS <= height).cloned().collect();
        taken.iter().map(|taken| described(taken.height, taken.chunks()?)).collect()
    }

    /// Returns the chunk at the index `chunk` of the snapshot that was taken at the height `height`.
    pub(super) fn chunk(&self, height: u64, format: u32, chunk: u32) -> Result<Vec<u8>> {
        let taken = self.taken().iter().find(|taken| taken.height == height && format == FORMAT).cloned();
        let taken = taken.with_context(|| format!("there is no snapshot at height {height} in format {format}"))?;
        taken.chunks()?.get(chunk as usize).cloned().context("the snapshot has no chunk with this index")
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<Arc<KeptSnapshot>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptSnapshot {
    fn chunks(&self) -> Result<&[Vec<u8>]> {
        if let Some(chunks) = self.chunks.get() {
            return Ok(chunks);
        }
        let chunks = pack(&self.ledger, CHUNK_BYTES)?;
        Ok(self.chunks.get_or_init(|| chunks))
    }
}

/// Returns the description that is sent when a snapshot is offered. It contains the hash of each chunk.
pub(super) fn described(height: u64, chunks: &[Vec<u8>]) -> Result<Snapshot> {
    let metadata: Vec<u8> = chunks.iter().flat_map(Sha256::digest).collect();
    Ok(Snapshot {
        height,
        format: FORMAT,
        chunks: u32::try_from(chunks.len())?,
        hash: Sha256::digest(&metadata).to_vec().into(),
        metadata: metadata.into(),
    })
}

/// Encodes the rows of a ledger as chunks of DAG-CBOR. The rows in each chunk, except the last, have at least
/// `chunk_bytes` bytes in total.
pub(super) fn pack(ledger: &Ledger, chunk_bytes: usize) -> Result<Vec<Vec<u8>>> {
    let (mut chunks, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
    for StateRow { key, value } in ledger.rows() {
        let Some(value) = value else { bail!("no snapshot can be made, because the ledger has a key without a value") };
        bytes += key.len() + value.len();
        rows.push(SnapshotRow(key, value));
        if bytes >= chunk_bytes {
            chunks.push(serde_ipld_dagcbor::to_vec(&rows)?);
            (rows, bytes) = (Vec::new(), 0);
        }
    }
    // a ledger always has a head row, so there is at least one chunk
    if !rows.is_empty() {
        chunks.push(serde_ipld_dagcbor::to_vec(&rows)?);
    }
    Ok(chunks)
}

/// Decodes a chunk into rows of the ledger.
pub(super) fn unpack(chunk: &[u8]) -> Result<Vec<StateRow>> {
    let rows: Vec<SnapshotRow> = serde_ipld_dagcbor::from_slice(chunk)?;
    Ok(rows.into_iter().map(|SnapshotRow(key, value)| StateRow { key, value: Some(value) }).collect())
}
