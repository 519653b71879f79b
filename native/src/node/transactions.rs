//! Transactions: signed messages become claims, submissions and payouts, each transaction once and in its account's order.
//!
//! A transaction is a block of its own. Its messages are settled first and its record is written after; a crash
//! between the two is harmless, because settling the same message again changes nothing.

use super::claims::{Claimed, chunk_at, own_claim_in};
use super::submission::place_of;
use super::tables::*;
use super::{Engine, Node};
use anyhow::{Context, Result};
use prost::Message as _;
use r3mes_wgpu::chain::{
    ChainError, Message, MsgClaimTask, MsgClaimTaskResponse, MsgSubmitGradient, Signed, check_address, tx_hash,
};
use r3mes_wgpu::store::{Cid, Codec};
use r3mes_wgpu::work::{Artifact, CHUNK_TOKENS, Commitment, Mismatch, Receipt, Task};
use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

/// Transactions whose records are kept.
const RECORDS: u64 = 100_000;
const FORMAT: &str = "r3mes/transaction/1";

/// Codes of failures; those below 1000 are the Cosmos SDK's.
pub(crate) mod code {
    pub(crate) const MALFORMED: u32 = 2;
    pub(crate) const UNAUTHORIZED: u32 = 4;
    pub(crate) const MEMPOOL_FULL: u32 = 20;
    pub(crate) const WRONG_SEQUENCE: u32 = 32;
    pub(crate) const TAKEN: u32 = 1101;
    pub(crate) const REJECTED: u32 = 1102;
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Its name.
    pub(crate) hash: String,
    /// Its block.
    pub(crate) height: u64,
    /// 0, or why it failed.
    pub(crate) code: u32,
    /// The reason, for people.
    pub(crate) log: String,
    /// Who signed.
    pub(crate) signer: String,
    /// What an accepted submission brought.
    pub(crate) submission: Option<Submitted>,
    /// The answer to its message, protobuf.
    #[serde(with = "serde_bytes")]
    pub(crate) data: Vec<u8>,
}

/// An accepted submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Submitted {
    pub(crate) artifact: String,
    pub(crate) round: u64,
    pub(crate) payee: String,
    pub(crate) balance: u64,
}

/// A transaction that is refused before it gets a block: code and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) log: String,
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        let code = match error {
            ChainError::Signature(_) | ChainError::Signer { .. } => code::UNAUTHORIZED,
            _ => code::MALFORMED,
        };
        Self { code, log: error.to_string() }
    }
}

impl<E: Engine> Node<E> {
    /// Transactions that `address` has sent.
    pub(crate) fn sequence(&self, address: &str) -> Result<u64> {
        Ok(self.read()?.open_table(ACCOUNTS)?.get(address)?.map_or(0, |sequence| sequence.value()))
    }

    /// What became of a transaction; `None` while it has no block, and long after.
    pub(crate) fn outcome(&self, hash: &str) -> Result<Option<Outcome>> {
        let read = self.read()?;
        let Some(height) = read.open_table(TRANSACTION_HEIGHTS)?.get(hash)?.map(|height| height.value()) else {
            return Ok(None);
        };
        let record = read.open_table(TRANSACTIONS)?.get(height)?.map(|record| Outcome::decode(record.value()));
        record.transpose()
    }

    /// Blocks made.
    pub(crate) fn height(&self) -> Result<u64> {
        let read = self.read()?;
        Ok(read.open_table(TRANSACTIONS)?.last()?.map_or(0, |(height, _)| height.value()))
    }

    /// Whether a transaction may get a block now.
    pub(crate) fn check(&self, tx: &[u8], chain_id: &str) -> Result<Result<Signed, Refusal>> {
        let signed = match Signed::open(tx, chain_id) {
            Ok(signed) => signed,
            Err(error) => return Ok(Err(error.into())),
        };
        let expected = self.sequence(&signed.signer)?;
        if signed.sequence != expected {
            let log = format!("account sequence mismatch, expected {expected}, got {}", signed.sequence);
            return Ok(Err(Refusal { code: code::WRONG_SEQUENCE, log }));
        }
        Ok(Ok(signed))
    }

    /// Settles a transaction and records it. One that was recorded before answers the same.
    pub(crate) fn deliver(&self, tx: &[u8], chain_id: &str, now: u64) -> Result<Result<Outcome, Refusal>> {
        let hash = tx_hash(tx);
        if let Some(outcome) = self.outcome(&hash)? {
            return Ok(Ok(outcome));
        }
        let signed = match self.check(tx, chain_id)? {
            Ok(signed) => signed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut outcome = Outcome {
            hash,
            height: 0,
            code: 0,
            log: String::new(),
            signer: signed.signer.clone(),
            submission: None,
            data: Vec::new(),
        };
        for message in &signed.messages {
            let settled = match message {
                Message::ClaimTask(message) => self.claim_task(message, now, &mut outcome)?,
                Message::SubmitGradient(message) => self.submit_gradient(message, &mut outcome)?,
                Message::SetPayout(message) => self.set_payout(&message.miner, &message.payout)?,
            };
            if let Err(Refusal { code, log }) = settled {
                (outcome.code, outcome.log) = (code, log);
                break;
            }
        }
        self.record(outcome, signed.sequence + 1).map(Ok)
    }

    fn record(&self, mut outcome: Outcome, sequence: u64) -> Result<Outcome> {
        let write = self.write()?;
        {
            let (mut heights, mut records) = (write.open_table(TRANSACTION_HEIGHTS)?, write.open_table(TRANSACTIONS)?);
            outcome.height = records.last()?.map_or(1, |(height, _)| height.value() + 1);
            heights.insert(outcome.hash.as_str(), outcome.height)?;
            records.insert(outcome.height, outcome.encode().as_slice())?;
            while records.len()? > RECORDS {
                if let Some((_, record)) = records.pop_first()? {
                    heights.remove(Outcome::decode(record.value())?.hash.as_str())?;
                }
            }
            write.open_table(ACCOUNTS)?.insert(outcome.signer.as_str(), sequence)?;
        }
        write.commit()?;
        Ok(outcome)
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

    fn set_payout(&self, miner: &str, payout: &str) -> Result<Result<(), Refusal>> {
        if let Err(error) = check_address(payout) {
            return Ok(Err(error.into()));
        }
        let write = self.write()?;
        write.open_table(PAYOUTS)?.insert(miner, payout)?;
        write.commit()?;
        Ok(Ok(()))
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

impl Outcome {
    fn encode(&self) -> Vec<u8> {
        r3mes_wgpu::store::dag_cbor::encode(FORMAT, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(r3mes_wgpu::store::dag_cbor::decode(FORMAT, bytes)?)
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

/// What a block that somebody puts may be.
pub(crate) fn codec(name: &str) -> Option<Codec> {
    [Codec::Raw, Codec::DagCbor].into_iter().find(|codec| match codec {
        Codec::Raw => name == "raw",
        Codec::DagCbor => name == "dag-cbor",
    })
}
