//! The tables of the ledger, and the two records that are more than a number.

use anyhow::{Context, Result};
use r3mes_wgpu::store::{Cid, dag_cbor};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

/// `genesis` and `ledger`, in DAG-CBOR.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// CID → bytes.
pub(super) const BLOCKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blocks");
/// CID → how many kept things name it.
pub(super) const PINS: TableDefinition<&[u8], u64> = TableDefinition::new("pins");
/// CID of a block that nothing pins → the round in which it came.
pub(super) const LOOSE: TableDefinition<&[u8], u64> = TableDefinition::new("loose");
/// Chunk number → CID.
pub(super) const CHUNKS: TableDefinition<u64, &[u8]> = TableDefinition::new("chunks");
/// Positions that were handed out and came back unfinished.
pub(super) const OPEN: TableDefinition<u64, ()> = TableDefinition::new("open");
/// Position → (miner, expiry); all of the present round.
pub(super) const CLAIMS: TableDefinition<u64, (&str, u64)> = TableDefinition::new("claims");
/// (round, position) → [`Accepted`].
pub(super) const ACCEPTED: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("accepted");
/// Commitment → (round, position) of its acceptance.
pub(super) const COMMITMENTS: TableDefinition<&[u8], (u64, u64)> = TableDefinition::new("commitments");
/// Round → CID of the adapter that it started from.
pub(super) const ROUNDS: TableDefinition<u64, &[u8]> = TableDefinition::new("rounds");
/// Address → transactions sent.
pub(super) const ACCOUNTS: TableDefinition<&str, u64> = TableDefinition::new("accounts");
/// Miner → who is paid for it, where that is another.
pub(super) const PAYOUTS: TableDefinition<&str, &str> = TableDefinition::new("payouts");
/// Height → what its transaction came to.
pub(super) const TRANSACTIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("transactions");
/// Hash of a transaction → its height.
pub(super) const TRANSACTION_HEIGHTS: TableDefinition<&str, u64> = TableDefinition::new("transaction heights");
/// Who is paid → micro-units.
pub(super) const BALANCES: TableDefinition<&str, u64> = TableDefinition::new("balances");
/// (granter, grantee, type URL of a message) → expiry.
pub(super) const GRANTS: TableDefinition<(&str, &str, &str), u64> = TableDefinition::new("grants");
/// (granter, grantee) → (micro-units left, expiry).
pub(super) const ALLOWANCES: TableDefinition<(&str, &str), (u64, u64)> = TableDefinition::new("allowances");
/// (granter, grantee) → openings and revocations between them.
pub(super) const SESSIONS: TableDefinition<(&str, &str), u64> = TableDefinition::new("sessions");
/// Fees collected, in micro-units.
pub(super) const FEES: TableDefinition<(), u64> = TableDefinition::new("fees");

const LEDGER_FORMAT: &str = "r3mes/ledger/1";
const ACCEPTED_FORMAT: &str = "r3mes/accepted/1";

/// The ledger's scalars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Rounds closed.
    pub(super) round: u64,
    /// Adapter root of this round.
    pub(super) adapter: Cid,
    /// The next position never handed out.
    pub(super) cursor: u64,
    /// Accepted in this round.
    pub(super) accepted_in_round: u32,
    /// Accepted ever.
    pub(super) accepted_total: u64,
    /// Bytes of all loose blocks.
    pub(super) loose_bytes: u64,
}

impl Ledger {
    pub(super) fn load(read: &ReadTransaction) -> Result<Self> {
        Self::decode(&read.open_table(META)?)
    }

    pub(super) fn load_for_write(write: &WriteTransaction) -> Result<Self> {
        Self::decode(&write.open_table(META)?)
    }

    fn decode(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Self> {
        let record = meta.get("ledger")?.context("the ledger's record is missing")?;
        Ok(dag_cbor::decode(LEDGER_FORMAT, record.value())?)
    }

    pub(super) fn store(&self, write: &WriteTransaction) -> Result<()> {
        write.open_table(META)?.insert("ledger", dag_cbor::encode(LEDGER_FORMAT, self).as_slice())?;
        Ok(())
    }
}

/// One accepted submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) miner: String,
    pub(super) artifact: Cid,
    #[serde(with = "serde_bytes")]
    pub(super) commitment: [u8; 32],
}

impl Accepted {
    pub(super) fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(ACCEPTED_FORMAT, self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(dag_cbor::decode(ACCEPTED_FORMAT, bytes)?)
    }
}
