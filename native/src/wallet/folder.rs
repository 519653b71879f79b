//! Wallets on disk: `wallets/<name>.json` in the data folder, one keystore a file, for its user alone.

use super::keystore::{Keystore, MAX_BYTES};
use crate::{output::hex, paths};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// The folder of all wallets.
pub(crate) struct Wallets(PathBuf);

impl Wallets {
    /// Below a data folder; it need not be there yet.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("wallets"))
    }

    /// Names of what is kept, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("reading {}", self.0.display()))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("reading {}", self.0.display()))?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            names.extend(name.filter(|name| check_name(name).is_ok()).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// A wallet by its name.
    pub(crate) fn read(&self, name: &str) -> Result<Keystore> {
        let path = self.path(name)?;
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!(
                    "there is no wallet {name}: `wallet new {name}` makes one, `wallet import {name}` takes a mnemonic"
                )
            }
            file => file.with_context(|| format!("reading {}", path.display()))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", path.display()))?;
        Keystore::read(&bytes).with_context(|| format!("the wallet {}", path.display()))
    }

    /// Fails where a wallet of this name could not be kept.
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        ensure!(!path.exists(), "{} is there already: a wallet is never overwritten", path.display());
        Ok(())
    }

    /// Keeps a new wallet: written aside, synced, and then given its name, unless that is taken.
    pub(crate) fn keep(&self, name: &str, keystore: &Keystore) -> Result<PathBuf> {
        let path = self.path(name)?;
        paths::private_folder(&self.0)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).context("asking the system for random bytes")?;
        let aside = self.0.join(format!(".{name}.{}.partial", hex(&random)));
        paths::write_private(&aside, keystore.to_text().as_bytes())?;
        // unlike a rename, a link never takes the place of what is there
        let linked = fs::hard_link(&aside, &path);
        let removed = fs::remove_file(&aside);
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there already: a wallet is never overwritten", path.display())
            }
            linked => linked.and(removed).with_context(|| format!("writing {}", path.display()))?,
        }
        #[cfg(unix)]
        fs::File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("writing {}", self.0.display()))?;
        Ok(path)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.0.join(format!("{name}.json")))
    }
}

fn check_name(name: &str) -> Result<()> {
    let letters = name.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-');
    ensure!(letters && (1..=64).contains(&name.len()), "a wallet's name is 1 to 64 of a-z, 0-9 and -");
    Ok(())
}
