//! Keys of this machine: the session's, which mines and owns nothing, and the operator's, which speaks for a node here.

use crate::paths;
use anyhow::{Context, Result};
use r3mes_wgpu::tx::SessionKey;
use std::{fs, path::Path};
use zeroize::Zeroizing;

const SESSION: &str = "session.key";
const OPERATOR: &str = "operator.key";

/// Made once, readable by its user alone.
pub(crate) fn session_key(data_dir: &Path) -> Result<SessionKey> {
    Ok(SessionKey::new(&*kept(&data_dir.join(SESSION))?)?)
}

/// The secret of the operator of a node here; made once, readable by its user alone.
pub(crate) fn operator_secret(data_dir: &Path) -> Result<Zeroizing<[u8; 32]>> {
    kept(&data_dir.join(OPERATOR))
}

/// The session's key, if there is one.
pub(crate) fn made(data_dir: &Path) -> Result<Option<SessionKey>> {
    let secret = read(&data_dir.join(SESSION))?;
    Ok(secret.map(|secret| SessionKey::new(&secret)).transpose()?)
}

fn kept(path: &Path) -> Result<Zeroizing<[u8; 32]>> {
    if let Some(secret) = read(path)? {
        return Ok(secret);
    }
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut secret[..]).context("asking the system for random bytes")?;
    paths::write_private(path, &secret[..])?;
    Ok(secret)
}

fn read(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = Zeroizing::new(fs::read(path).with_context(|| format!("reading {}", path.display()))?);
    let secret =
        <[u8; 32]>::try_from(&bytes[..]).ok().with_context(|| format!("{} is not 32 bytes", path.display()))?;
    Ok(Some(Zeroizing::new(secret)))
}
