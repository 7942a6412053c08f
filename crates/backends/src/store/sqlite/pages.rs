//! Pages, lists and counts. Every page goes on behind a key, so the last one costs what the first one does.

use jiff::{SignedDuration, Timestamp};
use muster_ca::audit::Entry;
use muster_ca::certificate::Certificate;
use muster_ca::device::{Device, DeviceName};
use muster_ca::ports::{
    AuditPage, CertificateFilter, CertificatePage, Counts, DevicePage, RevokedEntry, Unrenewed,
};
use rusqlite::{Connection, ToSql, named_params, params};

use super::fault::Fault;
use super::read::limit;
use super::rows::{self, CERTIFICATE, DEVICE, ENTRY, all, first, millis, whole};
use super::tally::DAY;

type Read<T> = Result<T, Fault>;

/// Certificates that run out within this are about to.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Sorts behind every name with the same beginning.
const LAST_CHARACTER: char = char::MAX;

pub(super) fn devices(conn: &Connection, page: &DevicePage) -> Read<Vec<Device>> {
    let after = page.after.as_ref().map_or("", |name| name.as_str());
    let end = format!("{}{LAST_CHARACTER}", page.prefix);
    let (limit, state) = (limit(page.limit), page.state.map(|state| state.as_str()));
    // The index of devices that are out is used only if its own condition is repeated.
    let own = if page.asks_for_own() { "" } else { "AND own = 0" };
    let condition = match state {
        None => "",
        Some("new" | "active") => "AND state = :state",
        Some(_) => "AND state = :state AND state NOT IN ('new', 'active')",
    };
    let sql = format!(
        "SELECT {DEVICE} FROM devices WHERE name > :after AND name >= :prefix AND name < :end {own} {condition}
         ORDER BY name LIMIT :limit"
    );
    let mut params: Vec<(&str, &dyn ToSql)> = vec![
        (":after", &after),
        (":prefix", &page.prefix),
        (":end", &end),
        (":limit", &limit),
    ];
    params.extend(state.as_ref().map(|state| (":state", state as &dyn ToSql)));
    all(conn, &sql, params.as_slice(), rows::device)
}

pub(super) fn servers(conn: &Connection) -> Read<Vec<DeviceName>> {
    let name = |row: &rusqlite::Row<'_>| Ok(DeviceName::restored(row.get(0)?));
    all(conn, "SELECT name FROM devices WHERE kind <> 'client'", [], name)
}

/// The ids are found in an index first, since sorting certificates by id would carry their bytes about.
pub(super) fn certificates(conn: &Connection, page: &CertificatePage) -> Read<Vec<(u64, Certificate)>> {
    let before = page.before.map_or(i64::MAX, whole);
    let (limit, now, soon) = (
        limit(page.limit),
        millis(page.now),
        page.expires_before.map(millis),
    );
    let device = page.device.as_ref().map(|name| name.as_str());
    let mut sql = format!(
        "SELECT {CERTIFICATE} FROM certificates WHERE id IN (SELECT id FROM certificates {} WHERE id < :before",
        index_for(page)
    );
    let mut params: Vec<(&str, &dyn ToSql)> = vec![(":before", &before), (":limit", &limit)];
    if let Some(device) = &device {
        sql.push_str(" AND device = :device");
        params.push((":device", device));
    } else {
        sql.push_str(" AND own = 0");
    }
    sql.push_str(match page.filter {
        CertificateFilter::All => "",
        CertificateFilter::Active => " AND revoked_at IS NULL AND not_after >= :now",
        CertificateFilter::Revoked => " AND revoked_at IS NOT NULL",
        CertificateFilter::Expired => " AND revoked_at IS NULL AND not_after < :now",
    });
    if let Some(soon) = &soon {
        sql.push_str(" AND revoked_at IS NULL AND not_after >= :now AND not_after < :soon");
        params.push((":soon", soon));
    }
    if sql.contains(":now") {
        params.push((":now", &now));
    }
    sql.push_str(" ORDER BY id DESC LIMIT :limit) ORDER BY id DESC");
    all(conn, &sql, params.as_slice(), rows::certificate)
}

/// The index is named because SQLite, which keeps no statistics here, would guess.
fn index_for(page: &CertificatePage) -> &'static str {
    if page.device.is_some() {
        return "INDEXED BY certificates_by_device";
    }
    if page.expires_before.is_some() {
        return "INDEXED BY certificates_by_expiry";
    }
    match page.filter {
        // The newest are nearly always among them, so walking back from the newest finds them at once.
        CertificateFilter::All | CertificateFilter::Active => "NOT INDEXED",
        CertificateFilter::Revoked => "INDEXED BY certificates_revoked",
        CertificateFilter::Expired => "INDEXED BY certificates_by_expiry",
    }
}

pub(super) fn revoked(
    conn: &Connection,
    authority: &str,
    generation: u32,
    since: Timestamp,
) -> Read<Vec<RevokedEntry>> {
    let sql = "SELECT serial, revoked_at, reason FROM certificates INDEXED BY certificates_revoked
         WHERE revoked_at IS NOT NULL AND authority = ?1 AND generation = ?2 AND not_after > ?3";
    all(
        conn,
        sql,
        params![authority, generation, millis(since)],
        rows::revoked,
    )
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
    let sql = "SELECT not_after FROM certificates INDEXED BY certificates_revoked
         WHERE revoked_at IS NOT NULL AND authority = ?1 AND generation = ?2 AND not_after > ?3
         ORDER BY not_after DESC LIMIT 1";
    let revoked = first(conn, sql, params![authority, generation, now], |row| {
        rows::moment(row, 0)
    })?;
    let sql = "SELECT day FROM tally WHERE revoked = 0 AND own IN (0, 1) AND day >= ?3 AND authority = ?1 AND generation = ?2 AND n > 0
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

/// Every number is of the same moment of the store.
pub(super) fn counts(conn: &Connection, now: Timestamp) -> Read<Counts> {
    let snapshot = conn.unchecked_transaction()?;
    let soon = now.saturating_add(SOON).unwrap_or(Timestamp::MAX);
    let total =
        |sql: &str| Ok::<_, Fault>(first(&snapshot, sql, [], |row| rows::natural(row, 0))?.unwrap_or(0));
    let living = valid_from(&snapshot, millis(now))?;
    let unrevoked = total("SELECT coalesce(sum(n), 0) FROM tally WHERE revoked = 0 AND own = 0")?;
    Ok(Counts {
        active: living,
        expiring: living.saturating_sub(valid_from(&snapshot, millis(soon) + 1)?),
        expired: unrevoked.saturating_sub(living),
        revoked: total("SELECT coalesce(sum(n), 0) FROM tally WHERE revoked = 1 AND own = 0")?,
        devices: total("SELECT n FROM totals WHERE name = 'devices'")?,
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
        rows::natural(row, 0)
    })?;
    Ok(found.unwrap_or(0))
}

/// Certificates that are looked at for [`unrenewed`].
const LOOKED_AT: i64 = 4_000;

pub(super) fn unrenewed(conn: &Connection, now: Timestamp, asked: usize) -> Read<Vec<Unrenewed>> {
    let sql = "SELECT device, not_after FROM
             (SELECT device, not_after FROM certificates INDEXED BY certificates_by_expiry
              WHERE revoked_at IS NULL AND own = 0 AND not_after >= ?1 ORDER BY not_after LIMIT ?2) AS first
         WHERE NOT EXISTS (SELECT 1 FROM certificates AS other INDEXED BY certificates_by_device
              WHERE other.device = first.device AND other.not_after > first.not_after AND other.revoked_at IS NULL)
         ORDER BY not_after LIMIT ?3";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Unrenewed {
            device: DeviceName::restored(row.get(0)?),
            not_after: rows::moment(row, 1)?,
        })
    };
    all(conn, sql, params![millis(now), LOOKED_AT, limit(asked)], read)
}

pub(super) fn expiring_by_day(conn: &Connection, now: Timestamp, days: u16) -> Read<Vec<u64>> {
    let today = millis(now).div_euclid(DAY);
    let sql = "SELECT day - ?1, sum(n) FROM tally WHERE revoked = 0 AND own = 0 AND day >= ?1 AND day < ?1 + ?2 GROUP BY day";
    let read = |row: &rusqlite::Row<'_>| Ok((rows::natural(row, 0)?, rows::natural(row, 1)?));
    let mut counts = vec![0; usize::from(days)];
    for (day, count) in all(conn, sql, params![today, days], read)? {
        if let Some(place) = usize::try_from(day).ok().and_then(|day| counts.get_mut(day)) {
            *place = count;
        }
    }
    Ok(counts)
}

pub(super) fn audit(conn: &Connection, page: &AuditPage) -> Read<Vec<Entry>> {
    let select = format!("SELECT {ENTRY} FROM audit JOIN writers ON writers.id = audit.writer");
    match page {
        AuditPage::Newest { before, limit: asked } => {
            let sql = format!("{select} WHERE sequence < :before ORDER BY sequence DESC LIMIT :limit");
            let before = before.map_or(i64::MAX, whole);
            all(
                conn,
                &sql,
                named_params! { ":before": before, ":limit": limit(*asked) },
                rows::entry,
            )
        }
        AuditPage::From { after, limit: asked } => {
            let sql = format!("{select} WHERE sequence > :after ORDER BY sequence LIMIT :limit");
            all(
                conn,
                &sql,
                named_params! { ":after": whole(*after), ":limit": limit(*asked) },
                rows::entry,
            )
        }
    }
}
