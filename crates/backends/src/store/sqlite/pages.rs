//! Counts, and what is read whole or in order.

use jiff::{SignedDuration, Timestamp};
use muster_ca::audit::Entry;
use muster_ca::device::DeviceName;
use muster_ca::list::{Cursor, Page, Paging, Part};
use muster_ca::ports::{Counts, Expiries, Renewing, RevokedEntry, StoreError, Unrenewed};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::read::limit;
use super::rows::{self, ENTRY, all, first, millis, natural, whole};
use super::tally::DAY;

type Read<T> = Result<T, Fault>;

/// Certificates that run out within this are about to.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) fn servers(conn: &Connection) -> Read<Vec<DeviceName>> {
    let name = |row: &rusqlite::Row<'_>| Ok(DeviceName::restored(row.get(0)?));
    all(conn, "SELECT name FROM devices WHERE kind <> 'client'", [], name)
}

pub(super) fn revoked(
    conn: &Connection,
    authority: &str,
    generation: u32,
    since: Timestamp,
) -> Read<(Vec<RevokedEntry>, u64)> {
    let snapshot = conn.unchecked_transaction()?;
    let sql = "SELECT serial, revoked_at, reason FROM certificates INDEXED BY certificates_revoked
         WHERE revoked_at IS NOT NULL AND authority = ?1 AND generation = ?2 AND not_after > ?3";
    let params = params![authority, generation, millis(since)];
    Ok((all(&snapshot, sql, params, rows::revoked)?, head(&snapshot)?))
}

pub(super) fn head(conn: &Connection) -> Read<u64> {
    let sql = "SELECT sequence FROM audit ORDER BY sequence DESC LIMIT 1";
    Ok(first(conn, sql, [], |row| natural(row, 0))?.unwrap_or(0))
}

/// From the last day on which one of this issuer runs out back to today; of each day, the index has the moment. Only the
/// days on which nothing runs out but what does not count are more than one.
pub(super) fn last_end(
    conn: &Connection,
    authority: &str,
    generation: u32,
    now: Timestamp,
    but: &str,
) -> Read<Option<Timestamp>> {
    let now = millis(now);
    let revoked = last_revoked(conn, authority, generation, now)?;
    let sql = "SELECT DISTINCT day FROM tally WHERE revoked = 0 AND own IN (0, 1) AND day >= ?3 AND authority = ?1 AND generation = ?2 AND n > 0
         ORDER BY day DESC";
    let days = all(
        conn,
        sql,
        params![authority, generation, now.div_euclid(DAY)],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    let sql = "SELECT not_after FROM certificates INDEXED BY certificates_by_expiry
         WHERE revoked_at IS NULL AND own IN (0, 1) AND not_after > ?3 AND not_after >= ?4 AND not_after < ?5
           AND authority = ?1 AND generation = ?2 AND device <> ?6
         ORDER BY not_after DESC LIMIT 1";
    for day in days {
        let (start, end) = (day * DAY, (day + 1) * DAY);
        let params = params![authority, generation, now, start, end, but];
        let last = first(conn, sql, params, |row| rows::moment(row, 0))?;
        if last.is_some() {
            return Ok(last.max(revoked));
        }
    }
    Ok(revoked)
}

/// Of the fleet's the tally knows the day; of Muster's own, which are few, the moment is looked for.
pub(super) fn last_day(
    conn: &Connection,
    authority: &str,
    generation: u32,
    now: Timestamp,
    but: &str,
) -> Read<Option<Timestamp>> {
    let now = millis(now);
    let revoked = last_revoked(conn, authority, generation, now)?;
    let sql = "SELECT (day + 1) * ?4 - 1 FROM tally
         WHERE revoked = 0 AND own = 0 AND day >= ?3 AND authority = ?1 AND generation = ?2 AND n > 0
         ORDER BY day DESC LIMIT 1";
    let params = params![authority, generation, now.div_euclid(DAY), DAY];
    let fleet = first(conn, sql, params, |row| rows::moment(row, 0))?;
    let sql = "SELECT not_after FROM certificates INDEXED BY certificates_by_expiry
         WHERE revoked_at IS NULL AND own = 1 AND not_after > ?3
           AND authority = ?1 AND generation = ?2 AND device <> ?4
         ORDER BY not_after DESC LIMIT 1";
    let own = first(conn, sql, params![authority, generation, now, but], |row| {
        rows::moment(row, 0)
    })?;
    Ok(revoked.max(fleet).max(own))
}

/// What a CRL must list longest.
fn last_revoked(conn: &Connection, authority: &str, generation: u32, now: i64) -> Read<Option<Timestamp>> {
    let sql = "SELECT not_after FROM certificates INDEXED BY certificates_revoked
         WHERE revoked_at IS NOT NULL AND authority = ?1 AND generation = ?2 AND not_after > ?3
         ORDER BY not_after DESC LIMIT 1";
    first(conn, sql, params![authority, generation, now], |row| {
        rows::moment(row, 0)
    })
}

pub(super) fn issued_by(conn: &Connection, authority: &str, generation: u32, day: Timestamp) -> Read<u64> {
    let sql = "SELECT coalesce(sum(n), 0) FROM tally
         WHERE revoked = 0 AND own = 0 AND day >= ?3 AND authority = ?1 AND generation = ?2";
    let params = params![authority, generation, millis(day).div_euclid(DAY)];
    Ok(first(conn, sql, params, |row| natural(row, 0))?.unwrap_or(0))
}

/// Every number is of the same moment of the store.
pub(super) fn counts(conn: &Connection, now: Timestamp) -> Read<Counts> {
    let snapshot = conn.unchecked_transaction()?;
    let soon = now.saturating_add(SOON).unwrap_or(Timestamp::MAX);
    let total = |sql: &str| Ok::<_, Fault>(first(&snapshot, sql, [], |row| natural(row, 0))?.unwrap_or(0));
    let living = valid_from(&snapshot, millis(now))?;
    let unrevoked = total("SELECT coalesce(sum(n), 0) FROM tally WHERE revoked = 0 AND own = 0")?;
    Ok(Counts {
        active: living,
        expiring: living.saturating_sub(valid_from(&snapshot, millis(soon) + 1)?),
        expired: unrevoked.saturating_sub(living),
        revoked: total("SELECT coalesce(sum(n), 0) FROM tally WHERE revoked = 1 AND own = 0")?,
        devices: all(
            &snapshot,
            "SELECT kind, state, n FROM device_tally WHERE n > 0",
            [],
            rows::device_count,
        )?,
    })
}

/// How many certificates that are not revoked run out at this moment or later: whole days from the tally, the rest of
/// that day from the index.
fn valid_from(conn: &Connection, moment: i64) -> Read<u64> {
    let day = moment.div_euclid(DAY);
    let sql = "SELECT (SELECT coalesce(sum(n), 0) FROM tally WHERE revoked = 0 AND own = 0 AND day > ?1)
             + (SELECT count(*) FROM certificates INDEXED BY certificates_by_expiry
                WHERE revoked_at IS NULL AND own = 0 AND not_after >= ?2 AND not_after < ?3)";
    let found = first(conn, sql, params![day, moment, (day + 1) * DAY], |row| {
        natural(row, 0)
    })?;
    Ok(found.unwrap_or(0))
}

/// Certificates that a page of [`unrenewed`] looks at.
const LOOKED_AT: i64 = if cfg!(test) { 3 } else { 4_000 };
const UNRENEWED: &str = "unrenewed";

/// Along the index by expiry, from a place in it: the moment and the row of the last that was looked at.
pub(super) fn unrenewed(
    conn: &Connection,
    now: Timestamp,
    renewing: &Renewing,
    late_by: Option<Timestamp>,
    paging: &Paging,
) -> Read<Page<Unrenewed>> {
    let snapshot = conn.unchecked_transaction()?;
    let (moment, row) = match &paging.cursor {
        None => (millis(now), 0),
        Some(cursor) => place(cursor)?.max((millis(now), 0)),
    };
    let ahead = "SELECT id, device, not_before, not_after, profile, how FROM certificates INDEXED BY certificates_by_expiry
         WHERE revoked_at IS NULL AND own = 0 AND not_after >= ?1 AND (not_after, id) > (?1, ?2)
         ORDER BY not_after, id";
    let renews = "(profile IN (SELECT value FROM json_each(?5))
          AND substr(how, 1, instr(how || ':', ':') - 1) IN (SELECT value FROM json_each(?6)))";
    let sql = format!(
        "SELECT device, not_after, {renews} FROM ({ahead} LIMIT ?3) AS first
         WHERE NOT ({renews} AND not_after - (not_after - not_before) / 4 >= ?7)
           AND (?8 IS NULL OR not_after <= ?8 OR {renews})
           AND NOT EXISTS (SELECT 1 FROM certificates AS other INDEXED BY certificates_by_device
              WHERE other.device = first.device AND other.not_after > first.not_after AND other.revoked_at IS NULL)
         ORDER BY not_after, id LIMIT ?4"
    );
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Unrenewed {
            device: DeviceName::restored(row.get(0)?),
            not_after: rows::moment(row, 1)?,
            overdue: row.get(2)?,
        })
    };
    let items = all(
        &snapshot,
        &sql,
        params![
            moment,
            row,
            LOOKED_AT,
            limit(paging.limit),
            serde_json::json!(renewing.profiles).to_string(),
            serde_json::json!(renewing.ways).to_string(),
            millis(now),
            late_by.map(millis)
        ],
        read,
    )?;
    let full = items.len() >= paging.limit;
    let last = format!("SELECT not_after, id FROM ({ahead}) LIMIT 1 OFFSET ?3");
    let last = first(&snapshot, &last, params![moment, row, LOOKED_AT - 1], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let next = last.filter(|_| !full).map(|(moment, row)| Cursor {
        order: UNRENEWED.into(),
        back: false,
        place: vec![Part::Number(moment), Part::Number(row)],
    });
    Ok(Page {
        items,
        cut_short: next.is_some(),
        next,
        previous: None,
    })
}

fn place(cursor: &Cursor) -> Read<(i64, i64)> {
    match cursor.place.as_slice() {
        [Part::Number(moment), Part::Number(row)] if cursor.order == UNRENEWED => Ok((*moment, *row)),
        _ => Err(Fault::Refused(StoreError::Cursor)),
    }
}

/// The audit entries after this number.
pub(super) fn entries(conn: &Connection, after: u64, asked: usize) -> Read<Vec<Entry>> {
    let sql = format!(
        "SELECT {ENTRY} FROM audit JOIN writers ON writers.id = audit.writer
         WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
    );
    all(conn, &sql, params![whole(after), limit(asked)], rows::entry)
}

pub(super) fn expiries(conn: &Connection, from: Timestamp, days: u16) -> Read<Vec<Expiries>> {
    let first_day = millis(from).div_euclid(DAY);
    let sql = "SELECT day, profile, how, sum(n) FROM tally
         WHERE revoked = 0 AND own = 0 AND day >= ?1 AND day < ?2
         GROUP BY day, profile, how HAVING sum(n) > 0 ORDER BY day, profile, how";
    all(conn, sql, [first_day, first_day + i64::from(days)], |row| {
        Ok(Expiries {
            day: row.get(0)?,
            profile: row.get(1)?,
            how: row.get(2)?,
            count: natural(row, 3)?,
        })
    })
}
