//! Grants and allowances: who may mine in whose name, until when, and pay how much of whose balance.

use super::{FeeAllowance, Refusal, State};
use crate::tx::{Allowance, Grant, GrantPair, Message, MsgSubmitGradient, Session, Signed, code};
use prost::Name as _;

/// Seconds that an expired grant or allowance is kept, so that its owner is told why it does not hold.
const KEPT: u64 = 86_400;

/// Checks what a transaction does in others' names.
pub(super) fn permit(state: &State, signed: &Signed) -> Result<(), Refusal> {
    let now = state.head().time;
    let refused = |log: String| Err(Refusal::new(code::UNAUTHORIZED, log));
    for message in &signed.messages {
        let (pair, number) = match message {
            Message::Exec(grantee, messages) => {
                for message in messages {
                    // who may submit in another's name may take that back
                    let url = match message {
                        Message::Withdraw(_) => MsgSubmitGradient::type_url(),
                        _ => message.to_any().type_url,
                    };
                    let granter = message.signer();
                    match state.grants.get(&(granter.to_owned(), grantee.clone(), url.clone())) {
                        Some(expires) if *expires > now => {}
                        Some(_) => return refused(format!("the grant of {granter} to {grantee} for {url} is expired")),
                        None => return refused(format!("{granter} grants {grantee} no {url}, or not any more")),
                    }
                }
                continue;
            }
            Message::OpenSession(opening) => {
                let session = opening.session()?;
                if session.expires <= now {
                    return refused("the session is expired already".to_owned());
                }
                (session.pair, opening.number)
            }
            Message::CloseSession(closing) => (closing.pair()?, closing.number),
            _ => continue,
        };
        let next = state.session_number(&pair);
        if number != next {
            return refused(format!(
                "the statement's number is {number}, the next one is {next}: it was used or revoked"
            ));
        }
    }
    Ok(())
}

/// What a message about grants changes.
pub(super) fn apply(state: &mut State, message: &Message, signed: &Signed) -> Result<(), Refusal> {
    match message {
        Message::Grant(grant) => add_grant(state, grant),
        Message::Revoke(pair, message) => revoke(state, pair, message),
        Message::GrantAllowance(allowance) => add_allowance(state, allowance),
        Message::RevokeAllowance(pair) => revoke_allowance(state, pair),
        Message::OpenSession(opening) => open(state, &opening.session()?, signed),
        Message::CloseSession(closing) => {
            let pair = closing.pair()?;
            for (message, _) in state.granted(&pair) {
                state.grants.remove(&(pair.granter.clone(), pair.grantee.clone(), message));
            }
            state.allowances.remove(&names(&pair));
            count(state, &pair);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a statement's session gives, instead of what was given before; the fee of its own transaction counts.
fn open(state: &mut State, session: &Session, signed: &Signed) -> Result<(), Refusal> {
    session.grants().try_for_each(|grant| add_grant(state, &grant))?;
    let paid = if signed.fee.granter.as_ref() == Some(&session.pair.granter) { signed.fee.amount } else { 0 };
    let given = FeeAllowance { left: session.cap.saturating_sub(paid), expires: session.expires };
    allow(state, &session.pair, given);
    count(state, &session.pair);
    Ok(())
}

fn add_grant(state: &mut State, grant: &Grant) -> Result<(), Refusal> {
    if grant.expires <= state.head().time {
        return Err(Refusal::new(code::MALFORMED, "a grant that is expired already"));
    }
    let (granter, grantee) = names(&grant.pair);
    end(state, &grant.pair, grant.message.clone(), grant.expires);
    state.grants.insert((granter, grantee, grant.message.clone()), grant.expires);
    Ok(())
}

fn add_allowance(state: &mut State, allowance: &Allowance) -> Result<(), Refusal> {
    let refused = |log: &str| Err(Refusal::new(code::MALFORMED, log));
    let now = state.head().time;
    if allowance.expires <= now {
        return refused("an allowance that is expired already");
    }
    // as on other Cosmos chains: it is revoked before another is granted
    if state.allowance(&allowance.pair).is_some_and(|present| present.expires > now) {
        return refused("fee allowance already exists");
    }
    allow(state, &allowance.pair, FeeAllowance { left: allowance.cap, expires: allowance.expires });
    Ok(())
}

fn allow(state: &mut State, pair: &GrantPair, allowed: FeeAllowance) {
    end(state, pair, String::new(), allowed.expires);
    state.allowances.insert(names(pair), allowed);
}

/// Notes when a grant of `message`, or an allowance, may be forgotten.
fn end(state: &mut State, pair: &GrantPair, message: String, expires: u64) {
    let (granter, grantee) = names(pair);
    state.ends.insert((expires.saturating_add(KEPT), granter, grantee, message), ());
}

/// Forgets grants and allowances that are expired for long; one that was given anew meanwhile has another end.
pub(super) fn forget(state: &mut State) {
    let now = state.head().time;
    while let Some((key, ())) = state.ends.get_min().filter(|((due, ..), ())| *due <= now).cloned() {
        state.ends.remove(&key);
        let (_, granter, grantee, message) = key;
        let both = (granter, grantee);
        if message.is_empty() && state.allowances.get(&both).is_some_and(|allowed| allowed.expires <= now) {
            state.allowances.remove(&both);
        }
        let grant = (both.0, both.1, message);
        if state.grants.get(&grant).is_some_and(|expires| *expires <= now) {
            state.grants.remove(&grant);
        }
    }
}

fn revoke(state: &mut State, pair: &GrantPair, message: &str) -> Result<(), Refusal> {
    let (granter, grantee) = names(pair);
    let log = format!("{granter} grants {grantee} no {message}");
    let revoked = state.grants.remove(&(granter, grantee, message.to_owned()));
    if revoked.is_none_or(|expires| expires <= state.head().time) {
        return Err(Refusal::new(code::NOT_FOUND, log));
    }
    count(state, pair);
    Ok(())
}

fn revoke_allowance(state: &mut State, pair: &GrantPair) -> Result<(), Refusal> {
    if state.allowances.remove(&names(pair)).is_none() {
        let (granter, grantee) = names(pair);
        return Err(Refusal::new(code::NOT_FOUND, format!("{granter} grants {grantee} no fee allowance")));
    }
    count(state, pair);
    Ok(())
}

/// Makes every statement signed before void.
fn count(state: &mut State, pair: &GrantPair) {
    *state.sessions.entry(names(pair)).or_insert(0) += 1;
}

fn names(pair: &GrantPair) -> (String, String) {
    (pair.granter.clone(), pair.grantee.clone())
}

impl State {
    /// The messages that a granter grants to a grantee, each with its expiry; expired ones too.
    pub fn granted(&self, pair: &GrantPair) -> Vec<(String, u64)> {
        let (granter, grantee) = names(pair);
        let first = (granter.clone(), grantee.clone(), String::new());
        let of_both = self.grants.range(first..).take_while(|((of, to, _), _)| (of, to) == (&granter, &grantee));
        of_both.map(|((_, _, message), expires)| (message.clone(), *expires)).collect()
    }

    /// What is left of a fee allowance; an expired one too.
    pub fn allowance(&self, pair: &GrantPair) -> Option<FeeAllowance> {
        self.allowances.get(&names(pair)).copied()
    }

    /// Openings and revocations between two accounts: the number that the next statement must have.
    pub fn session_number(&self, pair: &GrantPair) -> u64 {
        self.sessions.get(&names(pair)).copied().unwrap_or_default()
    }
}
