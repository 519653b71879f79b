//! The store's file appears whole or not at all: redb refuses one whose making was cut short.

use super::{BYTES, FORMAT, HELD, LOOSE, NUMBERS, QUEUE, ROOTS};
use crate::paths;
use anyhow::{Context, Result, ensure};
use redb::{Database, ReadableTable};
use std::{fs, path::Path};

/// The form of the tables, and which blocks a pin holds: with other rules the counts would be others.
const THIS_FORMAT: u64 = 1;

/// Opens the database at `path`; where there is none, an empty one is made aside and renamed.
pub(super) fn open(path: &Path) -> Result<Database> {
    if !fs::exists(path)? {
        let unfinished = path.with_extension(format!("new-{}", std::process::id()));
        let database = Database::create(&unfinished)?;
        prepare(&database)?;
        drop(database);
        // no second process overwrites what a first one made meanwhile
        let made = fs::hard_link(&unfinished, path);
        fs::remove_file(&unfinished)?;
        ensure!(made.is_ok() || fs::exists(path)?, "making {}: {made:?}", path.display());
        paths::sync_folder(path)?;
    }
    Database::open(path).context("it is damaged, or another process uses it")
}

/// Makes the tables that are not there.
pub(super) fn prepare(database: &Database) -> Result<()> {
    let write = database.begin_write()?;
    write.open_table(BYTES)?;
    write.open_table(HELD)?;
    write.open_table(LOOSE)?;
    write.open_table(QUEUE)?;
    write.open_table(ROOTS)?;
    let mut numbers = write.open_table(NUMBERS)?;
    let found = numbers.get(FORMAT)?.map(|format| format.value());
    ensure!(found.is_none_or(|format| format == THIS_FORMAT), "its format is {found:?}, {THIS_FORMAT} is read");
    numbers.insert(FORMAT, THIS_FORMAT)?;
    drop(numbers);
    Ok(write.commit()?)
}
