//! Grants and fee allowances: which account may mine for which other account, until when, and how much of its balance
//! it may spend on fees.

use super::{FeeAllowance, State, context::Refusal};
use crate::tx::{Allowance, Grant, GrantPair, Message, MsgSubmitGradient, Session, Signed, code};
use prost::Name as _;

/// Seconds for which an expired grant or allowance is kept, so that errors can say that it has expired.
const KEPT_SECONDS: u64 = 86_400;

/// Checks that the signer has a grant for every message that it sends in another account's name, and that each session
/// statement carries the next number.
pub(super) fn permit(state: &State, signed: &Signed) -> Result<(), Refusal> {
    let now = state.head().time;
    let refused = |log: String| Err(Refusal::new(code::UNAUTHORIZED, log));
    for message in &signed.messages {
        let (pair, number) = match message {
            Message::Exec(grantee, messages) => {
                for message in messages {
                    // a grant to submit includes the permission to withdraw
                    let url = match message {
                        Message::Withdraw(_) => MsgSubmitGradient::type_url(),
                        _ => message.type_url().to_owned(),
                    };
                    let granter = message.signer();
                    match state.grants.get(&(granter.to_owned(), grantee.clone(), url.clone())) {
                        Some(expires) if *expires > now => {}
                        Some(_) => {
                            return refused(format!("the grant of {granter} to {grantee} for {url} has expired"));
                        }
                        None => return refused(format!("{granter} has not granted {url} to {grantee}, or revoked it")),
                    }
                }
                continue;
            }
            Message::OpenSession(opening) => {
                let session = opening.session()?;
                if session.expires <= now {
                    return refused("the session has expired already".to_owned());
                }
                (session.pair, opening.number)
            }
            Message::CloseSession(closing) => (closing.pair()?, closing.number),
            _ => continue,
        };
        let next = state.session_number(&pair);
        if number != next {
            return refused(format!(
                "the number of the statement is {number} instead of {next}: it was used or revoked"
            ));
        }
    }
    Ok(())
}

/// Executes a message about grants or allowances.
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
            state.allowances.remove(&key(&pair));
            void_statements(state, &pair);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Replaces the grants and the allowance between two accounts by those of a session. The fee of the transaction that
/// opens it is taken from the allowance.
fn open(state: &mut State, session: &Session, signed: &Signed) -> Result<(), Refusal> {
    session.grants().try_for_each(|grant| add_grant(state, &grant))?;
    let paid = if signed.fee.granter.as_ref() == Some(&session.pair.granter) { signed.fee.amount } else { 0 };
    let allowance = FeeAllowance { left: session.cap.saturating_sub(paid), expires: session.expires };
    set_allowance(state, &session.pair, allowance);
    void_statements(state, &session.pair);
    Ok(())
}

fn add_grant(state: &mut State, grant: &Grant) -> Result<(), Refusal> {
    if grant.expires <= state.head().time {
        return Err(Refusal::new(code::MALFORMED, "the grant has expired already"));
    }
    let (granter, grantee) = key(&grant.pair);
    schedule_removal(state, &grant.pair, grant.message.clone(), grant.expires);
    state.grants.insert((granter, grantee, grant.message.clone()), grant.expires);
    Ok(())
}

fn add_allowance(state: &mut State, allowance: &Allowance) -> Result<(), Refusal> {
    let refused = |log: &str| Err(Refusal::new(code::MALFORMED, log));
    let now = state.head().time;
    if allowance.expires <= now {
        return refused("the fee allowance has expired already");
    }
    // as on other Cosmos chains, an allowance must be revoked before another one is granted
    if state.allowance(&allowance.pair).is_some_and(|present| present.expires > now) {
        return refused("fee allowance already exists");
    }
    set_allowance(state, &allowance.pair, FeeAllowance { left: allowance.cap, expires: allowance.expires });
    Ok(())
}

fn set_allowance(state: &mut State, pair: &GrantPair, allowance: FeeAllowance) {
    schedule_removal(state, pair, String::new(), allowance.expires);
    state.allowances.insert(key(pair), allowance);
}

/// Records when a grant of `message`, or an allowance if `message` is empty, may be removed.
fn schedule_removal(state: &mut State, pair: &GrantPair, message: String, expires: u64) {
    let (granter, grantee) = key(pair);
    state.ends.insert((expires.saturating_add(KEPT_SECONDS), granter, grantee, message), ());
}

/// Removes grants and allowances that expired at least [`KEPT_SECONDS`] ago, unless they were granted again meanwhile.
pub(super) fn remove_expired(state: &mut State) {
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
    let (granter, grantee) = key(pair);
    let log = format!("{granter} has not granted {message} to {grantee}");
    let revoked = state.grants.remove(&(granter, grantee, message.to_owned()));
    if revoked.is_none_or(|expires| expires <= state.head().time) {
        return Err(Refusal::not_found(log));
    }
    void_statements(state, pair);
    Ok(())
}

fn revoke_allowance(state: &mut State, pair: &GrantPair) -> Result<(), Refusal> {
    if state.allowances.remove(&key(pair)).is_none() {
        let (granter, grantee) = key(pair);
        return Err(Refusal::not_found(format!("{granter} has granted {grantee} no fee allowance")));
    }
    void_statements(state, pair);
    Ok(())
}

/// Increments the number that the next statement must carry, which invalidates all statements that were signed earlier.
fn void_statements(state: &mut State, pair: &GrantPair) {
    *state.sessions.entry(key(pair)).or_insert(0) += 1;
}

fn key(pair: &GrantPair) -> (String, String) {
    (pair.granter.clone(), pair.grantee.clone())
}

impl State {
    /// Returns the type URLs of the messages that a granter has granted to a grantee, each with its expiry. Expired
    /// grants are included until they are removed.
    pub fn granted(&self, pair: &GrantPair) -> Vec<(String, u64)> {
        let (granter, grantee) = key(pair);
        let first = (granter.clone(), grantee.clone(), String::new());
        let of_both = self.grants.range(first..).take_while(|((of, to, _), _)| (of, to) == (&granter, &grantee));
        of_both.map(|((_, _, message), expires)| (message.clone(), *expires)).collect()
    }

    /// Returns the fee allowance that a granter has given to a grantee. An expired allowance is returned until it is
    /// removed.
    pub fn allowance(&self, pair: &GrantPair) -> Option<FeeAllowance> {
        self.allowances.get(&key(pair)).copied()
    }

    /// Returns the number that the next statement between two accounts must carry: the count of their openings and
    /// revocations so far.
    pub fn session_number(&self, pair: &GrantPair) -> u64 {
        self.sessions.get(&key(pair)).copied().unwrap_or_default()
    }
}
