//! A redb database that recovers from disk errors, for example after the disk was full.
//!
//! After an error, redb refuses to use the open file any further, because it no longer knows what is on disk. The file
//! itself contains every acknowledged transaction. Therefore the file is opened again before the next transaction.

use anyhow::{Context, Error, Result, bail};
use redb::{
    Builder, CommitError, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, StorageError,
    TableError, TransactionError, WriteTransaction,
};
use std::{
    sync::{Mutex, PoisonError, RwLock},
    thread::sleep,
    time::Duration,
};

/// The number of attempts to open the file again. More than one may be needed, because the file stays locked until the
/// transactions that still read from it have ended.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// The memory in bytes that redb may use as the cache of one database file. By default it uses up to 1 GiB.
const CACHE_BYTES: usize = 16 << 20;

/// Returns the settings with which all database files are created and opened.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A function that opens a database file. It is called again after each disk error.
type Open = Box<dyn Fn() -> Result<Database> + Send + Sync>;

/// A database that is opened again after a disk error.
pub(crate) struct RecoveringDatabase {
    /// The open database, or `None` if the last attempt to open the file again failed.
    database: RwLock<Option<Database>>,
    open: Open,
    /// The disk error with which the last write transaction failed, or `None` if it succeeded.
    fault: Mutex<Option<String>>,
}

impl RecoveringDatabase {
    /// Opens a database with the function `open`, which is called again after a disk error.
    pub(crate) fn open(open: impl Fn() -> Result<Database> + Send + Sync + 'static) -> Result<Self> {
        Ok(Self { database: RwLock::new(Some(open()?)), open: Box::new(open), fault: Mutex::default() })
    }

    /// Wraps a database that cannot be opened again, for example because it is in memory.
    pub(crate) fn once(database: Database) -> Self {
        let open = || bail!("the database can no longer be used after a disk error, because it cannot be opened again");
        Self { database: RwLock::new(Some(database)), open: Box::new(open), fault: Mutex::default() }
    }

    /// Begins a read transaction. It sees the state of the database at this moment, even if other transactions write
    /// later.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction> {
        self.begin(Database::begin_read)
    }

    /// Runs `work` in a write transaction and commits the transaction. If this function succeeds, everything that
    /// `work` wrote is on disk. If this function returns an error, nothing is written. First waits until no other write
    /// transaction is open.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T>) -> Result<T> {
        let run = || -> Result<T> {
            let mut write = self.begin(Database::begin_write)?;
            write.set_durability(Durability::Immediate)?;
            let done = work(&write)?;
            write.commit()?;
            Ok(done)
        };
        let result = run();
        let fault = match &result {
            Ok(_) => None,
            Err(error) if is_of_database(error) => Some(format!("{error:#}")),
            Err(_) => return result,
        };
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        result
    }

    /// Returns the disk error with which the last write transaction failed, or `None` if it succeeded.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin<T>(&self, begin: impl Fn(&Database) -> Result<T, TransactionError>) -> Result<T> {
        if let Some(database) = self.database.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            match begin(database) {
                Err(TransactionError::Storage(StorageError::PreviousIo)) => {}
                begun => return Ok(begun?),
            }
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // another thread may have opened the file meanwhile
        if let Some(Ok(begun)) = database.as_ref().map(&begin) {
            return Ok(begun);
        }
        *database = None;
        let opened = database.insert(self.open_again().context("opening the database again after an error")?);
        Ok(begin(opened)?)
    }

    fn open_again(&self) -> Result<Database> {
        for _ in 1..ATTEMPTS {
            match (self.open)() {
                Ok(database) => return Ok(database),
                Err(_) => sleep(PAUSE),
            }
        }
        (self.open)()
    }
}

/// Returns whether an error comes from the database or its disk, and not from the caller's work in the transaction. An
/// operation that failed with an error of the database or its disk may succeed later.
pub(crate) fn is_of_database(error: &Error) -> bool {
    error.is::<StorageError>()
        || error.is::<CommitError>()
        || error.is::<TransactionError>()
        || error.is::<TableError>()
        || error.is::<DatabaseError>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{StorageBackend, TableDefinition, backends::InMemoryBackend};
    use std::{
        io::{Error as IoError, ErrorKind, Result as IoResult},
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };

    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

    /// A simulated disk that keeps its bytes in memory. While the disk is full, every write fails.
    #[derive(Clone, Debug, Default)]
    struct FillingDisk {
        bytes: Arc<InMemoryBackend>,
        is_full: Arc<AtomicBool>,
        /// The number of bytes that were read from the disk.
        read_bytes: Arc<AtomicUsize>,
    }

    impl FillingDisk {
        fn set_full(&self, is_full: bool) {
            self.is_full.store(is_full, Ordering::SeqCst);
        }

        fn database(&self) -> RecoveringDatabase {
            let disk = self.clone();
            RecoveringDatabase::open(move || Ok(Database::builder().create_with_backend(disk.clone())?)).unwrap()
        }

        fn writable(&self) -> IoResult<()> {
            match self.is_full.load(Ordering::SeqCst) {
                true => Err(IoError::new(ErrorKind::StorageFull, "the simulated disk is full")),
                false => Ok(()),
            }
        }
    }

    impl StorageBackend for FillingDisk {
        fn len(&self) -> IoResult<u64> {
            self.bytes.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
            self.read_bytes.fetch_add(out.len(), Ordering::SeqCst);
            self.bytes.read(offset, out)
        }

        fn set_len(&self, len: u64) -> IoResult<()> {
            self.writable()?;
            self.bytes.set_len(len)
        }

        fn sync_data(&self) -> IoResult<()> {
            self.writable()?;
            self.bytes.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
            self.writable()?;
            self.bytes.write(offset, data)
        }
    }

    #[test]
    fn a_database_works_again_once_the_disk_has_space() {
        let disk = FillingDisk::default();
        let database = disk.database();
        let insert = |key: u64| -> Result<()> {
            database.write(|write| Ok(write.open_table(TABLE)?.insert(key, &[7; 5000][..]).map(drop)?))
        };
        insert(1).unwrap();
        disk.set_full(true);
        for key in 2..5 {
            insert(key).unwrap_err();
            assert!(database.fault().is_some());
        }
        disk.set_full(false);
        insert(5).unwrap();
        assert_eq!(database.fault(), None);
        let read = database.begin_read().unwrap().open_table(TABLE).unwrap();
        let found = [1, 2, 5].map(|key| read.get(key).unwrap().is_some());
        assert_eq!(found, [true, false, true], "what failed is not there, and nothing else is lost");
    }

    #[test]
    fn the_cache_of_a_database_file_does_not_exceed_its_limit() {
        let disk = FillingDisk::default();
        let database = builder().create_with_backend(disk.clone()).unwrap();
        let keys = 0..(CACHE_BYTES as u64 >> 20) * 2;
        for key in keys.clone() {
            let write = database.begin_write().unwrap();
            write.open_table(TABLE).unwrap().insert(key, &[7; 1 << 20][..]).unwrap();
            write.commit().unwrap();
        }
        let read_all = || {
            let before = disk.read_bytes.load(Ordering::SeqCst);
            let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
            keys.clone().for_each(|key| assert_eq!(table.get(key).unwrap().unwrap().value().len(), 1 << 20));
            disk.read_bytes.load(Ordering::SeqCst) - before
        };
        read_all();
        let again = read_all();
        assert!(again >= CACHE_BYTES, "the cache contains more than half of the data: {again} bytes were read again");
    }
}
