//! The keys of this machine. The session key signs what a miner sends, and owns no coins. The operator key signs for
//! the node on this machine.

use crate::paths;
use anyhow::{Context, Result};
use r3mes_wgpu::tx::SessionKey;
use std::{fs, path::Path};
use zeroize::Zeroizing;

const SESSION: &str = "session.key";
const OPERATOR: &str = "operator.key";

/// Returns the session key. It is created on first use. On Unix, only the current user can read its file.
pub(crate) fn session_key(data_dir: &Path) -> Result<SessionKey> {
    Ok(SessionKey::new(&*read_or_create(&data_dir.join(SESSION))?)?)
}

/// Returns the secret bytes of the operator key. The key is created on first use. On Unix, only the current user can
/// read its file.
pub(crate) fn operator_secret(data_dir: &Path) -> Result<Zeroizing<[u8; 32]>> {
    read_or_create(&data_dir.join(OPERATOR))
}

/// Returns the session key, or `None` if this data folder has none yet.
pub(crate) fn existing_session_key(data_dir: &Path) -> Result<Option<SessionKey>> {
    let secret = read(&data_dir.join(SESSION))?;
    Ok(secret.map(|secret| SessionKey::new(&secret)).transpose()?)
}

fn read_or_create(path: &Path) -> Result<Zeroizing<[u8; 32]>> {
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
        <[u8; 32]>::try_from(&bytes[..]).ok().with_context(|| format!("{} is not a 32-byte key", path.display()))?;
    Ok(Some(Zeroizing::new(secret)))
}
