//! Opening: the file, its pragmas, its schema.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

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
pub(super) fn create(path: &Path, writer_seed: [u8; 16]) -> Result<Connection, OpenError> {
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
    let mut conn = writer(path)?;
    if version(&conn, path)? != 0 {
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
    Ok(conn)
}

/// Opens a database for writing and brings its schema up to date.
pub(super) fn existing(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let mut conn = writer(path)?;
    match version(&conn, path)? {
        0 => Err(OpenError::Foreign(path.to_owned())),
        found if found > MIGRATIONS.len() => Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: MIGRATIONS.len(),
        }),
        found => {
            migrate(&mut conn, found, None)?;
            Ok(conn)
        }
    }
}

/// A connection that writes: the writer's own, or the one that moves the log into the database.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    let not_a_database = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign(path.to_owned()),
        _ => error.into(),
    };
    conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        .map_err(not_a_database)?;
    conn.pragma_update(None, "synchronous", "full")?;
    // Whole changes are checked before they are written; nothing is left for foreign keys to find.
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// A connection that only reads. The writer's must be open already, which keeps the log's index in being.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(conn)
}

/// The schema's version; 0 for a file with nothing in it.
fn version(conn: &Connection, path: &Path) -> Result<usize, OpenError> {
    let number = |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let version = number("user_version")?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables == 0 {
        return Ok(0);
    }
    if number("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    usize::try_from(version).map_err(|_| OpenError::Foreign(path.to_owned()))
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
