//! A claim reserves one position of the text for one miner until it expires.
//!
//! Positions count up forever; `chunk_number` maps them onto the text. A position that comes back unfinished is
//! handed out again before a fresh one, so every chunk is used once in each pass over the text.

use super::genesis::chunk_number;
use super::tables::{ACCEPTED, CHUNKS, CLAIMS, Ledger, OPEN};
use super::{Engine, Node};
use anyhow::{Context, Result, ensure};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::Task;
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use std::collections::BTreeSet;

/// What an attempt to claim came to.
pub(super) enum Claimed {
    /// The miner's unfinished task, or the one asked for.
    Task(Box<Task>),
    /// Another chunk than the one asked for is next.
    Other,
    /// The round has all the claims that it needs.
    Nothing,
}

impl<E: Engine> Node<E> {
    /// A task for `miner` at time `now`: its unfinished one, or the next. `None` while the round has all the claims
    /// that it needs: ask again later.
    pub(crate) fn claim(&self, miner: &str, now: u64) -> Result<Option<Task>> {
        Ok(match self.claim_at(miner, None, now)? {
            Claimed::Task(task) => Some(*task),
            Claimed::Other | Claimed::Nothing => None,
        })
    }

    /// [`Self::claim`], where the next task is wanted only if it is at the position `wanted`.
    pub(super) fn claim_at(&self, miner: &str, wanted: Option<u64>, now: u64) -> Result<Claimed> {
        self.close_full_round()?;
        let write = self.write()?;
        let mut ledger = Ledger::load_for_write(&write)?;
        let position = match own_claim(&write, miner)? {
            Some(position) => position,
            None => match self.free_position(&write, &mut ledger, now)? {
                None => {
                    // expired claims are open again: that much has changed
                    write.commit()?;
                    return Ok(Claimed::Nothing);
                }
                Some(position) if wanted.is_some_and(|wanted| wanted != position) => return Ok(Claimed::Other),
                Some(position) => position,
            },
        };
        let expires = now.saturating_add(self.genesis.claim_lifetime);
        let chunk = chunk_at(&write.open_table(CHUNKS)?, position)?;
        let task = self.genesis.task(&ledger, position, chunk, miner)?;
        write.open_table(CLAIMS)?.insert(position, (miner, expires))?;
        ledger.store(&write)?;
        write.commit()?;
        Ok(Claimed::Task(Box::new(task)))
    }

    /// The position that would be claimed next; nothing changes.
    pub(crate) fn available(&self, now: u64) -> Result<Option<u64>> {
        self.close_full_round()?;
        let write = self.write()?;
        let mut ledger = Ledger::load_for_write(&write)?;
        let position = self.free_position(&write, &mut ledger, now)?;
        write.abort()?;
        Ok(position)
    }

    fn free_position(&self, write: &WriteTransaction, ledger: &mut Ledger, now: u64) -> Result<Option<u64>> {
        expire(write, now)?;
        let claimed = write.open_table(CLAIMS)?.len()?;
        if u64::from(ledger.accepted_in_round) + claimed >= self.genesis.quota.into() {
            return Ok(None);
        }
        next_position(write, ledger).map(Some)
    }
}

/// The position that `miner` holds. It holds one even past its expiry, until somebody else asks.
pub(super) fn own_claim(write: &WriteTransaction, miner: &str) -> Result<Option<u64>> {
    own_claim_in(&write.open_table(CLAIMS)?, miner)
}

pub(super) fn own_claim_in(claims: &impl ReadableTable<u64, (&'static str, u64)>, miner: &str) -> Result<Option<u64>> {
    for entry in claims.iter()? {
        let (position, claim) = entry?;
        if claim.value().0 == miner {
            return Ok(Some(position.value()));
        }
    }
    Ok(None)
}

/// The chunk at a position.
pub(super) fn chunk_at(chunks: &impl ReadableTable<u64, &'static [u8]>, position: u64) -> Result<Cid> {
    let count = chunks.len()?;
    ensure!(count > 0, "the ledger has no chunks");
    let number = chunk_number(position, count);
    let cid = chunks.get(number)?.with_context(|| format!("chunk {number} is missing"))?;
    Ok(Cid::try_from(cid.value())?)
}

/// Opens the positions of claims that ended by `now`.
fn expire(write: &WriteTransaction, now: u64) -> Result<()> {
    let (mut claims, mut open) = (write.open_table(CLAIMS)?, write.open_table(OPEN)?);
    let mut ended = Vec::new();
    claims.retain(|position, (_, expires)| {
        let live = expires > now;
        if !live {
            ended.push(position);
        }
        live
    })?;
    for position in ended {
        open.insert(position, ())?;
    }
    Ok(())
}

/// The first open position, else the next fresh one, whose chunk is not in this round yet.
///
/// Claims and acceptances are fewer than the quota and the quota is within the number of chunks, so among as many
/// fresh positions as there are chunks one is free.
fn next_position(write: &WriteTransaction, ledger: &mut Ledger) -> Result<u64> {
    let (mut open, chunks) = (write.open_table(OPEN)?, write.open_table(CHUNKS)?.len()?);
    let mut busy = BTreeSet::new();
    for entry in write.open_table(CLAIMS)?.iter()? {
        busy.insert(chunk_number(entry?.0.value(), chunks));
    }
    for entry in write.open_table(ACCEPTED)?.range((ledger.round, 0)..=(ledger.round, u64::MAX))? {
        busy.insert(chunk_number(entry?.0.value().1, chunks));
    }
    let mut free = None;
    for entry in open.iter()? {
        let position = entry?.0.value();
        if !busy.contains(&chunk_number(position, chunks)) {
            free = Some(position);
            break;
        }
    }
    if let Some(position) = free {
        open.remove(position)?;
        return Ok(position);
    }
    loop {
        let position = ledger.cursor;
        ledger.cursor += 1;
        if !busy.contains(&chunk_number(position, chunks)) {
            return Ok(position);
        }
        open.insert(position, ())?;
    }
}
