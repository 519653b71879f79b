//! What the engine asks, and the ledger's answers.

use super::{
    restoring::{Restoring, Step},
    snapshots::Snapshots,
};
use crate::{
    node::{Added, Admission, MAX_BLOCK_BYTES, Node},
    server::now,
};
use anyhow::{Context, Result, bail, ensure};
use prost::bytes::Bytes;
use r3mes_wgpu::ledger::{ChainBlock, Event, Ledger, Refusal, Tx, TxOutcome};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::abci::{
        Event as AbciEvent, EventAttribute, ExecTxResult, Request, RequestApplySnapshotChunk, RequestFinalizeBlock,
        RequestInitChain, RequestOfferSnapshot, RequestPrepareProposal, RequestProcessProposal, RequestQuery,
        ResponseApplySnapshotChunk, ResponseCheckTx, ResponseCommit, ResponseEcho, ResponseExtendVote,
        ResponseFinalizeBlock, ResponseFlush, ResponseInfo, ResponseInitChain, ResponseListSnapshots,
        ResponseLoadSnapshotChunk, ResponseOfferSnapshot, ResponsePrepareProposal, ResponseProcessProposal,
        ResponseQuery, ResponseVerifyVoteExtension, request::Value as DisputedWord, response::Value,
        response_apply_snapshot_chunk::Result as Applied, response_offer_snapshot::Result as Offered,
        response_process_proposal::ProposalStatus, response_verify_vote_extension::VerifyStatus,
    },
};

/// Of the rules by which blocks are run.
const APP_VERSION: u64 = 1;
/// The first block's height.
const FIRST: i64 = 1;

/// The application behind the engine's connections.
pub(super) struct App {
    node: Arc<Node>,
    /// The ledger after what waits in the engine's mempool.
    admission: Mutex<Admission>,
    /// A block that ran and is not committed yet.
    ran: Mutex<Option<(Ledger, Added)>>,
    snapshots: Snapshots,
    restoring: Mutex<Option<Restoring>>,
}

impl App {
    pub(super) fn new(node: Arc<Node>, snapshot_blocks: u64) -> Self {
        let ledger = node.ledger();
        Self {
            admission: Mutex::new(Admission::new(&ledger)),
            ran: Mutex::default(),
            snapshots: Snapshots::new(snapshot_blocks, ledger),
            restoring: Mutex::default(),
            node,
        }
    }

    /// Answers a request; an error is one after which the engine must not go on.
    pub(super) fn answer(&self, request: Request) -> Result<Value> {
        Ok(match request.value.context("a request that this version of ABCI does not have")? {
            DisputedWord::Echo(asked) => Value::Echo(ResponseEcho { message: asked.message }),
            DisputedWord::Flush(_) => Value::Flush(ResponseFlush {}),
            DisputedWord::Info(_) => Value::Info(self.info()?),
            DisputedWord::InitChain(asked) => Value::InitChain(self.init_chain(&asked)?),
            DisputedWord::Query(asked) => Value::Query(self.query(&asked)?),
            DisputedWord::CheckTx(asked) => Value::CheckTx(self.check(&asked.tx)),
            DisputedWord::PrepareProposal(asked) => Value::PrepareProposal(self.prepare(asked)?),
            DisputedWord::ProcessProposal(asked) => Value::ProcessProposal(self.process(&asked)?),
            // nothing is said in votes
            DisputedWord::ExtendVote(_) => Value::ExtendVote(ResponseExtendVote::default()),
            DisputedWord::VerifyVoteExtension(_) => {
                Value::VerifyVoteExtension(ResponseVerifyVoteExtension { status: VerifyStatus::Accept.into() })
            }
            DisputedWord::FinalizeBlock(asked) => Value::FinalizeBlock(self.run(asked)?),
            DisputedWord::Commit(_) => Value::Commit(self.commit()?),
            DisputedWord::ListSnapshots(_) => {
                let snapshots = self.snapshots.list(self.node.ledger().state().scalars().height)?;
                Value::ListSnapshots(ResponseListSnapshots { snapshots })
            }
            DisputedWord::LoadSnapshotChunk(asked) => {
                // a peer that asks for what is not here gets nothing, and asks another
                let chunk = self.snapshots.chunk(asked.height, asked.format, asked.chunk).unwrap_or_default().into();
                Value::LoadSnapshotChunk(ResponseLoadSnapshotChunk { chunk })
            }
            DisputedWord::OfferSnapshot(asked) => Value::OfferSnapshot(self.offer(asked)),
            DisputedWord::ApplySnapshotChunk(asked) => Value::ApplySnapshotChunk(self.apply(asked)?),
        })
    }

    fn info(&self) -> Result<ResponseInfo> {
        let ledger = self.node.ledger();
        Ok(ResponseInfo {
            data: "r3mes-wgpu".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_version: APP_VERSION,
            last_block_height: i64::try_from(ledger.state().scalars().height)?,
            last_block_app_hash: ledger.root().to_vec().into(),
        })
    }

    fn init_chain(&self, asked: &RequestInitChain) -> Result<ResponseInitChain> {
        let (ledger, genesis) = (self.node.ledger(), self.node.genesis());
        let (given, expected) = (&asked.chain_id, &genesis.chain_id);
        ensure!(given == expected, "CometBFT's chain_id is {given}, the ledger's {expected}");
        ensure!(asked.initial_height == FIRST, "the chain begins at height {}, not {FIRST}", asked.initial_height);
        let height = ledger.state().scalars().height;
        ensure!(height == 0, "CometBFT begins a chain, but the ledger is at height {height}");
        Ok(ResponseInitChain { app_hash: ledger.root().to_vec().into(), ..Default::default() })
    }

    /// Whatever height is asked for, the last one answers, and says so.
    fn query(&self, asked: &RequestQuery) -> Result<ResponseQuery> {
        let ledger = self.node.ledger();
        let height = i64::try_from(ledger.state().scalars().height)?;
        Ok(match ledger.query(&asked.path, &asked.data) {
            Ok(value) => ResponseQuery { value: value.into(), height, ..Default::default() },
            Err(unanswered) => ResponseQuery {
                code: unanswered.code,
                log: unanswered.log,
                codespace: "sdk".to_owned(),
                height,
                ..Default::default()
            },
        })
    }

    fn check(&self, tx: &[u8]) -> ResponseCheckTx {
        match lock(&self.admission).admit(tx, self.node.min_fee(), now()) {
            Ok(()) => ResponseCheckTx::default(),
            Err(Refusal { code, log }) => {
                ResponseCheckTx { code, log, codespace: codespace(code), ..Default::default() }
            }
        }
    }

    /// Leaves out what can not stand in the block. What is left out for want of room comes later.
    fn prepare(&self, asked: RequestPrepareProposal) -> Result<ResponsePrepareProposal> {
        let room = usize::try_from(asked.max_tx_bytes)?;
        Ok(ResponsePrepareProposal { txs: fitting(&self.node.ledger(), seconds(asked.time)?, asked.txs, room) })
    }

    /// Takes a block that [`Self::prepare`] may have made: none is filled with what pays nothing.
    fn process(&self, asked: &RequestProcessProposal) -> Result<ResponseProcessProposal> {
        let fits = fitting(&self.node.ledger(), seconds(asked.time)?, asked.txs.clone(), usize::MAX);
        let status = if fits.len() == asked.txs.len() { ProposalStatus::Accept } else { ProposalStatus::Reject };
        Ok(ResponseProcessProposal { status: status.into() })
    }

    /// Runs a block in memory. It may be asked for again, after a crash of either side.
    fn run(&self, asked: RequestFinalizeBlock) -> Result<ResponseFinalizeBlock> {
        let ledger = self.node.ledger();
        let (height, next) = (u64::try_from(asked.height)?, ledger.state().scalars().height + 1);
        ensure!(height == next, "the engine's block is of height {height}, and the ledger's next of {next}");
        let Ok(hash) = asked.hash.as_ref().try_into() else { bail!("a block's hash of {} bytes", asked.hash.len()) };
        let txs = asked.txs.iter().map(|tx| Tx(tx.to_vec())).collect();
        let block = ChainBlock { height, time: seconds(asked.time)?, hash, txs };
        let (after, applied) = ledger.apply(&block);
        let answer = ResponseFinalizeBlock {
            events: applied.events.iter().map(told).collect(),
            tx_results: applied.outcomes.iter().map(result).collect(),
            app_hash: after.root().to_vec().into(),
            ..Default::default()
        };
        *lock(&self.ran) = Some((after, Added { block, applied }));
        Ok(answer)
    }

    /// Makes the block that ran durable.
    fn commit(&self) -> Result<ResponseCommit> {
        let (after, added) = lock(&self.ran).take().context("nothing ran that could be committed")?;
        // consensus does not wait for room in the block store
        if let Err(error) = self.node.keep_tasks(&after, &added.applied) {
            eprintln!("node: keeping tasks: {error:#}");
        }
        self.node.add(after.clone(), added).context("writing a block")?;
        self.snapshots.take(&after);
        *lock(&self.admission) = Admission::new(&after);
        Ok(ResponseCommit::default())
    }

    fn offer(&self, asked: RequestOfferSnapshot) -> ResponseOfferSnapshot {
        let begun = Restoring::begin(asked);
        let result = if begun.is_some() { Offered::Accept } else { Offered::Reject };
        *lock(&self.restoring) = begun;
        ResponseOfferSnapshot { result: result.into() }
    }

    fn apply(&self, asked: RequestApplySnapshotChunk) -> Result<ResponseApplySnapshotChunk> {
        let mut restoring = lock(&self.restoring);
        let begun = restoring.as_mut().context("a chunk of no snapshot")?;
        let answer = |result: Applied| ResponseApplySnapshotChunk { result: result.into(), ..Default::default() };
        Ok(match begun.add(asked.index, &asked.chunk, || self.node.genesis()) {
            Ok(Step::More) => answer(Applied::Accept),
            Ok(Step::Wrong) => ResponseApplySnapshotChunk {
                refetch_chunks: vec![asked.index],
                reject_senders: vec![asked.sender],
                ..answer(Applied::Retry)
            },
            Ok(Step::Whole(ledger)) => {
                *restoring = None;
                self.node.replace((*ledger).clone()).context("writing a snapshot")?;
                *lock(&self.admission) = Admission::new(&ledger);
                answer(Applied::Accept)
            }
            Err(error) => {
                *restoring = None;
                eprintln!("consensus: {error:#}");
                answer(Applied::RejectSnapshot)
            }
        })
    }
}

/// Those of the transactions that may stand in a block of a time, in their order, in `room` bytes of the block.
fn fitting(ledger: &Ledger, time: u64, txs: Vec<Bytes>, room: usize) -> Vec<Bytes> {
    let (mut admission, mut room) = (Admission::new(ledger), room.min(MAX_BLOCK_BYTES));
    let mut fits = |tx: &Bytes| {
        let bytes = prost::encoding::bytes::encoded_len(1, tx);
        let fits = bytes <= room && admission.admit(tx, 0, time).is_ok();
        room -= if fits { bytes } else { 0 };
        fits
    };
    txs.into_iter().filter(|tx| fits(tx)).collect()
}

/// Whole seconds since 1970.
fn seconds(time: Option<Timestamp>) -> Result<u64> {
    let time = time.context("a block without a time")?;
    u64::try_from(time.seconds).context("a block's time before 1970")
}

fn result(outcome: &TxOutcome) -> ExecTxResult {
    ExecTxResult {
        code: outcome.code,
        data: outcome.data().into(),
        log: outcome.log.clone(),
        events: outcome.events.iter().map(told).collect(),
        codespace: codespace(outcome.code),
        ..Default::default()
    }
}

fn told(event: &Event) -> AbciEvent {
    let (r#type, attributes) = event.attributes();
    let attributes = attributes.into_iter().map(|(key, value)| EventAttribute { key, value, index: true }).collect();
    AbciEvent { r#type, attributes }
}

fn codespace(code: u32) -> String {
    if code == 0 { String::new() } else { "remes".to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
