//! A grant lets one account (the grantee) send one kind of message in another's name (the granter's); an allowance lets
//! it pay fees of the other's balance. Both end at a time, and an allowance is capped.
//!
//! The messages are those of the Cosmos SDK 0.50, `cosmos.authz.v1beta1` and `cosmos.feegrant.v1beta1`; of their forms
//! this ledger takes one each: `GenericAuthorization` with an expiry, and `AllowedMsgAllowance` of `MsgExec` around
//! `BasicAllowance` with a limit and an expiry.

use super::{ChainError, DENOM, check_address};
use cosmrs::{
    Any,
    proto::{
        Timestamp,
        cosmos::{
            authz::v1beta1::{self as authz, GenericAuthorization, MsgExec, MsgGrant, MsgRevoke},
            base::v1beta1::Coin,
            feegrant::v1beta1::{AllowedMsgAllowance, BasicAllowance, MsgGrantAllowance, MsgRevokeAllowance},
        },
    },
};
use prost::{Message, Name};

/// Type URLs of the messages that may be granted: those of mining, which move no coins but rewards to the granter.
pub const GRANTABLE: [&str; 2] = ["/remes.remes.v1.MsgClaimTask", "/remes.remes.v1.MsgSubmitGradient"];
/// The last second that a date has room for: the end of the year 9999.
const END_OF_TIME: u64 = 253_402_300_799;

/// Two accounts: who grants, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPair {
    /// In whose name, and of whose balance.
    pub granter: String,
    /// Who may.
    pub grantee: String,
}

/// Leave to send one kind of message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who, and in whose name.
    pub pair: GrantPair,
    /// Type URL of the message, one of [`GRANTABLE`].
    pub message: String,
    /// Seconds since 1970; it holds until the second before.
    pub expires: u64,
}

/// Leave to pay fees of transactions of `MsgExec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Who, and of whose balance.
    pub pair: GrantPair,
    /// Micro-units, in all.
    pub cap: u64,
    /// Seconds since 1970; it holds until the second before.
    pub expires: u64,
}

/// A time as the JSON of Cosmos chains has it: `2026-11-25T18:00:00Z`.
pub fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds.min(END_OF_TIME))
        .map(|seconds| cosmrs::tendermint::Time::from_unix_timestamp(seconds, 0));
    time.ok().and_then(Result::ok).map_or_else(String::new, |time| time.to_rfc3339())
}

impl GrantPair {
    pub(super) fn check(&self) -> Result<(), ChainError> {
        check_address(&self.granter)?;
        check_address(&self.grantee)?;
        match self.granter == self.grantee {
            true => Err(ChainError::Malformed("granter and grantee are one account".to_owned())),
            false => Ok(()),
        }
    }
}

impl Grant {
    pub(super) fn read(value: &[u8]) -> Result<Self, ChainError> {
        let MsgGrant { granter, grantee, grant } = decode(value)?;
        let authz::Grant { authorization, expiration } = grant.unwrap_or_default();
        let message = unwrap::<GenericAuthorization>(authorization)?.msg;
        grantable(&message)?;
        let pair = GrantPair { granter, grantee };
        pair.check()?;
        Ok(Self { pair, message, expires: seconds(expiration)? })
    }

    pub(super) fn to_any(&self) -> Any {
        let GrantPair { granter, grantee } = self.pair.clone();
        let authorization = Some(wrap(&GenericAuthorization { msg: self.message.clone() }));
        let grant = Some(authz::Grant { authorization, expiration: Some(timestamp(self.expires)) });
        wrap(&MsgGrant { granter, grantee, grant })
    }
}

impl Allowance {
    pub(super) fn read(value: &[u8]) -> Result<Self, ChainError> {
        let MsgGrantAllowance { granter, grantee, allowance } = decode(value)?;
        let AllowedMsgAllowance { allowance, allowed_messages } = unwrap(allowance)?;
        if allowed_messages != [MsgExec::type_url()] {
            return Err(malformed("an allowance is for MsgExec alone"));
        }
        let BasicAllowance { spend_limit, expiration } = unwrap(allowance)?;
        let pair = GrantPair { granter, grantee };
        pair.check()?;
        let cap = amount(&spend_limit)?.ok_or_else(|| malformed("an allowance without a limit"))?;
        Ok(Self { pair, cap, expires: seconds(expiration)? })
    }

    pub(super) fn to_any(&self) -> Any {
        let GrantPair { granter, grantee } = self.pair.clone();
        let (spend_limit, expiration) = (coins(self.cap), Some(timestamp(self.expires)));
        let allowance = Some(wrap(&BasicAllowance { spend_limit, expiration }));
        let allowance = Some(wrap(&AllowedMsgAllowance { allowance, allowed_messages: vec![MsgExec::type_url()] }));
        wrap(&MsgGrantAllowance { granter, grantee, allowance })
    }
}

/// Reads a `MsgRevoke`: the accounts, and the type URL of the message.
pub(super) fn read_revoke(value: &[u8]) -> Result<(GrantPair, String), ChainError> {
    let MsgRevoke { granter, grantee, msg_type_url } = decode(value)?;
    grantable(&msg_type_url)?;
    let pair = GrantPair { granter, grantee };
    pair.check()?;
    Ok((pair, msg_type_url))
}

pub(super) fn revoke_to_any(pair: &GrantPair, message: &str) -> Any {
    let GrantPair { granter, grantee } = pair.clone();
    wrap(&MsgRevoke { granter, grantee, msg_type_url: message.to_owned() })
}

/// Reads a `MsgRevokeAllowance`.
pub(super) fn read_revoke_allowance(value: &[u8]) -> Result<GrantPair, ChainError> {
    let MsgRevokeAllowance { granter, grantee } = decode(value)?;
    let pair = GrantPair { granter, grantee };
    pair.check()?;
    Ok(pair)
}

pub(super) fn revoke_allowance_to_any(pair: &GrantPair) -> Any {
    let GrantPair { granter, grantee } = pair.clone();
    wrap(&MsgRevokeAllowance { granter, grantee })
}

/// The one amount among coins: `None` for no coins, an error for another denomination.
pub(super) fn amount(coins: &[Coin]) -> Result<Option<u64>, ChainError> {
    match coins {
        [] => Ok(None),
        [Coin { denom, amount }] if denom == DENOM => match amount.parse() {
            Ok(amount) => Ok(Some(amount)),
            Err(_) => Err(malformed("an amount that is no number below 2^64")),
        },
        _ => Err(malformed(&format!("only {DENOM} is taken"))),
    }
}

pub(super) fn coins(amount: u64) -> Vec<Coin> {
    vec![Coin { denom: DENOM.to_owned(), amount: amount.to_string() }]
}

/// A date that is worth writing down.
pub(super) fn check_expiry(seconds: u64) -> Result<u64, ChainError> {
    match seconds {
        1..=END_OF_TIME => Ok(seconds),
        _ => Err(malformed("an expiry pair 1970 and 9999 is needed")),
    }
}

fn grantable(message: &str) -> Result<(), ChainError> {
    match GRANTABLE.contains(&message) {
        true => Ok(()),
        false => Err(ChainError::Ungrantable(message.chars().take(64).collect())),
    }
}

/// Parts of a second are cut off: it ends earlier rather than later.
fn seconds(time: Option<Timestamp>) -> Result<u64, ChainError> {
    check_expiry(time.and_then(|time| u64::try_from(time.seconds).ok()).unwrap_or_default())
}

fn timestamp(seconds: u64) -> Timestamp {
    Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}

fn wrap<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn unwrap<M: Message + Name + Default>(any: Option<Any>) -> Result<M, ChainError> {
    match any {
        Some(Any { type_url, value }) if type_url == M::type_url() => decode(&value),
        _ => Err(malformed(&format!("not a {}", M::NAME))),
    }
}

pub(super) fn decode<M: Message + Name + Default>(value: &[u8]) -> Result<M, ChainError> {
    M::decode(value).map_err(|error| malformed(&format!("{}: {error}", M::NAME)))
}

fn malformed(what: &str) -> ChainError {
    ChainError::Malformed(what.to_owned())
}
