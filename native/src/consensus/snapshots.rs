//! Snapshots that this node gives: a ledger's rows in chunks, the same bytes from every node.

use anyhow::{Context, Result, bail};
use r3mes_wgpu::ledger::{Ledger, StateRow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tendermint_proto::v0_38::abci::Snapshot;

/// The form of the chunks.
pub(super) const FORMAT: u32 = 1;
/// Bytes of rows after which a chunk ends; CometBFT passes on chunks of at most 16 MB.
const CHUNK_BYTES: usize = 4 << 20;
/// Snapshots that are kept.
const KEPT: usize = 4;
/// Blocks that must be on top of a snapshot before it is of use: a light client asks for the two headers after it.
const ON_TOP: u64 = 2;

/// A row as it stands in a chunk.
#[derive(Serialize, Deserialize)]
struct Packed(#[serde(with = "serde_bytes")] Vec<u8>, #[serde(with = "serde_bytes")] Vec<u8>);

/// Ledgers of some heights. A copy of a ledger is free; what is sent is made of it when it is asked for.
pub(super) struct Snapshots {
    every: u64,
    taken: Mutex<VecDeque<Arc<Taken>>>,
}

struct Taken {
    height: u64,
    ledger: Ledger,
    chunks: OnceLock<Vec<Vec<u8>>>,
}

impl Snapshots {
    /// With one of the ledger as it stands.
    pub(super) fn new(every: u64, ledger: Ledger) -> Self {
        let snapshots = Self { every: every.max(1), taken: Mutex::default() };
        if ledger.state().scalars().height > 0 {
            snapshots.push(ledger);
        }
        snapshots
    }

    /// Takes one of a new ledger, if its height is a multiple of the interval.
    pub(super) fn take(&self, ledger: &Ledger) {
        if ledger.state().scalars().height.is_multiple_of(self.every) {
            self.push(ledger.clone());
        }
    }

    fn push(&self, ledger: Ledger) {
        let mut taken = self.taken();
        let height = ledger.state().scalars().height;
        taken.push_back(Arc::new(Taken { height, ledger, chunks: OnceLock::new() }));
        while taken.len() > KEPT {
            taken.pop_front();
        }
    }

    /// Those that are of use at a height, the newest first.
    pub(super) fn list(&self, height: u64) -> Result<Vec<Snapshot>> {
        let taken: Vec<_> =
            self.taken().iter().rev().filter(|taken| taken.height + ON_TOP <= height).cloned().collect();
        taken.iter().map(|taken| described(taken.height, taken.chunks()?)).collect()
    }

    /// A chunk of one.
    pub(super) fn chunk(&self, height: u64, format: u32, chunk: u32) -> Result<Vec<u8>> {
        let taken = self.taken().iter().find(|taken| taken.height == height && format == FORMAT).cloned();
        let taken = taken.with_context(|| format!("there is no snapshot of height {height} and format {format}"))?;
        taken.chunks()?.get(chunk as usize).cloned().context("a chunk that the snapshot has not")
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<Arc<Taken>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn chunks(&self) -> Result<&[Vec<u8>]> {
        if let Some(chunks) = self.chunks.get() {
            return Ok(chunks);
        }
        let made = pack(&self.ledger, CHUNK_BYTES)?;
        Ok(self.chunks.get_or_init(|| made))
    }
}

/// A snapshot, as it is offered.
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

/// A ledger's rows in chunks of DAG-CBOR, each of at least so many bytes of rows, but for the last.
pub(super) fn pack(ledger: &Ledger, chunk_bytes: usize) -> Result<Vec<Vec<u8>>> {
    let (mut chunks, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
    for StateRow { key, value } in ledger.rows() {
        let Some(value) = value else { bail!("a row without a value") };
        bytes += key.len() + value.len();
        rows.push(Packed(key, value));
        if bytes >= chunk_bytes {
            chunks.push(serde_ipld_dagcbor::to_vec(&rows)?);
            (rows, bytes) = (Vec::new(), 0);
        }
    }
    // a ledger has a head, so there is a chunk
    if !rows.is_empty() {
        chunks.push(serde_ipld_dagcbor::to_vec(&rows)?);
    }
    Ok(chunks)
}

/// The rows of a chunk.
pub(super) fn unpack(chunk: &[u8]) -> Result<Vec<StateRow>> {
    let rows: Vec<Packed> = serde_ipld_dagcbor::from_slice(chunk)?;
    Ok(rows.into_iter().map(|Packed(key, value)| StateRow { key, value: Some(value) }).collect())
}
