//! Opening: the file, its pragmas, its schema.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault;

/// `Must` in ASCII: what `file(1)` and we know the database by.
const APPLICATION_ID: i32 = 0x4d75_7374;
/// One script a schema version, in order. A script that was released is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
/// How long a connection waits for another one's lock. Ours do not meet; a visitor with the `sqlite3` shell may.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that are kept prepared, a connection.
const STATEMENTS: usize = 64;
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 1024;
/// The log is cut to this when it starts again: what it needs under load, since making a file grow costs time.
const LOG_LIMIT_BYTES: i64 = 160 * 1024 * 1024;

/// The VFS that keeps the log's index in this process's memory, where nobody else can look into the database.
const ALONE: &str = "unix-excl";

/// A database file, and how its connections are opened.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: PathBuf,
    /// The log's index is in memory, since there is no room on the disk for its file.
    alone: bool,
}

/// Why a database could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no file.
    #[error("there is no database {}", .0.display())]
    Missing(PathBuf),
    /// There is one already, and it is never overwritten.
    #[error("there is a database {} already", .0.display())]
    Exists(PathBuf),
    /// Something else made it, or making it was interrupted.
    #[error("{} is not a Muster database", .0.display())]
    Foreign(PathBuf),
    /// A later Muster made it.
    #[error(
        "the database {} has schema version {found}, and this muster knows versions up to {known}: use the muster that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest that is known here.
        known: usize,
    },
    /// The file cannot be made, read or written.
    #[error("the database file {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A thread for it cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// SQLite cannot use it.
    #[error("the database says: {0}")]
    Sql(#[from] rusqlite::Error),
}

/// Makes a database, readable by its owner alone, whose audit chain is written under this seed in hexadecimal.
/// What an interrupted first run left behind is completed.
pub(super) fn create(path: &Path, writer_seed: [u8; 16]) -> Result<(Database, Connection), OpenError> {
    let failed = |why| OpenError::File {
        path: path.to_owned(),
        why,
    };
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let database = Database::at(path);
    let mut conn = database.writer()?;
    if database.version(&conn)? != 0 {
        return Err(OpenError::Exists(path.to_owned()));
    }
    let name: String = writer_seed.iter().map(|byte| format!("{byte:02x}")).collect();
    migrate(&mut conn, 0, Some(&name))?;
    // Without this a power cut could take the whole file, and with it all that was called durable.
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok((database, conn))
}

/// Opens a database for writing and brings its schema up to date. On a full disk it can be read all the same.
pub(super) fn existing(path: &Path) -> Result<(Database, Connection), OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let shared = Database::at(path);
    match shared.clone().up_to_date() {
        Err(OpenError::Sql(why)) if fault::is_full(&why) => Database {
            alone: true,
            ..shared
        }
        .up_to_date(),
        other => other,
    }
}

impl Database {
    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            alone: false,
        }
    }

    fn up_to_date(self) -> Result<(Self, Connection), OpenError> {
        let mut conn = self.writer()?;
        match self.version(&conn)? {
            0 => Err(OpenError::Foreign(self.path)),
            found if found > MIGRATIONS.len() => Err(OpenError::Newer {
                path: self.path,
                found,
                known: MIGRATIONS.len(),
            }),
            found => {
                migrate(&mut conn, found, None)?;
                Ok((self, conn))
            }
        }
    }

    /// A connection that writes: the writer's own, or the one that moves the log into the database.
    pub(super) fn writer(&self) -> Result<Connection, OpenError> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
        conn.pragma_update(None, "synchronous", "full")?;
        // Whole changes are checked before they are written; nothing is left for foreign keys to find.
        conn.pragma_update(None, "foreign_keys", false)?;
        conn.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(conn)
    }

    /// A connection that only reads. The writer's must be open already, which keeps the log's index in being.
    pub(super) fn reader(&self) -> Result<Connection, OpenError> {
        self.open(OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)
    }

    fn open(&self, access: OpenFlags, cache_kib: i64) -> Result<Connection, OpenError> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = if self.alone {
            Connection::open_with_flags_and_vfs(&self.path, flags, ALONE)?
        } else {
            Connection::open_with_flags(&self.path, flags)?
        };
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        conn.pragma_update(None, "temp_store", "memory")?;
        // The first that looks into the file.
        let not_a_database = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign(self.path.clone()),
            _ => error.into(),
        };
        conn.pragma_update(None, "cache_size", -cache_kib)
            .map_err(not_a_database)?;
        Ok(conn)
    }

    /// The schema's version; 0 for a file with nothing in it.
    fn version(&self, conn: &Connection) -> Result<usize, OpenError> {
        let number = |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
        let version = number("user_version")?;
        let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if version == 0 && tables == 0 {
            return Ok(0);
        }
        let foreign = || OpenError::Foreign(self.path.clone());
        if number("application_id")? != APPLICATION_ID {
            return Err(foreign());
        }
        usize::try_from(version).map_err(|_| foreign())
    }
}

/// Applies what is missing, all of it or nothing.
fn migrate(conn: &mut Connection, from: usize, first_writer: Option<&str>) -> Result<(), OpenError> {
    if from == MIGRATIONS.len() {
        return Ok(());
    }
    let change = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for script in MIGRATIONS.iter().skip(from) {
        change.execute_batch(script)?;
    }
    if let Some(name) = first_writer {
        change.execute("INSERT INTO writers (id, name) VALUES (1, ?1)", [name])?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID)?;
    change.pragma_update(
        None,
        "user_version",
        i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX),
    )?;
    change.commit()?;
    Ok(())
}
