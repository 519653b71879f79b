//! Sessions. A session permits another key to mine for an account until an expiry, and to pay fees from the account's
//! balance up to a cap.
//!
//! An account opens a session by a transaction of its own ([`Session::grant`]). If its wallet signs texts only, the
//! account signs a statement, which the session's key sends to the chain. Statements are numbered: the ledger counts
//! the openings and revocations between two accounts, and accepts a statement only if its number is the next one.

use super::{
    Allowance, DENOM, GRANTABLE, Grant, GrantPair, Message, MsgCloseSession, MsgOpenSession, TxError, adr36, grants,
    rfc3339,
};

/// The terms of a session: who mines for whom, until when, and for how much in fees at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account as the granter, and the address of the session's key as the grantee.
    pub pair: GrantPair,
    /// Micro-units of the account's balance that the session may spend on fees in total.
    pub cap: u64,
    /// Expiry in seconds since 1970.
    pub expires: u64,
}

impl Session {
    /// Returns the messages by which the account grants the session.
    pub fn grant(&self) -> Vec<Message> {
        let (pair, cap, expires) = (&self.pair, self.cap, self.expires);
        let mut messages: Vec<_> = self.grants().map(Message::Grant).collect();
        messages.push(Message::GrantAllowance(Allowance { pair: pair.clone(), cap, expires }));
        messages
    }

    /// Returns one grant for each of [`GRANTABLE`].
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        GRANTABLE.into_iter().map(|message| Grant {
            pair: self.pair.clone(),
            message: message.to_owned(),
            expires: self.expires,
        })
    }
}

impl MsgOpenSession {
    /// Returns the session that the statement opens. Fails if a key, an address or the expiry is invalid.
    pub fn session(&self) -> Result<Session, TxError> {
        let pair = GrantPair { granter: adr36::signer(&self.pub_key)?, grantee: self.grantee.clone() };
        pair.check()?;
        Ok(Session { pair, cap: self.cap, expires: grants::check_expiry(self.expiration)? })
    }

    /// Returns the text that the account signs. The expiry must be valid.
    pub fn statement(&self, chain_id: &str) -> String {
        let Self { grantee, expiration, cap, number, .. } = self;
        let expires = rfc3339(*expiration);
        format!(
            "Open an R3MES mining session.\n\nChain: {chain_id}\nSession key: {grantee}\nIt may claim tasks and submit \
             gradients in my name; rewards are mine.\nIt may spend on fees, in all: {cap} {DENOM}\nExpires: \
             {expires}\nNumber: {number}"
        )
    }

    pub(super) fn verify(&self, chain_id: &str) -> Result<(), TxError> {
        self.session()?;
        adr36::verify(&self.pub_key, &self.statement(chain_id), &self.signature)
    }
}

impl MsgCloseSession {
    /// Returns the account and the address of its session. Fails if a key or an address is invalid.
    pub fn pair(&self) -> Result<GrantPair, TxError> {
        let pair = GrantPair { granter: adr36::signer(&self.pub_key)?, grantee: self.grantee.clone() };
        pair.check()?;
        Ok(pair)
    }

    /// Returns the text that the account signs.
    pub fn statement(&self, chain_id: &str) -> String {
        let Self { grantee, number, .. } = self;
        format!("Close an R3MES mining session.\n\nChain: {chain_id}\nSession key: {grantee}\nNumber: {number}")
    }

    pub(super) fn verify(&self, chain_id: &str) -> Result<(), TxError> {
        self.pair()?;
        adr36::verify(&self.pub_key, &self.statement(chain_id), &self.signature)
    }
}
