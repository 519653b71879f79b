//! A round ends with its quota of accepted tasks: their sum, one optimizer step, the next adapter root.

use super::claims::chunk_at;
use super::submission::artifact_cids;
use super::tables::*;
use super::{Engine, Node, blocks};
use anyhow::{Context, Result};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::{AdapterState, Aggregate, Artifact};
use redb::{ReadableTable, WriteTransaction};

impl<E: Engine> Node<E> {
    /// Closes the round if it has its quota, in one transaction; else does nothing.
    pub(super) fn close_full_round(&self) -> Result<()> {
        if Ledger::load(&self.read()?)?.accepted_in_round < self.genesis.quota {
            return Ok(());
        }
        let write = self.write()?;
        let mut ledger = Ledger::load_for_write(&write)?;
        if ledger.accepted_in_round < self.genesis.quota {
            return Ok(());
        }
        let next = self.next_adapter(&write, &ledger).with_context(|| format!("closing round {}", ledger.round))?;
        let dag = next.dag()?;
        for block in &dag.blocks {
            blocks::insert_pinned(&write, &mut ledger, block)?;
        }
        ledger.round += 1;
        ledger.adapter = dag.root;
        ledger.accepted_in_round = 0;
        write.open_table(ROUNDS)?.insert(ledger.round, dag.root.to_bytes().as_slice())?;
        reopen_claims(&write)?;
        if let Some(end) = ledger.round.checked_sub(self.genesis.retention_rounds) {
            forget_rounds(&write, end)?;
        }
        let oldest = ledger.round.saturating_sub(1);
        blocks::sweep(&write, &mut ledger, oldest)?;
        ledger.store(&write)?;
        Ok(write.commit()?)
    }

    /// The state after the present round's accepted artifacts. A round of voids changes nothing.
    fn next_adapter(&self, write: &WriteTransaction, ledger: &Ledger) -> Result<AdapterState> {
        let (table, chunks) = (write.open_table(BLOCKS)?, write.open_table(CHUNKS)?);
        let fetch = |cid: &Cid| blocks::get(&table, cid);
        let mut sum = Aggregate::new(&self.genesis.job);
        for entry in write.open_table(ACCEPTED)?.range((ledger.round, 0)..=(ledger.round, u64::MAX))? {
            let (place, record) = entry?;
            let (position, record) = (place.value().1, Accepted::decode(record.value())?);
            let task = self.genesis.task(ledger, position, chunk_at(&chunks, position)?, &record.miner)?;
            sum.add(&Artifact::fetch(&task, &record.artifact, &fetch)?)?;
        }
        let state = AdapterState::fetch(&ledger.adapter, &fetch)?;
        if sum.tokens == 0 {
            return Ok(state);
        }
        let next = self.engine.step(&state, &sum)?;
        self.genesis.job.check_adapter(&next.adapter)?;
        Ok(next)
    }
}

/// Opens the positions of claims that the end of the round made stale.
fn reopen_claims(write: &WriteTransaction) -> Result<()> {
    let (mut claims, mut open) = (write.open_table(CLAIMS)?, write.open_table(OPEN)?);
    while let Some((position, _)) = claims.pop_first()? {
        open.insert(position.value(), ())?;
    }
    Ok(())
}

/// Drops adapters, artifacts and commitments of the rounds before `end`. A commitment forgotten can still not
/// count again: the seed of its task is that of its round.
fn forget_rounds(write: &WriteTransaction, end: u64) -> Result<()> {
    let mut gone = Vec::new();
    write.open_table(ROUNDS)?.retain_in(..end, |_, adapter| {
        gone.push(Cid::try_from(adapter));
        false
    })?;
    for adapter in gone {
        let adapter = adapter?;
        let manifest = blocks::get(&write.open_table(BLOCKS)?, &adapter)?;
        let mut cids = AdapterState::links(&manifest)?;
        cids.push(adapter);
        cids.sort_unstable();
        cids.dedup();
        cids.iter().try_for_each(|cid| blocks::unpin(write, cid))?;
    }
    let mut gone = Vec::new();
    write.open_table(ACCEPTED)?.retain_in(..(end, 0), |_, record| {
        gone.push(Accepted::decode(record));
        false
    })?;
    for record in gone {
        let record = record?;
        write.open_table(COMMITMENTS)?.remove(record.commitment.as_slice())?;
        for cid in artifact_cids(write, record.artifact)? {
            blocks::unpin(write, &cid)?;
        }
    }
    Ok(())
}
