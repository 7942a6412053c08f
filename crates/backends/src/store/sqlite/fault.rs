//! What goes wrong inside, and what the outside hears of it.

use muster_ca::ports::StoreError;
use rusqlite::ErrorCode;

/// Extended code of "the shared memory file cannot grow", which SQLite reports as an I/O error
/// (`SQLITE_IOERR_SHMSIZE`).
const SHM_CANNOT_GROW: i32 = 10 | (19 << 8);

/// A refusal concerns one change or one question; a fault of SQLite concerns all that share the transaction.
#[derive(Debug)]
pub(super) enum Fault {
    Refused(StoreError),
    Sql(rusqlite::Error),
}

impl Fault {
    pub(super) fn damaged(what: &str) -> Self {
        Self::Refused(StoreError::Damaged(format!("a stored {what} cannot be read")))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(why) => why,
            Fault::Sql(error) => explain(&error),
        }
    }
}

/// SQLite's messages name tables and columns, never values, so they may be shown.
pub(super) fn explain(error: &rusqlite::Error) -> StoreError {
    let text = || format!("the database says: {error}");
    match error.sqlite_error_code() {
        Some(_) if is_full(error) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text()),
        Some(_) => StoreError::Unavailable(text()),
        // Without a code it is a value that does not have the type or the size that its column promises.
        None => StoreError::Damaged(text()),
    }
}

/// Whether the disk has no room.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|inner| inner.code == ErrorCode::DiskFull || inner.extended_code == SHM_CANNOT_GROW)
}
