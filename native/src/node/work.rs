//! Work: claims and submissions that transactions carry. Settling one again changes nothing, so that each is a
//! transaction of the ledger by itself, before the record of the transaction that carried it.

use super::claims::{Claimed, chunk_at, own_claim_in};
use super::submission::place_of;
use super::tables::*;
use super::transactions::{Outcome, Refusal, Submitted};
use super::{Engine, Node};
use anyhow::{Context, Result};
use prost::Message as _;
use r3mes_wgpu::chain::{Message, MsgClaimTask, MsgClaimTaskResponse, MsgSubmitGradient, code};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::{Artifact, CHUNK_TOKENS, Commitment, Mismatch, Receipt, Task};

impl<E: Engine> Node<E> {
    /// Settles a message of mining; others are none of its affair.
    pub(super) fn settle_work(
        &self,
        message: &Message,
        now: u64,
        outcome: &mut Outcome,
    ) -> Result<Result<(), Refusal>> {
        match message {
            Message::ClaimTask(message) => self.claim_task(message, now, outcome),
            Message::SubmitGradient(message) => self.submit_gradient(message, outcome),
            _ => Ok(Ok(())),
        }
    }

    fn claim_task(&self, message: &MsgClaimTask, now: u64, outcome: &mut Outcome) -> Result<Result<(), Refusal>> {
        let taken = |log: &str| Ok(Err(Refusal { code: code::TAKEN, log: log.to_owned() }));
        if message.pool_id != 0 {
            return taken("there is pool 0 only");
        }
        match self.claim_at(&message.miner, Some(message.chunk_id), now)? {
            Claimed::Task(task) => {
                self.put_blocks(&[task.block()])?;
                outcome.data = MsgClaimTaskResponse { success: true, tx_hash: outcome.hash.clone() }.encode_to_vec();
                Ok(Ok(()))
            }
            Claimed::Other => taken("this chunk is not available any more"),
            Claimed::Nothing => taken("the round has all the claims that it needs"),
        }
    }

    fn submit_gradient(&self, message: &MsgSubmitGradient, outcome: &mut Outcome) -> Result<Result<(), Refusal>> {
        let rejected = |log: String| Ok(Err(Refusal { code: code::REJECTED, log }));
        let Ok(root) = Cid::try_from(message.ipfs_hash.as_str()) else {
            return rejected(format!("ipfs_hash {:?} is no CID", message.ipfs_hash));
        };
        let Some(commitment) = commitment(&message.gradient_hash) else {
            return rejected("gradient_hash is not 64 hexadecimal digits".to_owned());
        };
        if message.token_count != CHUNK_TOKENS as u64 || message.model_version != self.genesis.job.model.to_string() {
            return rejected("token_count or model_version is not the job's".to_owned());
        }
        if let Some((round, artifact, payee)) = self.accepted_before(&message.miner, commitment)? {
            let balance = self.balance(&payee)?;
            if artifact == root {
                outcome.submission = Some(Submitted { artifact: root.to_string(), round, payee, balance });
                return Ok(Ok(()));
            }
        }
        let Some((task, _)) = self.held_task(&message.miner)? else {
            return rejected("the miner holds no claim: the round went on, or the claim expired".to_owned());
        };
        let fetch = |cid: &Cid| self.get_block(cid);
        let artifact = match Artifact::fetch(&task, &root, &fetch) {
            Ok(artifact) => artifact,
            Err(error) => return rejected(Mismatch::from(error).to_string()),
        };
        let receipt = Receipt::new(task, &artifact, Vec::new())?;
        if receipt.commitment() != commitment {
            return rejected(Mismatch::Commitment { claimed: commitment, found: receipt.commitment() }.to_string());
        }
        match self.submit(&receipt)? {
            Ok(acceptance) => {
                let (artifact, payee) = (root.to_string(), self.payee(&message.miner)?);
                let (round, balance) = (acceptance.round, acceptance.balance);
                outcome.submission = Some(Submitted { artifact, round, payee, balance });
                Ok(Ok(()))
            }
            Err(rejection) => rejected(rejection.to_string()),
        }
    }

    /// Who is paid for a miner's work.
    pub(crate) fn payee(&self, miner: &str) -> Result<String> {
        let payouts = self.read()?.open_table(PAYOUTS)?;
        Ok(payouts.get(miner)?.map_or_else(|| miner.to_owned(), |payout| payout.value().to_owned()))
    }

    /// The task that a miner holds, and its round.
    pub(crate) fn held_task(&self, miner: &str) -> Result<Option<(Task, u64)>> {
        let read = self.read()?;
        let ledger = Ledger::load(&read)?;
        let Some(position) = own_claim_in(&read.open_table(CLAIMS)?, miner)? else { return Ok(None) };
        let chunk = chunk_at(&read.open_table(CHUNKS)?, position)?;
        Ok(Some((self.genesis.task(&ledger, position, chunk, miner)?, ledger.round)))
    }

    /// Round, artifact and payee of an accepted submission.
    fn accepted_before(&self, miner: &str, commitment: Commitment) -> Result<Option<(u64, Cid, String)>> {
        let read = self.read()?;
        let Some(place) = place_of(&read.open_table(COMMITMENTS)?, commitment)? else { return Ok(None) };
        let accepted = read.open_table(ACCEPTED)?;
        let record = accepted.get(place)?.context("an accepted submission has no record")?;
        let record = Accepted::decode(record.value())?;
        let payee = self.payee(miner)?;
        Ok((record.miner == miner).then_some((place.0, record.artifact, payee)))
    }
}

fn commitment(hex: &str) -> Option<Commitment> {
    let digits = hex.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Commitment(bytes))
}
