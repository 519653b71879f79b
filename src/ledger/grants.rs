//! Grants and fee allowances. A grant permits an account to mine for another account, until the grant expires. A fee
//! allowance permits an account to pay fees from another account's balance, up to an amount.

use super::{Author, FeeAllowance, State, context::Refusal, rewards};
use crate::tx::{Allowance, Grant, GrantPair, Message, MsgSubmitGradient, Session, Signed, code};
use prost::Name as _;

/// The number of seconds for which the ledger keeps a grant or a fee allowance after it has expired, so that error
/// messages can say that it has expired.
const KEPT_SECONDS: u64 = DAY;
/// Seconds in a day.
const DAY: u64 = 86_400;

/// Checks that the signer has a grant for every message that it sends in the name of another account. Also checks every
/// session statement in the transaction. A session statement is a signed text that opens or closes a session between an
/// account and its session key. The statements for an account and a session key are numbered, and each must carry the
/// next number.
pub(super) fn permit(state: &State, signed: &Signed) -> Result<(), Refusal> {
    let now = state.head().time;
    let refused = |log: String| Err(Refusal::new(code::UNAUTHORIZED, log));
    for message in &signed.messages {
        let (pair, number) = match message {
            Message::Exec(grantee, messages) => {
                for message in messages {
                    // whoever may submit for another account may also withdraw for it
                    let url = match message {
                        Message::Withdraw(_) => MsgSubmitGradient::type_url(),
                        _ => message.type_url().to_owned(),
                    };
                    let granter = message.signer();
                    match state.grants.get(&(granter.to_owned(), grantee.clone(), url.clone())) {
                        Some(expires) if *expires > now => {}
                        Some(_) => {
                            return refused(format!(
                                "the right to send {url}, granted by {granter} to {grantee}, has expired"
                            ));
                        }
                        None => {
                            return refused(format!(
                                "{granter} has not granted {grantee} the right to send {url}, or has revoked it"
                            ));
                        }
                    }
                }
                continue;
            }
            Message::OpenSession(opening) => {
                let session = opening.session()?;
                if session.expires <= now {
                    return refused("the session has already expired".to_owned());
                }
                (session.pair, opening.number)
            }
            Message::CloseSession(closing) => (closing.pair()?, closing.number),
            _ => continue,
        };
        let next = state.session_number(&pair);
        if number != next {
            return refused(format!(
                "the session statement has the number {number} instead of {next}: it was used or revoked"
            ));
        }
    }
    Ok(())
}

/// Executes a message about grants, fee allowances or sessions.
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
            release_escrow(state, pair.granter, pair.grantee);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Opens a session: stores the grants and the fee allowance that an account gives to its session key, in place of
/// earlier ones. If the fee of the transaction that opens the session is paid from the new allowance, deducts the fee
/// from the allowance.
fn open(state: &mut State, session: &Session, signed: &Signed) -> Result<(), Refusal> {
    session.grants().try_for_each(|grant| add_grant(state, &grant))?;
    let paid = if signed.fee.granter.as_ref() == Some(&session.pair.granter) { signed.fee.amount } else { 0 };
    let allowance = FeeAllowance { remaining: session.cap.saturating_sub(paid), expires: session.expires };
    set_allowance(state, &session.pair, allowance);
    void_statements(state, &session.pair);
    Ok(())
}

fn add_grant(state: &mut State, grant: &Grant) -> Result<(), Refusal> {
    check_expiry(state, grant.expires, "the grant")?;
    let (granter, grantee) = key(&grant.pair);
    schedule_removal(state, &grant.pair, grant.message.clone(), grant.expires);
    state.grants.insert((granter, grantee, grant.message.clone()), grant.expires);
    Ok(())
}

fn add_allowance(state: &mut State, allowance: &Allowance) -> Result<(), Refusal> {
    let refused = |log: &str| Err(Refusal::new(code::MALFORMED, log));
    let now = state.head().time;
    check_expiry(state, allowance.expires, "the fee allowance")?;
    // as on other Cosmos chains, an allowance must be revoked before another one is granted
    if state.allowance(&allowance.pair).is_some_and(|present| present.expires > now) {
        return refused("the fee allowance already exists");
    }
    set_allowance(state, &allowance.pair, FeeAllowance { remaining: allowance.cap, expires: allowance.expires });
    void_statements(state, &allowance.pair);
    Ok(())
}

/// Checks that `expires`, the expiry of a grant or of a fee allowance in seconds since 1970, is in the future, but not
/// further away than `max_grant_seconds` permits. Grants must not last longer, because the ledger stores every grant
/// until it expires. Error messages begin with `what`, the name of the grant or allowance.
fn check_expiry(state: &State, expires: u64, what: &str) -> Result<(), Refusal> {
    let (now, longest) = (state.head().time, state.genesis.params.max_grant_seconds);
    if expires <= now {
        return Err(Refusal::new(code::MALFORMED, format!("{what} has already expired")));
    }
    if expires - now > longest {
        let log = format!(
            "{what} expires in {} days, but may last at most {} days",
            (expires - now).div_ceil(DAY),
            longest / DAY
        );
        return Err(Refusal::new(code::MALFORMED, log));
    }
    Ok(())
}

fn set_allowance(state: &mut State, pair: &GrantPair, allowance: FeeAllowance) {
    schedule_removal(state, pair, String::new(), allowance.expires);
    state.allowances.insert(key(pair), allowance);
}

/// Schedules the removal of a grant for messages of the type `message`, or of a fee allowance if `message` is empty.
/// The removal is due [`KEPT_SECONDS`] after the expiry.
fn schedule_removal(state: &mut State, pair: &GrantPair, message: String, expires: u64) {
    let (granter, grantee) = key(pair);
    state.removals.insert((expires.saturating_add(KEPT_SECONDS), granter, grantee, message), ());
}

/// Removes the grants and fee allowances that expired at least [`KEPT_SECONDS`] ago, except those that have been
/// granted again since.
pub(super) fn remove_expired(state: &mut State) {
    let now = state.head().time;
    while let Some((key, ())) = state.removals.get_min().filter(|((due, ..), ())| *due <= now).cloned() {
        state.removals.remove(&key);
        let (_, granter, grantee, message) = key;
        let both = (granter, grantee);
        if message.is_empty() && state.allowances.get(&both).is_some_and(|allowed| allowed.expires <= now) {
            state.allowances.remove(&both);
        }
        let grant = (both.0, both.1, message);
        if state.grants.get(&grant).is_some_and(|expires| *expires <= now) {
            state.grants.remove(&grant);
            release_escrow(state, grant.0, grant.1);
        }
    }
}

fn revoke(state: &mut State, pair: &GrantPair, message: &str) -> Result<(), Refusal> {
    let (granter, grantee) = key(pair);
    let log = format!("{granter} has not granted {grantee} the right to send {message}");
    let revoked = state.grants.remove(&(granter, grantee, message.to_owned()));
    if revoked.is_none_or(|expires| expires <= state.head().time) {
        return Err(Refusal::not_found(log));
    }
    void_statements(state, pair);
    let (granter, grantee) = key(pair);
    release_escrow(state, granter, grantee);
    Ok(())
}

fn revoke_allowance(state: &mut State, pair: &GrantPair) -> Result<(), Refusal> {
    if state.allowances.remove(&key(pair)).is_none() {
        let (granter, grantee) = key(pair);
        return Err(Refusal::not_found(format!("{granter} has not granted a fee allowance to {grantee}")));
    }
    void_statements(state, pair);
    Ok(())
}

/// Releases the escrow of a session: the rewards that the ledger holds back as collateral. If the session has ended and
/// all of its gradients are settled, its escrow is first added to the escrow of `granter`, the account for which the
/// session mined. Then everything in this escrow that `granter` does not need as collateral is paid out. Otherwise,
/// everything in the session's escrow that the session does not need as collateral is paid out.
fn release_escrow(state: &mut State, granter: String, grantee: String) {
    rewards::release(state, &Author { miner: granter, session: Some(grantee) });
}

/// Increments the session number of two accounts. Their next session statement (a signed text that opens or closes a
/// session) must carry the new number. Statements that carry a lower number and have not been used thus become invalid.
fn void_statements(state: &mut State, pair: &GrantPair) {
    *state.statement_numbers.entry(key(pair)).or_insert(0) += 1;
}

fn key(pair: &GrantPair) -> (String, String) {
    (pair.granter.clone(), pair.grantee.clone())
}

impl State {
    /// Returns the type URLs of the messages that a granter permits a grantee to send, each with the expiry of the
    /// grant in seconds since 1970. Expired grants are included until they are removed.
    pub fn granted(&self, pair: &GrantPair) -> Vec<(String, u64)> {
        let (granter, grantee) = key(pair);
        let first = (granter.clone(), grantee.clone(), String::new());
        let of_both = self.grants.range(first..).take_while(|((of, to, _), _)| (of, to) == (&granter, &grantee));
        of_both.map(|((_, _, message), expires)| (message.clone(), *expires)).collect()
    }

    /// Returns whether a session key may submit gradients for a miner.
    pub(super) fn is_session(&self, miner: &str, session: &str) -> bool {
        let grant = (miner.to_owned(), session.to_owned(), MsgSubmitGradient::type_url());
        self.grants.get(&grant).is_some_and(|expires| *expires > self.head().time)
    }

    /// Returns the fee allowance that a granter has given to a grantee. An expired allowance is also returned, until it
    /// is removed.
    pub fn allowance(&self, pair: &GrantPair) -> Option<FeeAllowance> {
        self.allowances.get(&key(pair)).copied()
    }

    /// Returns the session number of two accounts. Their next session statement (a signed text that opens or closes a
    /// session) must carry this number. It starts at 0, and grows by 1 when a session between them is opened or closed,
    /// when a fee allowance is granted, and when a grant or a fee allowance is revoked. Therefore two different fee
    /// allowances never have the same number.
    pub fn session_number(&self, pair: &GrantPair) -> u64 {
        self.statement_numbers.get(&key(pair)).copied().unwrap_or_default()
    }

    /// Returns the session number of an author's miner and its session key; 0 if the author has no session key. The
    /// next session statement (a signed text that opens or closes a session) of these two must carry this number.
    pub(super) fn session_number_of(&self, Author { miner, session }: &Author) -> u64 {
        let pair = session.as_ref().map(|session| (miner.clone(), session.clone()));
        pair.and_then(|pair| self.statement_numbers.get(&pair).copied()).unwrap_or_default()
    }
}
