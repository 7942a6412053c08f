//! Audit entries.

use jiff::Timestamp;
use muster_ca::audit::Entry;
use muster_ca::list::{AuditList, Page, Part};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::super::fault::Fault;
use super::super::look::{Clause, FEW, Look, among, to_value};
use super::super::rows::{self, ENTRY, first, millis};
use super::find::{self, Word};

type Read<T> = Result<T, Fault>;

pub(in super::super) fn audit(conn: &Connection, list: &AuditList) -> Read<Page<Entry>> {
    let snapshot = conn.unchecked_transaction()?;
    let window = window(&snapshot, list)?;
    let mut look = Look {
        from: "audit".into(),
        range: Clause::of("sequence BETWEEN ? AND ?", window.map(Value::from)),
        filter: filter(list),
        order: &["sequence"],
        descending: !list.oldest_first,
        rest: None,
    };
    if let Some(words) = words(list) {
        let back = list.paging.cursor.as_ref().is_some_and(|cursor| cursor.back);
        let descending = back == list.oldest_first;
        let found = find::entries(&snapshot, &words, window, descending)?;
        // There may be more behind the last one.
        look.rest = found.get(FEW - 1).map(|last| vec![Part::Number(*last)]);
        let found: Vec<_> = found.into_iter().map(Value::from).collect();
        look.range = among("sequence", &found);
    }
    let sql =
        format!("SELECT {ENTRY} FROM audit JOIN writers ON writers.id = audit.writer WHERE sequence = ?1");
    look.page(&snapshot, &list.paging, |conn, sequence| {
        first(conn, &sql, [to_value(sequence)], rows::entry)
    })
}

fn filter(list: &AuditList) -> Clause {
    let mut clause = Clause::default();
    clause.and_maybe("actor = ?", list.actor.clone());
    clause.and_maybe("action = ?", list.action.clone());
    if let Some(subject) = &list.subject {
        let about = Clause::of("subject = ?", [subject.clone().into()]);
        clause.and_all(about.or(Clause::begins("subject", &format!("{subject} "))));
    }
    clause.and_maybe("at >= ?", list.at.from.map(millis));
    clause.and_maybe("at < ?", list.at.until.map(millis));
    clause
}

/// What is kept apart for finding entries: the rarest of what was asked for. `None` if a walk finds enough.
fn words(list: &AuditList) -> Option<Vec<Word>> {
    if let Some(subject) = &list.subject {
        return Some(vec![find::subject(subject)]);
    }
    if let Some(actor) = &list.actor {
        // A device that acts for itself is its own subject, and kept as that alone.
        return Some(vec![find::actor(actor), find::subject(actor)]);
    }
    let action = list.action.as_deref()?;
    (!find::is_daily(action)).then(|| vec![find::action(action)])
}

/// The first and the last number that the time and the cursor leave. Entries are numbered as they are written, so what the
/// clock said rises with the number, but for the moments at which it was set back.
fn window(conn: &Connection, list: &AuditList) -> Read<[i64; 2]> {
    let last = first(conn, "SELECT max(sequence) FROM audit", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?)
    })?;
    let end = last.flatten().unwrap_or(0) + 1;
    let at = |moment: Option<Timestamp>| moment.map(|moment| first_since(conn, millis(moment), end));
    let mut window = [
        at(list.at.from).transpose()?.unwrap_or(1),
        at(list.at.until).transpose()?.unwrap_or(end) - 1,
    ];
    if let Some(cursor) = &list.paging.cursor
        && let [Part::Number(place)] = cursor.place.as_slice()
    {
        if cursor.back != list.oldest_first {
            window[0] = window[0].max(place.saturating_add(1));
        } else {
            window[1] = window[1].min(place.saturating_sub(1));
        }
    }
    Ok(window)
}

/// The first entry of that moment or later, by halving.
fn first_since(conn: &Connection, moment: i64, end: i64) -> Read<i64> {
    let (mut low, mut high) = (1, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = first(
            conn,
            "SELECT at FROM audit WHERE sequence = ?1",
            [middle],
            |row| Ok(row.get::<_, i64>(0)?),
        )?;
        if at.is_some_and(|at| at < moment) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
