//! Creates and opens the file of a block store. A new file has a temporary name until it is complete, because the
//! database redb refuses a file whose creation was interrupted.

use super::tables::{BYTES, FORMAT, HELD, NUMBERS, QUEUE, ROOTS, UNPINNED};
use crate::{database::builder, paths};
use anyhow::{Context, Result, ensure};
use redb::{Database, ReadableTable, WriteTransaction};
use std::{fs, path::Path};

/// The version of the file format. A change of the tables requires a new version. So does a change of the rule that
/// decides which blocks a pin keeps, because the file contains, for each block, the number of pins that keep it.
const THIS_FORMAT: u64 = 1;

/// Opens the database at `path`. If there is no file, creates an empty database under a temporary name and moves it to
/// `path`.
pub(super) fn open(path: &Path) -> Result<Database> {
    if !fs::exists(path)? {
        let unfinished = path.with_extension(format!("new-{}", std::process::id()));
        let database = builder().create(&unfinished)?;
        let write = database.begin_write()?;
        prepare(&write)?;
        write.commit()?;
        drop(database);
        // a hard link does not replace a file that another process has created meanwhile
        let linked = fs::hard_link(&unfinished, path);
        fs::remove_file(&unfinished)?;
        ensure!(linked.is_ok() || fs::exists(path)?, "creating {}: {linked:?}", path.display());
        paths::sync_folder(path)?;
    }
    builder().open(path).context("the file is damaged or in use by another process")
}

/// Creates the tables that do not exist yet, and checks the version of the file format.
pub(super) fn prepare(write: &WriteTransaction) -> Result<()> {
    write.open_table(BYTES)?;
    write.open_table(HELD)?;
    write.open_table(UNPINNED)?;
    write.open_table(QUEUE)?;
    write.open_table(ROOTS)?;
    let mut numbers = write.open_table(NUMBERS)?;
    let found = numbers.get(FORMAT)?.map(|format| format.value());
    ensure!(
        found.is_none_or(|format| format == THIS_FORMAT),
        "the file has format version {found:?}; this program reads version {THIS_FORMAT}"
    );
    numbers.insert(FORMAT, THIS_FORMAT)?;
    Ok(())
}
