//! A submission is accepted where its artifact equals the recomputed one, bit for bit.

use super::claims::{chunk_at, own_claim, own_claim_in};
use super::tables::*;
use super::{Engine, Node, blocks};
use anyhow::{Context, Result};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::{Artifact, Commitment, Mismatch, Receipt, compare, open_receipt};
use redb::{ReadableTable, WriteTransaction};

/// What an accepted submission brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acceptance {
    /// The round that it counts in.
    pub(crate) round: u64,
    /// Whether it had been accepted before: nothing changed then.
    pub(crate) again: bool,
    /// The miner's balance, in micro-units.
    pub(crate) balance: u64,
}

/// Why a submission was not accepted. Nothing changed; a claim that the miner holds stays held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// The adapter has moved on since the task was claimed.
    #[error("the round of this task is over: the adapter is {0} now")]
    Stale(Cid),
    /// The miner holds no claim on this task: never did, or it expired and went to another.
    #[error("the miner holds no claim on this task")]
    NotClaimed,
    /// The artifact is not the one recomputed.
    #[error(transparent)]
    Wrong(#[from] Mismatch),
}

/// The answer to a submission.
pub(crate) type Verdict = Result<Acceptance, Rejection>;

impl<E: Engine> Node<E> {
    /// Recomputes the task of `receipt`, whose blocks were put before, and accepts or rejects the claim to it.
    ///
    /// Submitting again what was accepted answers the same and counts nothing twice. An error means that the node
    /// could not tell.
    pub(crate) fn submit(&self, receipt: &Receipt) -> Result<Verdict> {
        let verdict = self.settle(receipt)?;
        self.close_full_round()?;
        Ok(verdict)
    }

    fn settle(&self, receipt: &Receipt) -> Result<Verdict> {
        let read = self.read()?;
        let ledger = Ledger::load(&read)?;
        let place = place_of(&read.open_table(COMMITMENTS)?, receipt.commitment())?;
        if let Some((round, position)) = place {
            let accepted = read.open_table(ACCEPTED)?;
            let accepted = accepted.get((round, position))?.context("an accepted submission has no record")?;
            if Accepted::decode(accepted.value())?.artifact == receipt.artifact() {
                return Ok(Ok(Acceptance {
                    round,
                    again: true,
                    balance: self.balance(&self.payee(&receipt.task().miner)?)?,
                }));
            }
        }
        if receipt.task().adapter != ledger.adapter {
            return Ok(Err(Rejection::Stale(ledger.adapter)));
        }
        let miner = &receipt.task().miner;
        let Some(position) = own_claim_in(&read.open_table(CLAIMS)?, miner)? else {
            return Ok(Err(Rejection::NotClaimed));
        };
        let chunk = chunk_at(&read.open_table(CHUNKS)?, position)?;
        if self.genesis.task(&ledger, position, chunk, miner)? != *receipt.task() {
            return Ok(Err(Rejection::NotClaimed));
        }
        drop(read);
        let fetch = |cid: &Cid| self.get_block(cid);
        let claimed = match open_receipt(receipt, &fetch) {
            Ok(claimed) => claimed,
            Err(mismatch) => return Ok(Err(mismatch.into())),
        };
        let recomputed = self.engine.recompute(receipt.task(), &fetch).context("recomputing a submitted task")?;
        if let Err(mismatch) = compare(&claimed, &recomputed) {
            return Ok(Err(mismatch.into()));
        }
        self.accept(receipt, ledger.round, position)
    }

    /// The one transaction of an acceptance. The ledger may have moved while the task was recomputed, so what was
    /// read then is asked again.
    fn accept(&self, receipt: &Receipt, round: u64, position: u64) -> Result<Verdict> {
        let (miner, commitment) = (receipt.task().miner.as_str(), receipt.commitment());
        let write = self.write()?;
        let mut ledger = Ledger::load_for_write(&write)?;
        if place_of(&write.open_table(COMMITMENTS)?, commitment)? == Some((round, position)) {
            drop(write);
            return Ok(Ok(Acceptance { round, again: true, balance: self.balance(&self.payee(miner)?)? }));
        }
        if ledger.round != round {
            return Ok(Err(Rejection::Stale(ledger.adapter)));
        }
        if own_claim(&write, miner)? != Some(position) {
            return Ok(Err(Rejection::NotClaimed));
        }
        write.open_table(CLAIMS)?.remove(position)?;
        let record = Accepted { miner: miner.to_owned(), artifact: receipt.artifact(), commitment: commitment.0 };
        write.open_table(ACCEPTED)?.insert((round, position), record.encode().as_slice())?;
        write.open_table(COMMITMENTS)?.insert(commitment.0.as_slice(), (round, position))?;
        for cid in artifact_cids(&write, receipt.artifact())? {
            blocks::pin(&write, &mut ledger, &cid)?;
        }
        let balance = credit(&write, miner, self.genesis.reward)?;
        ledger.accepted_in_round += 1;
        ledger.accepted_total += 1;
        ledger.store(&write)?;
        write.commit()?;
        Ok(Ok(Acceptance { round, again: false, balance }))
    }
}

pub(super) fn place_of(
    table: &impl ReadableTable<&'static [u8], (u64, u64)>,
    commitment: Commitment,
) -> Result<Option<(u64, u64)>> {
    Ok(table.get(commitment.0.as_slice())?.map(|place| place.value()))
}

/// Adds a reward to the balance of whom the miner names, or of the miner's own address.
fn credit(write: &WriteTransaction, miner: &str, reward: u64) -> Result<u64> {
    let (payouts, mut balances) = (write.open_table(PAYOUTS)?, write.open_table(BALANCES)?);
    let named = payouts.get(miner)?;
    let payee = named.as_ref().map_or(miner, |payout| payout.value());
    let before = balances.get(payee)?.map_or(0, |balance| balance.value());
    let balance = before.checked_add(reward).context("a balance beyond 2^64 micro-units")?;
    balances.insert(payee, balance)?;
    Ok(balance)
}

/// All blocks of a stored artifact, each once.
pub(super) fn artifact_cids(write: &WriteTransaction, root: Cid) -> Result<Vec<Cid>> {
    let manifest = blocks::get(&write.open_table(BLOCKS)?, &root)?;
    let mut cids = Artifact::links(&manifest)?;
    cids.push(root);
    cids.sort_unstable();
    cids.dedup();
    Ok(cids)
}
