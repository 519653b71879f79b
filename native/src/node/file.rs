//! The ledger's file appears whole or not at all: it is made beside its place, then renamed into it.
//!
//! redb refuses a file whose making was cut short, so it must never stand where a ledger is looked for.

use crate::paths;
use anyhow::{Context, Result, bail};
use redb::Database;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// A lock just given up may still be held for a moment by a process that was being forked meanwhile.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Takes the ledger at `path` for this process; the lock goes with the file returned.
pub(super) fn lock(path: &Path) -> Result<File> {
    let lock = path.with_extension("lock");
    let file = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", lock.display()));
            }
        }
    }
    bail!("another process uses it")
}

/// Opens the database at `path`, made by `make` if there is none. The caller holds the lock.
pub(super) fn open(path: &Path, make: impl FnOnce(Database) -> Result<()>) -> Result<Database> {
    if !fs::exists(path)? {
        let unfinished = path.with_extension("new");
        if fs::exists(&unfinished)? {
            fs::remove_file(&unfinished)?;
        }
        make(Database::create(&unfinished)?)?;
        fs::rename(&unfinished, path)?;
        paths::sync_folder(path)?;
    }
    Ok(Database::open(path)?)
}
