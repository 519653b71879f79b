//! A command's options and arguments, as they stand in its query.

use super::Refusal;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use r3mes_wgpu::store::{Cid, Codec, version_1};
use std::str::FromStr;

/// Most arguments of one command.
const MAX_ARGUMENTS: usize = 1024;

/// Names and values; `arg` may come several times.
pub(super) struct Options(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Options {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(pairs) = Query::from_request_parts(parts, state).await.map_err(Refusal::bad)?;
        Ok(Self(pairs))
    }
}

impl Options {
    /// The value of an option; the last one counts.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str, default: Flag) -> Result<Flag, Refusal> {
        match self.text(name) {
            None => Ok(default),
            Some("" | "true" | "1") => Ok(Flag::On),
            Some("false" | "0") => Ok(Flag::Off),
            Some(other) => Err(Refusal::bad(format!("{name}={other}: true or false is meant"))),
        }
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let wrong = |text: &str| Refusal::bad(format!("{name}={text}: a number is meant"));
        self.text(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// The one value that an option may have here, if it is given at all.
    pub(super) fn only(&self, name: &str, value: &str) -> Result<(), Refusal> {
        match self.text(name) {
            Some(other) if other != value => Err(Refusal::bad(format!("{name}={other}: only {value} is done here"))),
            _ => Ok(()),
        }
    }

    /// The arguments, CIDs or `/ipfs/` and a CID, in version 1.
    pub(super) fn cids(&self) -> Result<Vec<Cid>, Refusal> {
        let arguments: Vec<&str> =
            self.0.iter().filter(|(name, _)| name == "arg").map(|(_, value)| value.as_str()).collect();
        if arguments.is_empty() || arguments.len() > MAX_ARGUMENTS {
            return Err(Refusal::bad(format!("{} arguments; 1 to {MAX_ARGUMENTS} are taken", arguments.len())));
        }
        arguments.into_iter().map(cid).collect()
    }

    /// The one argument.
    pub(super) fn cid(&self) -> Result<Cid, Refusal> {
        match self.cids()?[..] {
            [cid] => Ok(cid),
            _ => Err(Refusal::bad("one argument is taken")),
        }
    }
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    On,
    Off,
}

/// Reads a CID that names a block here, in version 1.
pub(super) fn cid(text: &str) -> Result<Cid, Refusal> {
    let plain = text.strip_prefix("/ipfs/").unwrap_or(text);
    let cid = Cid::try_from(plain).map(version_1).map_err(|error| Refusal::bad(format!("{text:?}: {error}")))?;
    Codec::of(&cid)?;
    Ok(cid)
}
