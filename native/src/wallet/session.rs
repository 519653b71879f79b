//! The session's key of this machine: it mines, and owns nothing.

use super::super::place;
use anyhow::{Context, Result};
use r3mes_wgpu::chain::SessionKey;
use std::{fs, path::Path};
use zeroize::Zeroizing;

const FILE: &str = "session.key";

/// Made once, readable by its user alone.
pub(crate) fn session_key(data_dir: &Path) -> Result<SessionKey> {
    if let Some(key) = made(data_dir)? {
        return Ok(key);
    }
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut secret[..]).context("asking the system for random bytes")?;
    place::write_private(&data_dir.join(FILE), &secret[..])?;
    Ok(SessionKey::new(&secret)?)
}

/// The key, if there is one.
pub(super) fn made(data_dir: &Path) -> Result<Option<SessionKey>> {
    let path = data_dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = Zeroizing::new(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    let secret =
        <&[u8; 32]>::try_from(&bytes[..]).ok().with_context(|| format!("{} is not 32 bytes", path.display()))?;
    Ok(Some(SessionKey::new(secret)?))
}
