//! The ABCI application, which answers CometBFT's requests from the node's ledger.

use super::{
    restore::{ChunkOutcome, SnapshotRestore},
    snapshots::Snapshots,
};
use crate::{
    clock::unix_seconds,
    node::{AddedBlock, Admission, Node},
};
use anyhow::{Context, Result, bail, ensure};
use prost::bytes::Bytes;
use r3mes_wgpu::{
    ledger::{ChainBlock, ConsensusKey, CosmosEvent, Ledger, MAX_BLOCK_BYTES, Refusal, Tx, TxOutcome, is_free_duty},
    tx::{DecodedTx, code::codespace},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::abci::{
        Event as AbciEvent, EventAttribute, ExecTxResult, Request, RequestApplySnapshotChunk, RequestFinalizeBlock,
        RequestInitChain, RequestOfferSnapshot, RequestPrepareProposal, RequestProcessProposal, RequestQuery,
        ResponseApplySnapshotChunk, ResponseCheckTx, ResponseCommit, ResponseEcho, ResponseExtendVote,
        ResponseFinalizeBlock, ResponseFlush, ResponseInfo, ResponseInitChain, ResponseListSnapshots,
        ResponseLoadSnapshotChunk, ResponseOfferSnapshot, ResponsePrepareProposal, ResponseProcessProposal,
        ResponseQuery, ResponseVerifyVoteExtension, ValidatorUpdate, request::Value as RequestValue,
        response::Value as ResponseValue, response_apply_snapshot_chunk::Result as Applied,
        response_offer_snapshot::Result as Offered, response_process_proposal::ProposalStatus,
        response_verify_vote_extension::VerifyStatus,
    },
    v0_38::crypto::{PublicKey, public_key::Sum},
};
use tracing::{info, warn};

/// The version of the rules by which blocks are executed. CometBFT writes it into the header of each block.
const APP_VERSION: u64 = 1;
/// The height of the chain's first block.
const FIRST_HEIGHT: i64 = 1;

/// The ABCI application. All connections from CometBFT share it.
pub(super) struct AbciApp {
    node: Arc<Node>,
    /// A copy of the ledger in which all transactions in CometBFT's mempool have already paid their fees. New
    /// transactions are checked against this copy.
    admission: Mutex<Admission>,
    /// The last executed block and the ledger after it, or `None` if every executed block is committed.
    executed: Mutex<Option<(Ledger, AddedBlock)>>,
    snapshots: Snapshots,
    restoring: Mutex<Option<SnapshotRestore>>,
}

impl AbciApp {
    pub(super) fn new(node: Arc<Node>, snapshot_blocks: u64) -> Self {
        let ledger = node.ledger();
        Self {
            admission: Mutex::new(Admission::new(&ledger)),
            executed: Mutex::default(),
            snapshots: Snapshots::new(snapshot_blocks, ledger),
            restoring: Mutex::default(),
            node,
        }
    }

    /// Answers one request from CometBFT. If this function returns an error, the caller makes CometBFT exit.
    pub(super) fn answer(&self, request: Request) -> Result<ResponseValue> {
        Ok(match request.value.context("unknown ABCI request")? {
            RequestValue::Echo(request) => ResponseValue::Echo(ResponseEcho { message: request.message }),
            RequestValue::Flush(_) => ResponseValue::Flush(ResponseFlush {}),
            RequestValue::Info(_) => ResponseValue::Info(self.info()?),
            RequestValue::InitChain(request) => ResponseValue::InitChain(self.init_chain(&request)?),
            RequestValue::Query(request) => ResponseValue::Query(self.query(&request)?),
            RequestValue::CheckTx(request) => ResponseValue::CheckTx(self.check(&request.tx)),
            RequestValue::PrepareProposal(request) => ResponseValue::PrepareProposal(self.prepare(request)?),
            RequestValue::ProcessProposal(request) => ResponseValue::ProcessProposal(self.process(&request)?),
            // vote extensions are not used
            RequestValue::ExtendVote(_) => ResponseValue::ExtendVote(ResponseExtendVote::default()),
            RequestValue::VerifyVoteExtension(_) => {
                ResponseValue::VerifyVoteExtension(ResponseVerifyVoteExtension { status: VerifyStatus::Accept.into() })
            }
            RequestValue::FinalizeBlock(request) => ResponseValue::FinalizeBlock(self.execute(request)?),
            RequestValue::Commit(_) => ResponseValue::Commit(self.commit()?),
            RequestValue::ListSnapshots(_) => {
                let snapshots = self.snapshots.list(self.node.ledger().state().head().height)?;
                ResponseValue::ListSnapshots(ResponseListSnapshots { snapshots })
            }
            RequestValue::LoadSnapshotChunk(request) => {
                // CometBFT requests the chunk from another node if it receives an empty one
                let chunk =
                    self.snapshots.chunk(request.height, request.format, request.chunk).unwrap_or_default().into();
                ResponseValue::LoadSnapshotChunk(ResponseLoadSnapshotChunk { chunk })
            }
            RequestValue::OfferSnapshot(request) => ResponseValue::OfferSnapshot(self.offer(request)),
            RequestValue::ApplySnapshotChunk(request) => ResponseValue::ApplySnapshotChunk(self.apply(request)?),
        })
    }

    fn info(&self) -> Result<ResponseInfo> {
        let ledger = self.node.ledger();
        Ok(ResponseInfo {
            data: "r3mes-wgpu".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_version: APP_VERSION,
            last_block_height: i64::try_from(ledger.state().head().height)?,
            last_block_app_hash: ledger.root().to_vec().into(),
        })
    }

    fn init_chain(&self, request: &RequestInitChain) -> Result<ResponseInitChain> {
        let (ledger, genesis) = (self.node.ledger(), self.node.genesis());
        let (given, expected) = (&request.chain_id, &genesis.chain_id);
        ensure!(given == expected, "CometBFT's chain_id is {given}, but the genesis of the ledger has {expected}");
        ensure!(
            request.initial_height == FIRST_HEIGHT,
            "the chain starts at height {}, expected {FIRST_HEIGHT}",
            request.initial_height
        );
        let height = ledger.state().head().height;
        ensure!(height == 0, "CometBFT starts a new chain, but the ledger is at height {height}");
        // if the list is empty, CometBFT uses the validators of its own genesis
        let validators = ledger.voting_powers().map(|(key, power)| validator(key, power)).collect::<Result<_>>()?;
        Ok(ResponseInitChain { app_hash: ledger.root().to_vec().into(), validators, ..Default::default() })
    }

    /// Answers a query from the newest ledger, even if the request names an older height. The response states the
    /// height of the ledger that was used.
    fn query(&self, request: &RequestQuery) -> Result<ResponseQuery> {
        let ledger = self.node.ledger();
        let height = i64::try_from(ledger.state().head().height)?;
        Ok(match ledger.query(&request.path, &request.data, self.node.min_fee()) {
            Ok(value) => ResponseQuery { value: value.into(), height, ..Default::default() },
            Err(refusal) => ResponseQuery {
                code: refusal.code,
                log: refusal.log,
                codespace: codespace(refusal.code).to_owned(),
                height,
                ..Default::default()
            },
        })
    }

    fn check(&self, tx: &[u8]) -> ResponseCheckTx {
        match self.admit(tx, unix_seconds()) {
            Ok(()) => ResponseCheckTx::default(),
            Err(Refusal { code, log }) => {
                ResponseCheckTx { code, log, codespace: codespace(code).to_owned(), ..Default::default() }
            }
        }
    }

    /// Admits a transaction that arrives at the time `now`, in seconds since 1970, to CometBFT's mempool. Checking its
    /// signatures takes long, so no lock is held during this check.
    fn admit(&self, tx: &[u8], now: u64) -> Result<(), Refusal> {
        let admission = lock(&self.admission).clone();
        let signed = admission.check(tx, self.node.min_fee(), now)?.verify(admission.chain_id())?;
        lock(&self.admission).add(&signed, now).map(drop)
    }

    /// Selects the transactions of a new block: those that are valid and fit into the block. The
    /// [free duties](is_free_duty) come first: messages that the ledger expects from verifiers, proposers and parties
    /// of disputes, and that cost no fee. The transactions that are not selected stay in CometBFT's mempool.
    fn prepare(&self, request: RequestPrepareProposal) -> Result<ResponsePrepareProposal> {
        let (ledger, max_bytes) = (self.node.ledger(), usize::try_from(request.max_tx_bytes)?);
        let txs = duties_first(request.txs);
        Ok(ResponsePrepareProposal { txs: fitting(&ledger, seconds(request.time)?, txs, max_bytes) })
    }

    /// Accepts a proposed block only if all its transactions are valid in their order and fit into a block. Without
    /// this check, the node that proposes a block could fill it with invalid transactions, which pay no fee.
    fn process(&self, request: &RequestProcessProposal) -> Result<ResponseProcessProposal> {
        let fits = fitting(&self.node.ledger(), seconds(request.time)?, request.txs.clone(), usize::MAX);
        let status = if fits.len() == request.txs.len() { ProposalStatus::Accept } else { ProposalStatus::Reject };
        Ok(ResponseProcessProposal { status: status.into() })
    }

    /// Executes a block in memory. If CometBFT sends the same block again, as it may after a crash of CometBFT or of
    /// this process, executes it again.
    fn execute(&self, request: RequestFinalizeBlock) -> Result<ResponseFinalizeBlock> {
        let ledger = self.node.ledger();
        let (height, next) = (u64::try_from(request.height)?, ledger.state().head().height + 1);
        ensure!(height == next, "CometBFT's block has height {height}, but the ledger expects height {next}");
        let Ok(hash) = request.hash.as_ref().try_into() else {
            bail!("the block hash has {} bytes, but must have 32", request.hash.len())
        };
        let txs = request.txs.iter().map(|tx| Tx(tx.to_vec())).collect();
        let block = ChainBlock { height, time: seconds(request.time)?, hash, txs };
        let (after, applied) = ledger.apply(&block);
        let powers = after.voting_power_changes(&ledger);
        let response = ResponseFinalizeBlock {
            validator_updates: powers.iter().map(|(key, power)| validator(key, *power)).collect::<Result<_>>()?,
            events: applied.events.iter().map(CosmosEvent::from).map(abci_event).collect(),
            tx_results: applied.outcomes.iter().zip(&block.txs).map(|(outcome, tx)| result(outcome, &tx.0)).collect(),
            app_hash: after.root().to_vec().into(),
            ..Default::default()
        };
        *lock(&self.executed) = Some((after, AddedBlock { block, applied }));
        Ok(response)
    }

    /// Writes the executed block to disk and makes the ledger after it the current one.
    fn commit(&self) -> Result<ResponseCommit> {
        let (after, added) = lock(&self.executed).take().context("commit requested, but no block was executed")?;
        // an error here, such as a full block store, must not stop consensus
        if let Err(error) = self.node.store_tasks(&after, &added.applied) {
            warn!(error = %format_args!("{error:#}"), "cannot store the tasks claimed in a block");
        }
        self.node.add(after.clone(), added).context("writing a block")?;
        self.snapshots.take(&after);
        *lock(&self.admission) = Admission::new(&after);
        Ok(ResponseCommit::default())
    }

    fn offer(&self, request: RequestOfferSnapshot) -> ResponseOfferSnapshot {
        let restore = SnapshotRestore::begin(request);
        let result = if restore.is_some() { Offered::Accept } else { Offered::Reject };
        *lock(&self.restoring) = restore;
        ResponseOfferSnapshot { result: result.into() }
    }

    fn apply(&self, request: RequestApplySnapshotChunk) -> Result<ResponseApplySnapshotChunk> {
        let mut restoring = lock(&self.restoring);
        let restore = restoring.as_mut().context("received a snapshot chunk, but no snapshot was accepted")?;
        let response = |result: Applied| ResponseApplySnapshotChunk { result: result.into(), ..Default::default() };
        Ok(match restore.add(request.index, &request.chunk, || self.node.genesis()) {
            Ok(ChunkOutcome::More) => response(Applied::Accept),
            Ok(ChunkOutcome::Mismatch) => ResponseApplySnapshotChunk {
                refetch_chunks: vec![request.index],
                reject_senders: vec![request.sender],
                ..response(Applied::Retry)
            },
            Ok(ChunkOutcome::Complete(ledger)) => {
                *restoring = None;
                self.node.replace((*ledger).clone()).context("writing a snapshot")?;
                *lock(&self.admission) = Admission::new(&ledger);
                info!(height = ledger.state().head().height, "ledger restored from a snapshot");
                response(Applied::Accept)
            }
            Err(error) => {
                *restoring = None;
                warn!(error = %format_args!("{error:#}"), "snapshot rejected");
                response(Applied::RejectSnapshot)
            }
        })
    }
}

/// Moves the [free duties](is_free_duty) among `txs` to the front: messages that the ledger expects from verifiers,
/// proposers and parties of disputes, and that cost no fee. The transactions of a signer stay in order: a free duty is
/// therefore not moved if an earlier transaction of its signer is not a free duty. Transactions that cannot be decoded
/// are removed.
fn duties_first(txs: Vec<Bytes>) -> Vec<Bytes> {
    let mut others_of = BTreeSet::new();
    let (mut duties, mut others) = (Vec::new(), Vec::new());
    for tx in txs {
        let Ok(decoded) = DecodedTx::decode(&tx) else { continue };
        let content = decoded.content();
        if is_free_duty(content) && !others_of.contains(&content.signer) {
            duties.push(tx);
        } else {
            others_of.insert(content.signer.clone());
            others.push(tx);
        }
    }
    duties.append(&mut others);
    duties
}

/// Returns the transactions in `txs` that a block at the time `time` can contain, in the same order. Each returned
/// transaction is valid after the earlier returned transactions have been executed. The total size of the returned
/// transactions is at most `max_bytes`.
fn fitting(ledger: &Ledger, time: u64, txs: Vec<Bytes>, max_bytes: usize) -> Vec<Bytes> {
    let (mut admission, mut left) = (Admission::new(ledger), max_bytes.min(MAX_BLOCK_BYTES));
    let mut fits = |tx: &Bytes| {
        let bytes = prost::encoding::bytes::encoded_len(1, tx);
        let fits = bytes <= left && admission.admit(tx, time).is_ok();
        left -= if fits { bytes } else { 0 };
        fits
    };
    txs.into_iter().filter(|tx| fits(tx)).collect()
}

/// Returns a block's time in whole seconds since 1970.
fn seconds(time: Option<Timestamp>) -> Result<u64> {
    let time = time.context("the block has no time")?;
    u64::try_from(time.seconds).context("the time of the block is before 1970")
}

/// Returns a voting power as CometBFT expects it.
fn validator(key: &ConsensusKey, power: u64) -> Result<ValidatorUpdate> {
    let key = PublicKey { sum: Some(Sum::Ed25519(key.to_vec())) };
    Ok(ValidatorUpdate { pub_key: Some(key), power: i64::try_from(power)? })
}

fn result(outcome: &TxOutcome, tx: &[u8]) -> ExecTxResult {
    ExecTxResult {
        code: outcome.code,
        data: outcome.data().into(),
        log: outcome.log.clone(),
        events: outcome.cosmos_events(tx).into_iter().map(abci_event).collect(),
        codespace: codespace(outcome.code).to_owned(),
        ..Default::default()
    }
}

fn abci_event(CosmosEvent { kind: r#type, attributes }: CosmosEvent) -> AbciEvent {
    let attributes = attributes.into_iter().map(|(key, value)| EventAttribute { key, value, index: true }).collect();
    AbciEvent { r#type, attributes }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
