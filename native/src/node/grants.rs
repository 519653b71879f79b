//! Grants and allowances on the ledger: who may mine in whose name, until when, and pay how much of whose balance.

use super::tables::*;
use super::transactions::Refusal;
use super::{Engine, Node, transfers};
use anyhow::Result;
use r3mes_wgpu::chain::{Allowance, Between, Grant, Message, Session, Signed, check_address, code};
use redb::{ReadableTable, Table, WriteTransaction};

/// Checks what a transaction does in others' names.
pub(super) fn permit(
    grants: &impl ReadableTable<(&'static str, &'static str, &'static str), u64>,
    sessions: &impl ReadableTable<(&'static str, &'static str), u64>,
    signed: &Signed,
    now: u64,
) -> Result<Result<(), Refusal>> {
    let refused = |log: String| Ok(Err(Refusal::new(code::UNAUTHORIZED, log)));
    for message in &signed.messages {
        let (between, number) = match message {
            Message::Exec(grantee, messages) => {
                for message in messages {
                    let (granter, url) = (message.signer(), message.to_any().type_url);
                    match grants.get((granter, grantee.as_str(), url.as_str()))?.map(|expires| expires.value()) {
                        Some(expires) if expires > now => {}
                        Some(_) => return refused(format!("the grant of {granter} to {grantee} for {url} is expired")),
                        None => return refused(format!("{granter} grants {grantee} no {url}, or not any more")),
                    }
                }
                continue;
            }
            Message::OpenSession(opening) => match opening.session() {
                Ok(session) if session.expires <= now => return refused("the session is expired already".to_owned()),
                session => (session.map(|session| session.between), opening.number),
            },
            Message::CloseSession(closing) => (closing.between(), closing.number),
            _ => continue,
        };
        let between = match between {
            Ok(between) => between,
            Err(error) => return Ok(Err(error.into())),
        };
        let next = sessions.get(names(&between))?.map_or(0, |number| number.value());
        if number != next {
            return refused(format!(
                "the statement's number is {number}, the next one is {next}: it was used or revoked"
            ));
        }
    }
    Ok(Ok(()))
}

/// What a transaction changes but for its work; `Err` leaves the change half done.
pub(super) fn apply(write: &WriteTransaction, signed: &Signed, now: u64) -> Result<Result<(), Refusal>> {
    for message in &signed.messages {
        let applied = match message {
            Message::SetPayout(message) => match check_address(&message.payout) {
                Ok(()) => {
                    write.open_table(PAYOUTS)?.insert(message.miner.as_str(), message.payout.as_str())?;
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            Message::Send(transfer) => transfers::apply(write, transfer)?,
            Message::Grant(grant) => add_grant(write, grant, now)?,
            Message::Revoke(between, message) => revoke(write, between, message, now)?,
            Message::GrantAllowance(allowance) => add_allowance(write, allowance, now)?,
            Message::RevokeAllowance(between) => revoke_allowance(write, between)?,
            Message::OpenSession(opening) => match opening.session() {
                Ok(session) => open(write, &session, signed, now)?,
                Err(error) => Err(error.into()),
            },
            Message::CloseSession(closing) => match closing.between() {
                Ok(between) => {
                    write
                        .open_table(GRANTS)?
                        .retain(|(granter, grantee, _), _| (granter, grantee) != names(&between))?;
                    write.open_table(ALLOWANCES)?.remove(names(&between))?;
                    count(write, &between)?;
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            Message::ClaimTask(_) | Message::SubmitGradient(_) | Message::Exec(..) => Ok(()),
        };
        if applied.is_err() {
            return Ok(applied);
        }
    }
    Ok(Ok(()))
}

/// What a statement's session gives, instead of what was given before; the fee of its own transaction counts.
fn open(write: &WriteTransaction, session: &Session, signed: &Signed, now: u64) -> Result<Result<(), Refusal>> {
    for grant in session.grants() {
        if let Err(refusal) = add_grant(write, &grant, now)? {
            return Ok(Err(refusal));
        }
    }
    let paid = if signed.fee.granter.as_ref() == Some(&session.between.granter) { signed.fee.amount } else { 0 };
    let left = (session.cap.saturating_sub(paid), session.expires);
    write.open_table(ALLOWANCES)?.insert(names(&session.between), left)?;
    count(write, &session.between)?;
    Ok(Ok(()))
}

fn add_grant(write: &WriteTransaction, grant: &Grant, now: u64) -> Result<Result<(), Refusal>> {
    if grant.expires <= now {
        return Ok(Err(Refusal::new(code::MALFORMED, "a grant that is expired already")));
    }
    let mut grants = write.open_table(GRANTS)?;
    grants.retain(|_, expires| expires > now)?;
    let (granter, grantee) = names(&grant.between);
    grants.insert((granter, grantee, grant.message.as_str()), grant.expires)?;
    Ok(Ok(()))
}

fn add_allowance(write: &WriteTransaction, allowance: &Allowance, now: u64) -> Result<Result<(), Refusal>> {
    let refused = |log: &str| Ok(Err(Refusal::new(code::MALFORMED, log)));
    if allowance.expires <= now {
        return refused("an allowance that is expired already");
    }
    let mut allowances = write.open_table(ALLOWANCES)?;
    allowances.retain(|_, (_, expires)| expires > now)?;
    let left = (allowance.cap, allowance.expires);
    // as on other Cosmos chains: it is revoked before another is granted
    if allowances.insert(names(&allowance.between), left)?.is_some() {
        return refused("fee allowance already exists");
    }
    Ok(Ok(()))
}

fn revoke(write: &WriteTransaction, between: &Between, message: &str, now: u64) -> Result<Result<(), Refusal>> {
    let (granter, grantee) = names(between);
    let revoked = write.open_table(GRANTS)?.remove((granter, grantee, message))?.map(|expires| expires.value());
    if revoked.is_none_or(|expires| expires <= now) {
        return Ok(Err(Refusal::new(code::NOT_FOUND, format!("{granter} grants {grantee} no {message}"))));
    }
    count(write, between)?;
    Ok(Ok(()))
}

fn revoke_allowance(write: &WriteTransaction, between: &Between) -> Result<Result<(), Refusal>> {
    if write.open_table(ALLOWANCES)?.remove(names(between))?.is_none() {
        let (granter, grantee) = names(between);
        return Ok(Err(Refusal::new(code::NOT_FOUND, format!("{granter} grants {grantee} no fee allowance"))));
    }
    count(write, between)?;
    Ok(Ok(()))
}

/// Makes every statement signed before void.
fn count(write: &WriteTransaction, between: &Between) -> Result<()> {
    let mut sessions: Table<(&str, &str), u64> = write.open_table(SESSIONS)?;
    let number = sessions.get(names(between))?.map_or(0, |number| number.value());
    sessions.insert(names(between), number + 1)?;
    Ok(())
}

fn names(between: &Between) -> (&str, &str) {
    (&between.granter, &between.grantee)
}

impl<E: Engine> Node<E> {
    /// The messages that a granter grants to a grantee at time `now`, each with its expiry.
    pub(crate) fn grants(&self, between: &Between, now: u64) -> Result<Vec<(String, u64)>> {
        let (granter, grantee) = names(between);
        let grants = self.read()?.open_table(GRANTS)?;
        let mut found = Vec::new();
        for entry in grants.range((granter, grantee, "")..)? {
            let (key, expires) = entry?;
            let (of, to, message) = key.value();
            if (of, to) != (granter, grantee) {
                break;
            }
            if expires.value() > now {
                found.push((message.to_owned(), expires.value()));
            }
        }
        Ok(found)
    }

    /// What is left of a fee allowance at time `now`, and its expiry.
    pub(crate) fn allowance(&self, between: &Between, now: u64) -> Result<Option<(u64, u64)>> {
        let allowance = self.read()?.open_table(ALLOWANCES)?.get(names(between))?.map(|allowance| allowance.value());
        Ok(allowance.filter(|(_, expires)| *expires > now))
    }

    /// Openings and revocations between two accounts: the number that the next statement must have.
    pub(crate) fn session_number(&self, between: &Between) -> Result<u64> {
        Ok(self.read()?.open_table(SESSIONS)?.get(names(between))?.map_or(0, |number| number.value()))
    }
}
