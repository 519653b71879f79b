//! Sessions. With a session, an account permits another key, the session key, to mine for the account until the session
//! expires. The session key may also pay fees from the account's balance, up to a cap.
//!
//! An account opens a session with a transaction that it sends itself ([`Session::grant`]). If the account's wallet can
//! sign only texts, the account signs a text instead (a *statement*), and the session key sends the statement to the
//! chain. Every statement contains a number. The ledger counts how many times so far the account has opened or closed a
//! session of this session key, granted a fee allowance to the key, or revoked a grant or an allowance of the key. The
//! ledger refuses a statement with a number other than this count, so nobody can use a statement twice.

use super::{
    Allowance, DENOM, GRANTABLE, Grant, GrantPair, Message, MsgCloseSession, MsgOpenSession, TxError, adr36, grants,
    rfc3339,
};

/// The terms of a session: the account and the session key, the limit on fees, and the expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The two accounts: the granter is the account for which the session key mines, and the grantee is the address of
    /// the session key.
    pub pair: GrantPair,
    /// The largest total amount, in micro-units, that the session key may spend on fees from the account's balance.
    pub cap: u64,
    /// The time at which the session expires, in seconds since 1970.
    pub expires: u64,
}

impl Session {
    /// Returns the messages that open the session when the account sends them: the grants and the fee allowance.
    pub fn grant(&self) -> Vec<Message> {
        let (pair, cap, expires) = (&self.pair, self.cap, self.expires);
        let mut messages: Vec<_> = self.grants().map(Message::Grant).collect();
        messages.push(Message::GrantAllowance(Allowance { pair: pair.clone(), cap, expires }));
        messages
    }

    /// Returns one grant for each type of message in [`GRANTABLE`].
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        GRANTABLE.into_iter().map(|message| Grant {
            pair: self.pair.clone(),
            message: message.to_owned(),
            expires: self.expires,
        })
    }
}

impl MsgOpenSession {
    /// Returns the terms of the session that this message opens. Returns an error if the account's key, the session
    /// key's address or the expiry is invalid.
    pub fn session(&self) -> Result<Session, TxError> {
        let pair = GrantPair::read(&adr36::signer(&self.pub_key)?, &self.grantee)?;
        Ok(Session { pair, cap: self.cap, expires: grants::check_expiry(self.expiration)? })
    }

    /// Returns the text that the account signs to open the session. The text is meaningful only if the expiry is valid,
    /// which [`Self::session`] checks.
    pub fn statement(&self, chain_id: &str) -> String {
        let Self { grantee, expiration, cap, number, .. } = self;
        let expires = rfc3339(*expiration);
        format!(
            "Open an R3MES mining session.\n\nChain: {chain_id}\nSession key: {grantee}\nIt may claim tasks and submit \
             gradients in my name; rewards are mine.\nIt may spend on fees, in all: {cap} {DENOM}\nExpires: \
             {expires}\nStatement number: {number}"
        )
    }

    pub(super) fn check(&self) -> Result<(), TxError> {
        self.session().map(drop)
    }

    /// Checks that the message contains the account's signature of the text that [`Self::statement`] returns.
    pub(super) fn verify(&self, chain_id: &str) -> Result<(), TxError> {
        adr36::verify(&self.pub_key, &self.statement(chain_id), &self.signature)
    }
}

impl MsgCloseSession {
    /// Returns the account as the granter and the session key's address as the grantee. Returns an error if the
    /// account's key or the address is invalid.
    pub fn pair(&self) -> Result<GrantPair, TxError> {
        GrantPair::read(&adr36::signer(&self.pub_key)?, &self.grantee)
    }

    /// Returns the text that the account signs to close the session.
    pub fn statement(&self, chain_id: &str) -> String {
        let Self { grantee, number, .. } = self;
        format!(
            "Close an R3MES mining session.\n\nChain: {chain_id}\nSession key: {grantee}\nStatement number: {number}"
        )
    }

    pub(super) fn check(&self) -> Result<(), TxError> {
        self.pair().map(drop)
    }

    /// Checks that the message contains the account's signature of the text that [`Self::statement`] returns.
    pub(super) fn verify(&self, chain_id: &str) -> Result<(), TxError> {
        adr36::verify(&self.pub_key, &self.statement(chain_id), &self.signature)
    }
}
