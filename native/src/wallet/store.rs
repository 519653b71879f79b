//! Wallets on disk. Each wallet is a keystore file `wallets/<name>.json` in the data folder. On Unix, only the current
//! user can read these files.

use super::keystore::{Keystore, MAX_BYTES};
use crate::{output::hex, paths};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// The subfolder `wallets` of a data folder, with one file for each wallet.
pub(crate) struct WalletStore(PathBuf);

impl WalletStore {
    /// Returns the wallet store in a data folder. The subfolder `wallets` is created when the first wallet is saved.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("wallets"))
    }

    /// Returns the names of all wallets in alphabetical order.
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

    /// Reads the keystore of the wallet with this name. Returns an error if there is no such wallet.
    pub(crate) fn read(&self, name: &str) -> Result<Keystore> {
        let path = self.path(name)?;
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!(
                    "there is no wallet {name}: `wallet new {name}` creates one, and `wallet import {name}` restores \
                     one from its mnemonic"
                )
            }
            file => file.with_context(|| format!("reading {}", path.display()))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", path.display()))?;
        Keystore::read(&bytes).with_context(|| format!("reading the wallet {}", path.display()))
    }

    /// Checks that a new wallet can have this name. Returns an error if the name is invalid or a wallet with this name
    /// exists.
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        ensure!(
            !path.exists(),
            "the file {} already exists, and a wallet is never overwritten; choose another name",
            path.display()
        );
        Ok(())
    }

    /// Saves a new wallet durably and returns the path of its file. Returns an error if a wallet with this name exists.
    pub(crate) fn keep(&self, name: &str, keystore: &Keystore) -> Result<PathBuf> {
        let path = self.path(name)?;
        paths::private_folder(&self.0)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).context("asking the system for random bytes")?;
        let partial = self.0.join(format!(".{name}.{}.partial", hex(&random)));
        paths::write_private(&partial, keystore.to_text().as_bytes())?;
        // a hard link never replaces an existing file, while a rename would
        let linked = fs::hard_link(&partial, &path);
        let removed = fs::remove_file(&partial);
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!(
                    "the file {} already exists, and a wallet is never overwritten; choose another name",
                    path.display()
                )
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
    ensure!(letters && (1..=64).contains(&name.len()), "a wallet's name has 1 to 64 characters of a-z, 0-9 and -");
    Ok(())
}
