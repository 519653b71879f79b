//! The query string of a command of Kubo's RPC. It contains the command's options and arguments.

use super::error::IpfsError;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use r3mes_wgpu::store::{Cid, Codec, inline_bytes};
use std::str::FromStr;

/// The maximum number of arguments of one command.
const MAX_ARGUMENTS: usize = 1024;

/// Options that every command accepts and ignores, because they do not change its result. For example, they state how
/// the client shows the result.
const HARMLESS: [&str; 13] = [
    "allow-big-block",
    "cid-base",
    "enc",
    "encoding",
    "flush",
    "offline",
    "progress",
    "quiet",
    "quieter",
    "silent",
    "stream",
    "stream-channels",
    "timeout",
];

/// The pairs of name and value in a query string. Each argument of the command has the name `arg`.
pub(super) struct KuboQuery(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for KuboQuery {
    type Rejection = IpfsError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, IpfsError> {
        let Query(pairs) = Query::from_request_parts(parts, state).await.map_err(IpfsError::bad)?;
        Ok(Self(pairs))
    }
}

impl KuboQuery {
    /// Returns the value of an option, or `None` if it is missing. If the option occurs several times, the last value
    /// counts.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a boolean option, or `default` if the option is missing. Returns an error if the value is
    /// not a boolean.
    pub(super) fn flag(&self, name: &str, default: Flag) -> Result<Flag, IpfsError> {
        match self.text(name) {
            None => Ok(default),
            Some("" | "true" | "1") => Ok(Flag::On),
            Some("false" | "0") => Ok(Flag::Off),
            Some(other) => Err(IpfsError::bad(format!("{name}={other}: the value must be true or false"))),
        }
    }

    /// Returns the value of a numeric option, or `None` if the option is missing. Returns an error if the value is not
    /// a number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, IpfsError> {
        let wrong = |text: &str| IpfsError::bad(format!("{name}={text}: the value must be a number"));
        self.text(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// Returns an error if the query contains the option `name` with a value that is not supported. The only supported
    /// value is `value`. The option may be missing.
    pub(super) fn only(&self, name: &str, value: &str) -> Result<(), IpfsError> {
        match self.text(name) {
            Some(other) if other != value => {
                Err(IpfsError::bad(format!("{name}={other}: the only supported value is {value}")))
            }
            _ => Ok(()),
        }
    }

    /// Returns an error if the query has an unknown option, because ignoring the option could give a result other than
    /// the one that the client asked for. An option whose value is empty, `false` or `0` is ignored, though. The known
    /// options are `options` and [`HARMLESS`] (options that do not change the result).
    pub(super) fn options(&self, options: &[&str]) -> Result<(), IpfsError> {
        self.only("cid-base", "base32")?;
        let known = |name: &str| name == "arg" || options.contains(&name) || HARMLESS.contains(&name);
        match self.0.iter().find(|(name, value)| !known(name) && !["", "false", "0"].contains(&&**value)) {
            Some((name, value)) => Err(IpfsError::bad(format!("{name}={value}: this option is not supported"))),
            None => Ok(()),
        }
    }

    /// Returns the arguments, parsed as CIDs with or without the prefix `/ipfs/`. Returns an error if there are no
    /// arguments, if there are too many, or if one of them is not a CID.
    pub(super) fn cids(&self) -> Result<Vec<Cid>, IpfsError> {
        let arguments: Vec<&str> =
            self.0.iter().filter(|(name, _)| name == "arg").map(|(_, value)| value.as_str()).collect();
        if arguments.is_empty() || arguments.len() > MAX_ARGUMENTS {
            return Err(IpfsError::bad(format!(
                "the request has {} arguments, but must have 1 to {MAX_ARGUMENTS}",
                arguments.len()
            )));
        }
        arguments.into_iter().map(cid).collect()
    }

    /// Returns the CID that is the only argument of a command. Returns an error if there is not exactly one argument.
    pub(super) fn cid(&self) -> Result<Cid, IpfsError> {
        match self.cids()?[..] {
            [cid] => Ok(cid),
            _ => Err(IpfsError::bad("the request has several arguments, but must have one")),
        }
    }
}

/// The value of a boolean option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    On,
    Off,
}

/// Parses a CID, with or without the prefix `/ipfs/`. Returns an error if the CID has a codec or a hash function that
/// this program does not support.
pub(super) fn cid(text: &str) -> Result<Cid, IpfsError> {
    let plain = text.strip_prefix("/ipfs/").unwrap_or(text).trim_end_matches('/');
    let cid = Cid::try_from(plain).map_err(|error| IpfsError::bad(format!("{text:?}: {error}")))?;
    if inline_bytes(&cid).is_none() || Codec::stated(&cid).is_none() {
        Codec::of(&cid)?;
    }
    Ok(cid)
}
