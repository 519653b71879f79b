//! Transactions: signed messages, each transaction once and in its account's order.
//!
//! A transaction's messages happen all together or not at all; its fee is paid either way.

use super::{Event, State, aggregation, claims, coins, disputes, fees, grants, nodes, submissions, verification};
use crate::tx::{ChainError, Message, Signed, code, tx_hash};
use cosmrs::{
    Any,
    proto::cosmos::{authz::v1beta1::MsgExecResponse, base::abci::v1beta1::TxMsgData},
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxOutcome {
    /// Its name.
    pub hash: String,
    /// 0, or why it failed.
    pub code: u32,
    /// The reason, for people.
    pub log: String,
    /// Who signed; nobody, where that is not known.
    pub signer: String,
    /// The answers to its messages, protobuf: type URL and value.
    pub answers: Vec<(String, serde_bytes::ByteBuf)>,
    /// What happened.
    pub events: Vec<Event>,
}

impl TxOutcome {
    /// The answers as Cosmos chains give them: `TxMsgData`.
    pub fn data(&self) -> Vec<u8> {
        let answer =
            |(url, value): &(String, serde_bytes::ByteBuf)| Any { type_url: url.clone(), value: value.to_vec() };
        let msg_responses = self.answers.iter().map(answer).collect();
        TxMsgData { msg_responses, ..Default::default() }.encode_to_vec()
    }
}

/// Why something is not done: code and reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {code}: {log}")]
pub struct Refusal {
    /// One of [`code`].
    pub code: u32,
    /// For people.
    pub log: String,
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

/// What a message's handler is given besides the state.
pub(super) struct Context<'a> {
    /// Of the transaction.
    pub(super) hash: &'a str,
    pub(super) events: Vec<Event>,
}

/// Checks a transaction against the state and takes its fee and its sequence.
pub(super) fn admit(state: &mut State, tx: &[u8]) -> Result<Signed, Refusal> {
    let signed = Signed::open(tx, &state.genesis.chain_id)?;
    let expected = state.account(&signed.signer).sequence;
    if signed.sequence != expected {
        let log = format!("account sequence mismatch, expected {expected}, got {}", signed.sequence);
        return Err(Refusal::new(code::WRONG_SEQUENCE, log));
    }
    grants::permit(state, &signed)?;
    fees::charge(state, &signed)?;
    state.account_mut(&signed.signer).sequence += 1;
    Ok(signed)
}

/// Runs a transaction.
pub(super) fn deliver(state: &mut State, tx: &[u8]) -> TxOutcome {
    let hash = tx_hash(tx);
    let refused = |hash, signer, Refusal { code, log }| TxOutcome {
        hash,
        code,
        log,
        signer,
        answers: Vec::new(),
        events: Vec::new(),
    };
    let mut admitted = state.clone();
    let signed = match admit(&mut admitted, tx) {
        Ok(signed) => signed,
        Err(refusal) => return refused(hash, String::new(), refusal),
    };
    *state = admitted;
    let mut after = state.clone();
    let mut context = Context { hash: &hash, events: Vec::new() };
    let answers = signed.messages.iter().map(|message| {
        let answer = run(&mut after, message, &signed, &mut context)?;
        Ok((format!("{}Response", message.to_any().type_url), answer.into()))
    });
    let answers = answers.collect::<Result<_, Refusal>>();
    let events = context.events;
    match answers {
        Ok(answers) => {
            *state = after;
            TxOutcome { hash, code: 0, log: String::new(), signer: signed.signer, answers, events }
        }
        Err(refusal) => refused(hash, signed.signer, refusal),
    }
}

/// Runs a message; returns the answer to it, protobuf.
fn run(state: &mut State, message: &Message, signed: &Signed, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    match message {
        Message::ClaimTask(message) => return claims::claim(state, message, context),
        Message::SubmitGradient(message) => return submissions::submit(state, message, context),
        Message::CompleteTask(message) => return submissions::complete(state, message, context),
        Message::RegisterNode(message) => return nodes::register(state, message),
        Message::CommitAggregation(message) => return aggregation::commit(state, message),
        Message::OpenDispute(message) => return disputes::open(state, message, context),
        Message::Appeal(message) => return disputes::appeal(state, message, context),
        Message::AnswerDispute(message) => return disputes::answer(state, message),
        Message::Exec(_, messages) => {
            let results = messages.iter().map(|message| run(state, message, signed, context));
            return Ok(MsgExecResponse { results: results.collect::<Result<_, _>>()? }.encode_to_vec());
        }
        Message::MoveDispute(message) => disputes::step(state, message),
        Message::Withdraw(message) => submissions::withdraw(state, message, context),
        Message::AnswerTrap(message) => submissions::answer_trap(message),
        Message::UnregisterNode(message) => nodes::unregister(state, message),
        Message::CommitAttestation(message) => verification::commit(state, message),
        Message::Attest(message) => verification::reveal(state, message),
        Message::Arbitrate(message) => verification::vote(state, message),
        Message::RevealAggregation(message) => aggregation::reveal(state, message),
        Message::SetPayout(message) => coins::set_payout(state, message),
        Message::Send(transfer) => coins::transfer(state, transfer),
        Message::Grant(_)
        | Message::Revoke(..)
        | Message::GrantAllowance(_)
        | Message::RevokeAllowance(_)
        | Message::OpenSession(_)
        | Message::CloseSession(_) => grants::apply(state, message, signed),
    }
    .map(|()| Vec::new())
}
