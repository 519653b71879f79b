//! A snapshot on its way in: chunks checked by their hashes, and the ledger by the app hash that a light client vouches for.

use super::snapshots::{FORMAT, unpack};
use anyhow::{Context, Result, ensure};
use r3mes_wgpu::ledger::{Genesis, Ledger, StateRow};
use sha2::{Digest, Sha256};
use tendermint_proto::v0_38::abci::{RequestOfferSnapshot, Snapshot};

/// Most chunks: a ledger of 64 GiB.
const MAX_CHUNKS: u32 = 1 << 14;

/// A snapshot, as far as it came.
pub(super) struct Restoring {
    height: u64,
    app_hash: Vec<u8>,
    /// Of each chunk.
    hashes: Vec<[u8; 32]>,
    rows: Vec<StateRow>,
    /// Chunks that came.
    came: usize,
}

/// What a chunk led to.
pub(super) enum Step {
    /// It is in; others are to come.
    More,
    /// It is not what it should be: another is to be asked for it.
    Wrong,
    /// It was the last one.
    Whole(Box<Ledger>),
}

impl Restoring {
    /// Begins with one that is offered; `None` where its form is not known here.
    pub(super) fn begin(offer: RequestOfferSnapshot) -> Option<Self> {
        let Snapshot { height, format, chunks, hash, metadata } = offer.snapshot?;
        let (hashes, rest) = metadata.as_chunks::<32>();
        let fits = format == FORMAT && (1..=MAX_CHUNKS).contains(&chunks) && hashes.len() == chunks as usize;
        let sound = fits && rest.is_empty() && hash == *Sha256::digest(&metadata);
        let app_hash = offer.app_hash.to_vec();
        sound.then(|| Self { height, app_hash, hashes: hashes.to_vec(), rows: Vec::new(), came: 0 })
    }

    /// Takes the next chunk.
    pub(super) fn add(&mut self, index: u32, chunk: &[u8], genesis: impl FnOnce() -> Genesis) -> Result<Step> {
        ensure!(index as usize == self.came, "chunk {index} is not the next one, {}", self.came);
        let expected = self.hashes.get(self.came).context("more chunks than were offered")?;
        if *expected != *Sha256::digest(chunk) {
            return Ok(Step::Wrong);
        }
        self.rows.extend(unpack(chunk).context("a chunk that is none")?);
        self.came += 1;
        if self.came < self.hashes.len() {
            return Ok(Step::More);
        }
        let ledger = Ledger::restore(genesis(), &self.rows)?;
        let height = ledger.state().scalars().height;
        ensure!(height == self.height, "a snapshot of height {height}, not {}", self.height);
        ensure!(ledger.root() == *self.app_hash, "a snapshot whose root is not the chain's app hash");
        Ok(Step::Whole(Box::new(ledger)))
    }
}
