//! Creates and locks the database file of a chain.
//!
//! The database library redb cannot open a file whose creation was interrupted. A new file is therefore created under a
//! temporary name, and is renamed when it is complete.

use crate::{database::builder, paths};
use anyhow::{Context, Result, bail};
use redb::Database;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// The number of attempts to lock the file. More than one may be needed: a child process that was forked while its
/// parent held the lock can keep the lock for a moment after the parent has released it.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Locks the ledger file at `path` for this process. Dropping the returned file releases the lock.
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
    bail!("another process uses the ledger; stop that process or pass another --data-dir")
}

/// Creates the database at `path` if there is none. Calls the function `make` to write the initial contents of the new
/// database. The caller must hold the lock on this file.
pub(super) fn create(path: &Path, make: impl FnOnce(Database) -> Result<()>) -> Result<()> {
    if !fs::exists(path)? {
        let unfinished = path.with_extension("new");
        if fs::exists(&unfinished)? {
            fs::remove_file(&unfinished)?;
        }
        make(builder().create(&unfinished)?)?;
        fs::rename(&unfinished, path)?;
        paths::sync_folder(path)?;
    }
    Ok(())
}
