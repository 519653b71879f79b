//! Transactions: signed messages become claims, submissions, payouts and grants, each transaction once and in its
//! account's order.
//!
//! A transaction is a block of its own. Work in it is settled first, and its record is written after; a crash between
//! the two is harmless, because settling the same work again changes nothing. All other messages, the fee and the record
//! are one change: they happen together, or only the fee and the record do.

use super::tables::*;
use super::{Engine, Node, fees, grants};
use anyhow::Result;
use r3mes_wgpu::chain::{ChainError, Message, Signed, code, tx_hash};
use r3mes_wgpu::store::Codec;
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};

/// Transactions whose records are kept.
const RECORDS: u64 = 100_000;
const FORMAT: &str = "r3mes/transaction/1";

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

impl Refusal {
    pub(super) fn new(code: u32, log: impl Into<String>) -> Self {
        Self { code, log: log.into() }
    }
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        let code = match error {
            ChainError::Signature(_)
            | ChainError::Submission(_)
            | ChainError::Signer { .. }
            | ChainError::Ungrantable(_) => code::UNAUTHORIZED,
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

    /// Whether a transaction may get a block at time `now`.
    pub(crate) fn check(&self, tx: &[u8], chain_id: &str, now: u64) -> Result<Result<Signed, Refusal>> {
        let signed = match Signed::open(tx, chain_id) {
            Ok(signed) => signed,
            Err(error) => return Ok(Err(error.into())),
        };
        let expected = self.sequence(&signed.signer)?;
        if signed.sequence != expected {
            let log = format!("account sequence mismatch, expected {expected}, got {}", signed.sequence);
            return Ok(Err(Refusal::new(code::WRONG_SEQUENCE, log)));
        }
        let mut kinds = signed.messages.iter().map(|message| message.work().is_empty());
        if kinds.next().is_some_and(|first| kinds.any(|other| other != first)) {
            let log = "claims and submissions stand in transactions of their own";
            return Ok(Err(Refusal::new(code::MALFORMED, log)));
        }
        let read = self.read()?;
        if let Err(refusal) = grants::permit(&read.open_table(GRANTS)?, &read.open_table(SESSIONS)?, &signed, now)? {
            return Ok(Err(refusal));
        }
        let bill = fees::bill(&read.open_table(BALANCES)?, &read.open_table(ALLOWANCES)?, &signed, now)?;
        if let Err(refusal) = bill {
            return Ok(Err(refusal));
        }
        Ok(Ok(signed))
    }

    /// Settles a transaction and records it. One that was recorded before answers the same.
    pub(crate) fn deliver(&self, tx: &[u8], chain_id: &str, now: u64) -> Result<Result<Outcome, Refusal>> {
        let hash = tx_hash(tx);
        if let Some(outcome) = self.outcome(&hash)? {
            return Ok(Ok(outcome));
        }
        let signed = match self.check(tx, chain_id, now)? {
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
        for message in signed.messages.iter().flat_map(Message::work) {
            if let Err(Refusal { code, log }) = self.settle_work(message, now, &mut outcome)? {
                (outcome.code, outcome.log) = (code, log);
                break;
            }
        }
        self.record(outcome, &signed, now)
    }

    fn record(&self, mut outcome: Outcome, signed: &Signed, now: u64) -> Result<Result<Outcome, Refusal>> {
        let write = self.write()?;
        if let Err(refusal) = fees::charge(&write, signed, now)? {
            return Ok(Err(refusal));
        }
        if outcome.code == 0
            && let Err(Refusal { code, log }) = grants::apply(&write, signed, now)?
        {
            write.abort()?;
            (outcome.code, outcome.log) = (code, log);
            return self.record(outcome, signed, now);
        }
        outcome.note(&write)?;
        write.open_table(ACCOUNTS)?.insert(outcome.signer.as_str(), signed.sequence + 1)?;
        write.commit()?;
        Ok(Ok(outcome))
    }
}

impl Outcome {
    /// Takes the next block.
    fn note(&mut self, write: &WriteTransaction) -> Result<()> {
        let (mut heights, mut records) = (write.open_table(TRANSACTION_HEIGHTS)?, write.open_table(TRANSACTIONS)?);
        self.height = records.last()?.map_or(1, |(height, _)| height.value() + 1);
        heights.insert(self.hash.as_str(), self.height)?;
        records.insert(self.height, self.encode().as_slice())?;
        while records.len()? > RECORDS {
            if let Some((_, record)) = records.pop_first()? {
                heights.remove(Self::decode(record.value())?.hash.as_str())?;
            }
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        r3mes_wgpu::store::dag_cbor::encode(FORMAT, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(r3mes_wgpu::store::dag_cbor::decode(FORMAT, bytes)?)
    }
}

/// What a block that somebody puts may be.
pub(crate) fn codec(name: &str) -> Option<Codec> {
    [Codec::Raw, Codec::DagCbor].into_iter().find(|codec| codec.name() == name)
}
