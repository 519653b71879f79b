//! The snapshots that this node serves. A snapshot consists of a ledger's rows in chunks, whose bytes are the same on
//! every node.

use anyhow::{Context, Result, bail};
use r3mes_wgpu::ledger::{Ledger, StateRow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tendermint_proto::v0_38::abci::Snapshot;

/// The version of the format of snapshot chunks.
pub(super) const FORMAT: u32 = 1;
/// The size of rows in bytes at which a chunk is ended. CometBFT transfers chunks of at most 16 MB.
const CHUNK_BYTES: usize = 4 << 20;
/// The number of snapshots that are kept.
const KEPT: usize = 4;
/// The number of blocks that must follow a snapshot before it is offered. A light client needs the next two headers to
/// verify it.
const NEWER_BLOCKS: u64 = 2;

/// A row in a chunk: first the key, then the value.
#[derive(Serialize, Deserialize)]
struct SnapshotRow(#[serde(with = "serde_bytes")] Vec<u8>, #[serde(with = "serde_bytes")] Vec<u8>);

/// The newest ledgers whose heights are multiples of an interval. A ledger is cheap to copy, and its chunks are encoded
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
    /// Creates the list with a snapshot of the current ledger, unless that is at height 0.
    pub(super) fn new(every: u64, ledger: Ledger) -> Self {
        let snapshots = Self { every: every.max(1), taken: Mutex::default() };
        if ledger.state().head().height > 0 {
            snapshots.push(ledger);
        }
        snapshots
    }

    /// Takes a snapshot of a new ledger if its height is a multiple of the interval.
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

    /// Returns the snapshots that are old enough to be offered at `height`, the newest first.
    pub(super) fn list(&self, height: u64) -> Result<Vec<Snapshot>> {
        let taken: Vec<_> =
            self.taken().iter().rev().filter(|taken| taken.height + NEWER_BLOCKS <= height).cloned().collect();
        taken.iter().map(|taken| described(taken.height, taken.chunks()?)).collect()
    }

    /// Returns the chunk with the index `chunk` of the snapshot at `height`.
    pub(super) fn chunk(&self, height: u64, format: u32, chunk: u32) -> Result<Vec<u8>> {
        let taken = self.taken().iter().find(|taken| taken.height == height && format == FORMAT).cloned();
        let taken = taken.with_context(|| format!("no snapshot of height {height} and format {format}"))?;
        taken.chunks()?.get(chunk as usize).cloned().context("the snapshot has fewer chunks")
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

/// Returns the description with which a snapshot is offered, including the hash of each chunk.
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

/// Encodes the rows of a ledger as chunks of DAG-CBOR. Every chunk except the last contains at least `chunk_bytes`
/// bytes of rows.
pub(super) fn pack(ledger: &Ledger, chunk_bytes: usize) -> Result<Vec<Vec<u8>>> {
    let (mut chunks, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
    for StateRow { key, value } in ledger.rows() {
        let Some(value) = value else { bail!("a row of the ledger has no value") };
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

/// Decodes the rows of a chunk.
pub(super) fn unpack(chunk: &[u8]) -> Result<Vec<StateRow>> {
    let rows: Vec<SnapshotRow> = serde_ipld_dagcbor::from_slice(chunk)?;
    Ok(rows.into_iter().map(|SnapshotRow(key, value)| StateRow { key, value: Some(value) }).collect())
}
