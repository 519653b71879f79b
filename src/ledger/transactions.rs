//! Executes transactions. Either all messages of a transaction take effect, or none of them does. The fee is paid in
//! both cases.

use super::{
    Event, State, aggregation, beacon, claims, coins,
    context::{Context, Refusal},
    disputes, fees, grants, nodes, submissions, verification, voting_power,
};
use crate::tx::{DecodedTx, Message, Signed, code, tx_hash};
use cosmrs::{
    Any,
    proto::cosmos::{authz::v1beta1::MsgExecResponse, base::abci::v1beta1::TxMsgData},
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

/// The outcome of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxOutcome {
    /// SHA-256 hash of the transaction's bytes, in upper-case hexadecimal.
    pub hash: String,
    /// 0 if the transaction succeeded, otherwise the code of the error.
    pub code: u32,
    /// Reason for the failure, in words; empty if the transaction succeeded.
    pub log: String,
    /// Address of the account that signed the transaction; empty if the transaction could not be admitted.
    pub signer: String,
    /// Responses to the messages of the transaction, in the same order, each as (type URL, protobuf bytes); empty if
    /// the transaction failed.
    pub answers: Vec<Answer>,
    /// Events that the messages of the transaction caused; empty if the transaction failed.
    pub events: Vec<Event>,
}

impl TxOutcome {
    /// Returns the responses in the form in which Cosmos chains report them, an encoded `TxMsgData`.
    pub fn data(&self) -> Vec<u8> {
        let answer =
            |(url, value): &(String, serde_bytes::ByteBuf)| Any { type_url: url.clone(), value: value.to_vec() };
        let msg_responses = self.answers.iter().map(answer).collect();
        TxMsgData { msg_responses, ..Default::default() }.encode_to_vec()
    }
}

impl From<Refusal> for TxOutcome {
    /// Returns the outcome of a transaction that was not admitted.
    fn from(Refusal { code, log }: Refusal) -> Self {
        Self { hash: String::new(), code, log, signer: String::new(), answers: Vec::new(), events: Vec::new() }
    }
}

/// Admits a transaction to the next block: checks its signatures, its sequence number, its grants and its fee, takes
/// the fee, and increments the sequence number of the signer's account. If the transaction pays no fee, also checks
/// that its messages succeed. If the transaction is refused, `state` may have changed.
pub(super) fn admit(state: &mut State, tx: &[u8]) -> Result<Signed, Refusal> {
    let decoded = DecodedTx::decode(tx)?;
    precheck(&mut state.clone(), decoded.content())?;
    let signed = decoded.verify(&state.genesis.chain_id)?;
    reserve(state, &signed)?;
    Ok(signed)
}

/// Admits a transaction to the next block, and takes its fee, but does not check its signatures. If the transaction
/// pays no fee, also executes its messages, and refuses the transaction unless they succeed. Without this condition,
/// anybody could fill blocks with failing transactions at no cost. If the transaction is refused, `state` may have
/// changed.
pub(super) fn reserve(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let is_free = fees::is_free(signed);
    precheck(state, signed)?;
    if is_free {
        execute_all(state, signed, "")?;
    }
    Ok(())
}

/// Checks the timeout height of a transaction, its sequence number, the grants that it needs, and whether its fee is
/// high enough. Does not check its signatures, nor whether its messages succeed. Then takes the fee, and increments the
/// sequence number of the signer's account. If the transaction is refused, the caller must discard `state`, which may
/// have changed.
///
/// This function runs before the signatures are checked, because that check takes much longer, and a transaction that
/// is refused pays no fee for it.
pub(super) fn precheck(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    check_permission(state, signed)?;
    fees::check_minimum(state, signed)?;
    pay(state, signed)
}

/// Checks the timeout height of a transaction, its sequence number and the grants that it needs.
fn check_permission(state: &State, signed: &Signed) -> Result<(), Refusal> {
    let (height, timeout) = (state.head().height, signed.timeout_height);
    if timeout > 0 && height > timeout {
        let log = format!("the transaction is valid until block {timeout}, but this is block {height}");
        return Err(Refusal::new(code::TIMEOUT_HEIGHT, log));
    }
    let expected = state.account(&signed.signer).sequence;
    if signed.sequence != expected {
        let log = format!("account sequence mismatch, expected {expected}, got {}", signed.sequence);
        return Err(Refusal::new(code::WRONG_SEQUENCE, log));
    }
    grants::permit(state, signed)
}

/// Takes the fee of a transaction, and increments the sequence number of the signer's account.
fn pay(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    fees::charge(state, signed)?;
    state.account_mut(&signed.signer).sequence += 1;
    Ok(())
}

/// Admits a transaction and executes its messages. If one of the messages fails, none of them takes effect, but the fee
/// remains paid and the sequence number incremented.
pub(super) fn deliver(state: &mut State, tx: &[u8]) -> TxOutcome {
    deliver_as(state, tx_hash(tx), |state| {
        let decoded = DecodedTx::decode(tx)?;
        precheck(state, decoded.content())?;
        Ok(decoded.verify(&state.genesis.chain_id)?)
    })
}

/// Admits a transaction whose signatures have been checked before, and executes its messages, as [`deliver`] does. The
/// `hash` of the returned outcome is empty.
#[cfg(feature = "compute")]
pub(super) fn deliver_opened(state: &mut State, signed: &Signed) -> TxOutcome {
    deliver_as(state, String::new(), |state| precheck(state, signed).map(|()| signed.clone()))
}

/// Admits a transaction and executes its messages, as [`deliver`] does, but checks neither the signatures nor the
/// minimum fee: the transaction need not be signed, and may state a lower fee or none. The `hash` of the returned
/// outcome is empty.
pub(super) fn simulate(state: &mut State, signed: &Signed) -> TxOutcome {
    deliver_as(state, String::new(), |state| {
        check_permission(state, signed)?;
        pay(state, signed)?;
        Ok(signed.clone())
    })
}

fn deliver_as(state: &mut State, hash: String, admit: impl FnOnce(&mut State) -> Result<Signed, Refusal>) -> TxOutcome {
    let failed = |hash, signer, refusal: Refusal| TxOutcome { hash, signer, ..refusal.into() };
    let mut admitted = state.clone();
    let signed = match admit(&mut admitted) {
        Ok(signed) => signed,
        Err(refusal) => return failed(hash, String::new(), refusal),
    };
    *state = admitted;
    let mut after = state.clone();
    match execute_all(&mut after, &signed, &hash) {
        Ok((answers, events)) => {
            *state = after;
            TxOutcome { hash, code: 0, log: String::new(), signer: signed.signer, answers, events }
        }
        Err(refusal) => failed(hash, signed.signer, refusal),
    }
}

/// Executes the messages of a transaction. Returns the responses to them, and the events. If a message fails, `state`
/// may have changed.
fn execute_all(state: &mut State, signed: &Signed, hash: &str) -> Result<(Vec<Answer>, Vec<Event>), Refusal> {
    let mut context = Context { hash, session: None, events: Vec::new() };
    let answers = signed.messages.iter().map(|message| {
        let answer = execute(state, message, signed, &mut context)?;
        Ok((format!("{}Response", message.type_url()), answer.into()))
    });
    let answers = answers.collect::<Result<_, Refusal>>()?;
    Ok((answers, context.events))
}

/// The response to a message: its type URL, and its protobuf bytes.
type Answer = (String, serde_bytes::ByteBuf);

/// Executes a message and returns the response to it, as protobuf bytes.
fn execute(state: &mut State, message: &Message, signed: &Signed, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    match message {
        Message::ClaimTask(message) => return claims::claim(state, message, context),
        Message::SubmitGradient(message) => return submissions::submit(state, message, context),
        Message::CompleteTask(message) => return submissions::complete(state, message, context),
        Message::RegisterNode(message) => return nodes::register(state, message),
        Message::CommitAggregation(message) => return aggregation::commit(state, message),
        Message::OpenDispute(message) => return disputes::open(state, message, context),
        Message::Appeal(message) => return disputes::appeal(state, message, context),
        Message::AnswerDispute(message) => return disputes::answer(state, message),
        Message::SetPayout(message) => {
            coins::set_payout(state, message);
            return Ok(Vec::new());
        }
        Message::Exec(grantee, messages) => {
            context.session = Some(grantee.clone());
            let results = messages.iter().map(|message| execute(state, message, signed, context));
            let results = results.collect::<Result<_, _>>()?;
            context.session = None;
            return Ok(MsgExecResponse { results }.encode_to_vec());
        }
        Message::MoveDispute(message) => disputes::apply_move(state, message),
        Message::Withdraw(message) => submissions::withdraw(state, message, context),
        Message::AnswerTrap(message) => submissions::answer_trap(message),
        Message::UnregisterNode(message) => nodes::unregister(state, message),
        Message::SetConsensusKey(message) => voting_power::set_key(state, message),
        Message::RevealBeacon(message) => beacon::reveal(state, message),
        Message::CommitAttestation(message) => verification::commit(state, message),
        Message::RevealAttestation(message) => verification::reveal(state, message),
        Message::Arbitrate(message) => verification::vote(state, message),
        Message::RevealAggregation(message) => aggregation::reveal(state, message),
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
