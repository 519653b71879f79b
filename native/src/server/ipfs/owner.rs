//! Distinguishes the requests of the node's owner from all other requests. The owner sends a secret token with each
//! request. The token is in a file in the node's folder.
//!
//! The address of a client does not show whether the client is the owner: behind a reverse proxy, every request comes
//! from this machine.

use super::{
    error::IpfsError,
    query::{Flag, KuboQuery},
    state::IpfsState,
};
use crate::{output::hex, paths};
use anyhow::{Context, Result, ensure};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};
use sha2::{Digest, Sha256};
use std::{convert::Infallible, fs, path::Path, sync::Arc};

/// The name of the file with the token, in the node's folder.
const FILE: &str = "owner-token";
/// The number of characters of a token.
const CHARACTERS: usize = 32;

/// The secret that proves that a request comes from the node's owner.
pub(crate) struct OwnerToken {
    /// The SHA-256 digest of the token. Digests are compared instead of tokens, so that the time of a comparison
    /// reveals nothing about the token.
    digest: [u8; 32],
    /// The path of the file that contains the token, for error messages.
    file: String,
}

impl OwnerToken {
    /// Reads the token in the node's folder, and creates it if there is none. On Unix, only the current user can read
    /// its file.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            let mut bytes = [0; CHARACTERS / 2];
            getrandom::fill(&mut bytes).context("asking the system for random bytes")?;
            paths::write_private(&path, hex(&bytes).as_bytes())?;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let token = text.trim();
        ensure!(
            token.len() >= CHARACTERS,
            "{} does not contain a token of at least {CHARACTERS} characters; delete it, and the node creates another",
            path.display()
        );
        Ok(Self::new(token, path.display().to_string()))
    }

    /// Returns bytes that identify the node and reveal nothing about the token.
    pub(super) fn public_id(&self) -> [u8; 32] {
        Sha256::new().chain_update("r3mes/peer-id/1").chain_update(self.digest).finalize().into()
    }

    pub(super) fn new(token: &str, file: String) -> Self {
        Self { digest: Sha256::digest(token).into(), file }
    }
}

/// Who has sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The node's owner, who may store, read, pin, unpin and delete blocks.
    Owner,
    /// Anybody else, who may store and read blocks. The field is the path of the file that contains the owner's token.
    /// Error messages state this path.
    Anyone(String),
}

impl FromRequestParts<Arc<IpfsState>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, ipfs: &Arc<IpfsState>) -> Result<Self, Infallible> {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|given| given.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let is_owner = token.is_some_and(|token| Sha256::digest(token)[..] == ipfs.owner.digest);
        Ok(if is_owner { Self::Owner } else { Self::Anyone(ipfs.owner.file.clone()) })
    }
}

impl Caller {
    /// Returns an error with the HTTP status 403 unless the caller is the node's owner.
    pub(super) fn only_owner(&self) -> Result<(), IpfsError> {
        match self {
            Self::Owner => Ok(()),
            Self::Anyone(file) => Err(IpfsError::new(
                StatusCode::FORBIDDEN,
                format!(
                    "only the owner of this node may pin and delete blocks; send the header Authorization: Bearer with \
                     the token in {file}, or store blocks without pinning them"
                ),
            )),
        }
    }

    /// Returns whether a command should pin the blocks that it stores. This is the value of the command's option with
    /// the name `option`. If the option is missing, the value is `default` for the owner, and `Off` for all other
    /// callers. Returns an error if a caller other than the owner has switched the option on.
    pub(super) fn pins(&self, query: &KuboQuery, option: &str, default: Flag) -> Result<Flag, IpfsError> {
        let default = if *self == Self::Owner { default } else { Flag::Off };
        let pin = query.flag(option, default)?;
        if pin == Flag::On {
            self.only_owner()?;
        }
        Ok(pin)
    }
}
