//! Grants and fee allowances, which one account (the granter) gives to another (the grantee). A grant permits the
//! grantee to send messages of one type in the granter's name. A fee allowance permits the grantee to pay fees from the
//! granter's balance, up to a cap. Both expire at a stated time.
//!
//! The messages come from the Cosmos SDK 0.50, from the packages `cosmos.authz.v1beta1` and `cosmos.feegrant.v1beta1`.
//! The SDK permits several forms of grants and allowances, but this ledger accepts only one form of each. A grant must
//! be a `GenericAuthorization` with an expiry. An allowance must be an `AllowedMsgAllowance` that permits only
//! `MsgExec` and contains a `BasicAllowance` with a limit and an expiry.

use super::{
    DENOM, TxError,
    amino::{Amino, object, typed},
    canonical_address,
    encoding::{decode, decode_canonical},
};
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
use serde_json::Value;

/// The type URLs of the messages for which a grant can be given. They are mining messages, which cannot transfer the
/// granter's coins to another account.
pub const GRANTABLE: [&str; 2] = ["/remes.remes.v1.MsgClaimTask", "/remes.remes.v1.MsgSubmitGradient"];
/// The latest permitted expiry, in seconds since 1970: the end of the year 9999.
const END_OF_TIME: u64 = 253_402_300_799;

/// The two accounts of a grant or of a fee allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPair {
    /// The address of the account that gives the grant or the allowance.
    pub granter: String,
    /// The address of the account that receives the grant or the allowance.
    pub grantee: String,
}

/// A permission to send messages of one type in another account's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The account that gives the grant, and the account that receives it.
    pub pair: GrantPair,
    /// The type URL of the messages that are permitted. It is one of [`GRANTABLE`].
    pub message: String,
    /// The time at which the grant expires, in seconds since 1970. The grant is valid before this time.
    pub expires: u64,
}

/// A fee allowance: the permission to pay the fees of `MsgExec` messages from another account's balance. It also pays
/// for a `MsgCloseSession` that closes one of the granter's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The account that gives the allowance, and the account that receives it.
    pub pair: GrantPair,
    /// The largest total amount that the grantee may spend on fees, in micro-units.
    pub cap: u64,
    /// The time at which the allowance expires, in seconds since 1970. The allowance is valid before this time.
    pub expires: u64,
}

/// Formats a time as Cosmos chains do in JSON, for example `2026-11-25T18:00:00Z`. `seconds` is the time in seconds
/// since 1970.
pub fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds.min(END_OF_TIME))
        .map(|seconds| cosmrs::tendermint::Time::from_unix_timestamp(seconds, 0));
    time.ok().and_then(Result::ok).map_or_else(String::new, |time| time.to_rfc3339())
}

impl GrantPair {
    /// Reads the addresses of two different accounts. Fails if one of the texts is not an address, or if both are
    /// addresses of the same account.
    pub fn read(granter: &str, grantee: &str) -> Result<Self, TxError> {
        let pair = Self { granter: canonical_address(granter)?, grantee: canonical_address(grantee)? };
        match pair.granter == pair.grantee {
            true => Err(malformed("granter and grantee are the same account")),
            false => Ok(pair),
        }
    }
}

impl Grant {
    pub(super) fn amino(value: &[u8]) -> Result<Value, TxError> {
        let MsgGrant { granter, grantee, grant } = decode_canonical(value)?;
        let authz::Grant { authorization, expiration } = grant.unwrap_or_default();
        let message = unwrap::<GenericAuthorization>(authorization, decode_canonical)?.msg;
        let authorization = typed("cosmos-sdk/GenericAuthorization", object([("msg", message.to_amino())]));
        let grant = object([("authorization", Some(authorization)), ("expiration", expiration.to_amino())]);
        Ok(object([("granter", granter.to_amino()), ("grantee", grantee.to_amino()), ("grant", Some(grant))]))
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, TxError> {
        let MsgGrant { granter, grantee, grant } = decode(value)?;
        let authz::Grant { authorization, expiration } = grant.unwrap_or_default();
        let message = unwrap::<GenericAuthorization>(authorization, decode)?.msg;
        grantable(&message)?;
        let pair = GrantPair::read(&granter, &grantee)?;
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
    pub(super) fn amino(value: &[u8]) -> Result<Value, TxError> {
        let MsgGrantAllowance { granter, grantee, allowance } = decode_canonical(value)?;
        let AllowedMsgAllowance { allowance, allowed_messages } = unwrap(allowance, decode_canonical)?;
        let BasicAllowance { spend_limit, expiration } = unwrap(allowance, decode_canonical)?;
        let basic = object([("spend_limit", spend_limit.to_amino()), ("expiration", expiration.to_amino())]);
        let allowed = object([
            ("allowance", Some(typed("cosmos-sdk/BasicAllowance", basic))),
            ("allowed_messages", allowed_messages.to_amino()),
        ]);
        let allowance = Some(typed("cosmos-sdk/AllowedMsgAllowance", allowed));
        Ok(object([("granter", granter.to_amino()), ("grantee", grantee.to_amino()), ("allowance", allowance)]))
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, TxError> {
        let MsgGrantAllowance { granter, grantee, allowance } = decode(value)?;
        let AllowedMsgAllowance { allowance, allowed_messages } = unwrap(allowance, decode)?;
        if allowed_messages != [MsgExec::type_url()] {
            return Err(malformed("a fee allowance must permit MsgExec only"));
        }
        let BasicAllowance { spend_limit, expiration } = unwrap(allowance, decode)?;
        let pair = GrantPair::read(&granter, &grantee)?;
        let cap = amount(&spend_limit)?.ok_or_else(|| malformed("a fee allowance must have a limit"))?;
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

/// Decodes a `MsgRevoke`. Returns the granter and the grantee, and the type URL of the messages for which the grant is
/// revoked.
pub(super) fn read_revoke(value: &[u8]) -> Result<(GrantPair, String), TxError> {
    let MsgRevoke { granter, grantee, msg_type_url } = decode(value)?;
    grantable(&msg_type_url)?;
    Ok((GrantPair::read(&granter, &grantee)?, msg_type_url))
}

pub(super) fn revoke_amino(value: &[u8]) -> Result<Value, TxError> {
    let MsgRevoke { granter, grantee, msg_type_url } = decode_canonical(value)?;
    Ok(object([
        ("granter", granter.to_amino()),
        ("grantee", grantee.to_amino()),
        ("msg_type_url", msg_type_url.to_amino()),
    ]))
}

pub(super) fn revoke_to_any(pair: &GrantPair, message: &str) -> Any {
    let GrantPair { granter, grantee } = pair.clone();
    wrap(&MsgRevoke { granter, grantee, msg_type_url: message.to_owned() })
}

/// Decodes a `MsgRevokeAllowance`. Returns the granter and the grantee of the fee allowance that is revoked.
pub(super) fn read_revoke_allowance(value: &[u8]) -> Result<GrantPair, TxError> {
    let MsgRevokeAllowance { granter, grantee } = decode(value)?;
    GrantPair::read(&granter, &grantee)
}

pub(super) fn revoke_allowance_amino(value: &[u8]) -> Result<Value, TxError> {
    let MsgRevokeAllowance { granter, grantee } = decode_canonical(value)?;
    Ok(object([("granter", granter.to_amino()), ("grantee", grantee.to_amino())]))
}

pub(super) fn revoke_allowance_to_any(pair: &GrantPair) -> Any {
    let GrantPair { granter, grantee } = pair.clone();
    wrap(&MsgRevokeAllowance { granter, grantee })
}

/// Returns the amount that a list of coins states, in micro-units, or `None` if the list is empty. Fails if the list
/// has several entries or a denomination other than [`DENOM`].
pub(super) fn amount(coins: &[Coin]) -> Result<Option<u64>, TxError> {
    match coins {
        [] => Ok(None),
        [Coin { denom, amount }] if denom == DENOM => match amount.parse() {
            Ok(amount) => Ok(Some(amount)),
            Err(_) => Err(malformed("the amount is not an integer below 2^64")),
        },
        _ => Err(malformed(&format!("a list of coins must consist of exactly one amount in {DENOM}"))),
    }
}

pub(super) fn coins(amount: u64) -> Vec<Coin> {
    vec![Coin { denom: DENOM.to_owned(), amount: amount.to_string() }]
}

/// Returns `seconds`, an expiry in seconds since 1970, after checking it. Fails if it is 0 or after the year 9999.
pub(super) fn check_expiry(seconds: u64) -> Result<u64, TxError> {
    match seconds {
        1..=END_OF_TIME => Ok(seconds),
        _ => Err(malformed("the expiry must be in the years 1970 to 9999")),
    }
}

fn grantable(message: &str) -> Result<(), TxError> {
    match GRANTABLE.contains(&message) {
        true => Ok(()),
        false => Err(TxError::Ungrantable(message.chars().take(64).collect())),
    }
}

/// Converts the expiry `time` to whole seconds since 1970, rounded down. Fails if `time` is missing, is not in the
/// years 1970 to 9999, or states 10^9 nanoseconds or more.
fn seconds(time: Option<Timestamp>) -> Result<u64, TxError> {
    if time.is_some_and(|time| !(0..1_000_000_000).contains(&time.nanos)) {
        return Err(malformed("the nanoseconds of the expiry are not below 10^9"));
    }
    check_expiry(time.and_then(|time| u64::try_from(time.seconds).ok()).unwrap_or_default())
}

fn timestamp(seconds: u64) -> Timestamp {
    Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}

fn wrap<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Decodes the content of a protobuf `Any` with the function `decode`. Fails unless the `Any` states that its content
/// is a message of the type `M`.
fn unwrap<M: Message + Name>(any: Option<Any>, decode: fn(&[u8]) -> Result<M, TxError>) -> Result<M, TxError> {
    match any {
        Some(Any { type_url, value }) if type_url == M::type_url() => decode(&value),
        _ => Err(malformed(&format!("not a {}", M::NAME))),
    }
}

fn malformed(what: &str) -> TxError {
    TxError::Malformed(what.to_owned())
}
