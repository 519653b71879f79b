//! Grants and allowances: who may mine in whose name, until when, and pay how much of whose balance.

use super::{Allowed, Refusal, State};
use crate::chain::{Allowance, Between, Grant, Message, MsgSubmitGradient, Session, Signed, code};
use prost::Name as _;

/// Seconds that an expired grant or allowance is kept, so that its owner is told why it does not hold.
const KEPT: u64 = 86_400;

/// Checks what a transaction does in others' names.
pub(super) fn permit(state: &State, signed: &Signed) -> Result<(), Refusal> {
    let now = state.head().time;
    let refused = |log: String| Err(Refusal::new(code::UNAUTHORIZED, log));
    for message in &signed.messages {
        let (between, number) = match message {
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
                (session.between, opening.number)
            }
            Message::CloseSession(closing) => (closing.between()?, closing.number),
            _ => continue,
        };
        let next = state.session_number(&between);
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
        Message::Revoke(between, message) => revoke(state, between, message),
        Message::GrantAllowance(allowance) => add_allowance(state, allowance),
        Message::RevokeAllowance(between) => revoke_allowance(state, between),
        Message::OpenSession(opening) => open(state, &opening.session()?, signed),
        Message::CloseSession(closing) => {
            let between = closing.between()?;
            for (message, _) in state.granted(&between) {
                state.grants.remove(&(between.granter.clone(), between.grantee.clone(), message));
            }
            state.allowances.remove(&names(&between));
            count(state, &between);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a statement's session gives, instead of what was given before; the fee of its own transaction counts.
fn open(state: &mut State, session: &Session, signed: &Signed) -> Result<(), Refusal> {
    session.grants().try_for_each(|grant| add_grant(state, &grant))?;
    let paid = if signed.fee.granter.as_ref() == Some(&session.between.granter) { signed.fee.amount } else { 0 };
    let given = Allowed { left: session.cap.saturating_sub(paid), expires: session.expires };
    allow(state, &session.between, given);
    count(state, &session.between);
    Ok(())
}

fn add_grant(state: &mut State, grant: &Grant) -> Result<(), Refusal> {
    if grant.expires <= state.head().time {
        return Err(Refusal::new(code::MALFORMED, "a grant that is expired already"));
    }
    let (granter, grantee) = names(&grant.between);
    end(state, &grant.between, grant.message.clone(), grant.expires);
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
    if state.allowance(&allowance.between).is_some_and(|present| present.expires > now) {
        return refused("fee allowance already exists");
    }
    allow(state, &allowance.between, Allowed { left: allowance.cap, expires: allowance.expires });
    Ok(())
}

fn allow(state: &mut State, between: &Between, allowed: Allowed) {
    end(state, between, String::new(), allowed.expires);
    state.allowances.insert(names(between), allowed);
}

/// Notes when a grant of `message`, or an allowance, may be forgotten.
fn end(state: &mut State, between: &Between, message: String, expires: u64) {
    let (granter, grantee) = names(between);
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

fn revoke(state: &mut State, between: &Between, message: &str) -> Result<(), Refusal> {
    let (granter, grantee) = names(between);
    let log = format!("{granter} grants {grantee} no {message}");
    let revoked = state.grants.remove(&(granter, grantee, message.to_owned()));
    if revoked.is_none_or(|expires| expires <= state.head().time) {
        return Err(Refusal::new(code::NOT_FOUND, log));
    }
    count(state, between);
    Ok(())
}

fn revoke_allowance(state: &mut State, between: &Between) -> Result<(), Refusal> {
    if state.allowances.remove(&names(between)).is_none() {
        let (granter, grantee) = names(between);
        return Err(Refusal::new(code::NOT_FOUND, format!("{granter} grants {grantee} no fee allowance")));
    }
    count(state, between);
    Ok(())
}

/// Makes every statement signed before void.
fn count(state: &mut State, between: &Between) {
    *state.sessions.entry(names(between)).or_insert(0) += 1;
}

fn names(between: &Between) -> (String, String) {
    (between.granter.clone(), between.grantee.clone())
}

impl State {
    /// The messages that a granter grants to a grantee, each with its expiry; expired ones too.
    pub fn granted(&self, between: &Between) -> Vec<(String, u64)> {
        let (granter, grantee) = names(between);
        let first = (granter.clone(), grantee.clone(), String::new());
        let of_both = self.grants.range(first..).take_while(|((of, to, _), _)| (of, to) == (&granter, &grantee));
        of_both.map(|((_, _, message), expires)| (message.clone(), *expires)).collect()
    }

    /// What is left of a fee allowance; an expired one too.
    pub fn allowance(&self, between: &Between) -> Option<Allowed> {
        self.allowances.get(&names(between)).copied()
    }

    /// Openings and revocations between two accounts: the number that the next statement must have.
    pub fn session_number(&self, between: &Between) -> u64 {
        self.sessions.get(&names(between)).copied().unwrap_or_default()
    }
}
