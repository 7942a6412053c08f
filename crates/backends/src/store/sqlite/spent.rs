//! Used one-time tokens. Their hashes are random, so each one that is sorted in by itself costs a page in the log. They
//! are written one behind the other first, and sorted in many at once.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{first, millis, run};

/// So many wait, before the next batch sorts them in.
const MOST: usize = if cfg!(test) { 20 } else { 1_024 };

/// The hash of a token.
pub(super) type Token = [u8; 32];

/// The tokens that wait to be sorted in, as they are on the disk.
#[derive(Debug, Default)]
pub(super) struct Waiting(HashSet<Token>);

impl Waiting {
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare("SELECT token FROM spent_lately")?;
        let tokens = statement.query_map([], |row| row.get(0))?;
        Ok(Self(tokens.collect::<Result<_, _>>()?))
    }

    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn holds(&self, token: &Token) -> bool {
        self.0.contains(token)
    }

    pub(super) fn add(&mut self, spent: impl IntoIterator<Item = Token>) {
        self.0.extend(spent);
    }
}

/// Sorts in all that wait.
pub(super) fn sort_in(conn: &Connection) -> Result<(), Fault> {
    run(
        conn,
        "INSERT INTO spent (expires, token) SELECT expires, token FROM spent_lately ORDER BY expires, token",
        [],
    )?;
    run(conn, "DELETE FROM spent_lately", [])?;
    Ok(())
}

pub(super) fn add(conn: &Connection, token: &Token, expires: Timestamp) -> Result<(), Fault> {
    let sql = "INSERT INTO spent_lately (expires, token) VALUES (?1, ?2)";
    run(conn, sql, params![millis(expires), token]).map(drop)
}

/// Whether it is among those that are sorted in.
pub(super) fn is_sorted_in(conn: &Connection, token: &Token, expires: Timestamp) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM spent WHERE expires = ?1 AND token = ?2";
    Ok(first(conn, sql, params![millis(expires), token], |_| Ok(()))?.is_some())
}

/// Whether it was spent. Looks through all that wait; the writer knows them by heart.
pub(super) fn is_spent(conn: &Connection, token: &Token, expires: Timestamp) -> Result<bool, Fault> {
    let waits = first(
        conn,
        "SELECT 1 FROM spent_lately WHERE token = ?1",
        [token],
        |_| Ok(()),
    )?;
    Ok(waits.is_some() || is_sorted_in(conn, token, expires)?)
}
