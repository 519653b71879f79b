//! A session: another key may mine for an account, until a time, and pay fees of its balance up to a cap.
//!
//! An account opens one by a transaction of its own, [`Session::grant`]; or, where its wallet signs texts only, by a
//! statement that the session's key brings to the chain. A statement is numbered: the ledger counts openings and
//! revocations between two accounts, and a statement counts only while its number is the next one.

use super::{
    Allowance, ChainError, DENOM, GRANTABLE, Grant, GrantPair, Message, MsgCloseSession, MsgOpenSession, adr36, grants,
    rfc3339,
};

/// What is granted to the grantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account, and the session's address.
    pub pair: GrantPair,
    /// Micro-units of the account's balance that fees may take in all.
    pub cap: u64,
    /// Seconds since 1970.
    pub expires: u64,
}

impl Session {
    /// The messages by which the account grants it.
    pub fn grant(&self) -> Vec<Message> {
        let (pair, cap, expires) = (&self.pair, self.cap, self.expires);
        let mut messages: Vec<_> = self.grants().map(Message::Grant).collect();
        messages.push(Message::GrantAllowance(Allowance { pair: pair.clone(), cap, expires }));
        messages
    }

    /// One for each message of mining.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        GRANTABLE.into_iter().map(|message| Grant {
            pair: self.pair.clone(),
            message: message.to_owned(),
            expires: self.expires,
        })
    }
}

impl MsgOpenSession {
    /// The session that it opens.
    pub fn session(&self) -> Result<Session, ChainError> {
        let pair = GrantPair { granter: adr36::signer(&self.pub_key)?, grantee: self.grantee.clone() };
        pair.check()?;
        Ok(Session { pair, cap: self.cap, expires: grants::check_expiry(self.expiration)? })
    }

    /// What the account signs, word for word. Expects a date within bounds.
    pub fn statement(&self, chain_id: &str) -> String {
        let Self { grantee, expiration, cap, number, .. } = self;
        let expires = rfc3339(*expiration);
        format!(
            "Open an R3MES mining session.\n\nChain: {chain_id}\nSession key: {grantee}\nIt may claim tasks and submit \
             gradients in my name; rewards are mine.\nIt may spend on fees, in all: {cap} {DENOM}\nExpires: \
             {expires}\nNumber: {number}"
        )
    }

    pub(super) fn verify(&self, chain_id: &str) -> Result<(), ChainError> {
        self.session()?;
        adr36::verify(&self.pub_key, &self.statement(chain_id), &self.signature)
    }
}

impl MsgCloseSession {
    /// The account and its session.
    pub fn pair(&self) -> Result<GrantPair, ChainError> {
        let pair = GrantPair { granter: adr36::signer(&self.pub_key)?, grantee: self.grantee.clone() };
        pair.check()?;
        Ok(pair)
    }

    /// What the account signs, word for word.
    pub fn statement(&self, chain_id: &str) -> String {
        let Self { grantee, number, .. } = self;
        format!("Close an R3MES mining session.\n\nChain: {chain_id}\nSession key: {grantee}\nNumber: {number}")
    }

    pub(super) fn verify(&self, chain_id: &str) -> Result<(), ChainError> {
        self.pair()?;
        adr36::verify(&self.pub_key, &self.statement(chain_id), &self.signature)
    }
}
