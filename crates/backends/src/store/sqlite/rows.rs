//! Records to rows and back.

use jiff::Timestamp;
use muster_ca::audit::Entry;
use muster_ca::authority::{Follows, Generation, Stage};
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, DeviceName, Kind, State};
use muster_ca::operator::{Login, Operator, Role};
use muster_ca::ports::{Binding, Crl, DeviceCount, Kept, RevokedEntry};
use muster_ca::provisioner::Provisioner;
use muster_ca::token::EnrolmentToken;
use muster_pki::crl::Reason;
use rusqlite::{Connection, Params, Row};

use super::fault::Fault;

/// The columns that [`certificate`] reads.
pub(super) const CERTIFICATE: &str = "serial, authority, generation, device, profile, not_before, not_after, \
     revoked_at, reason, key, how, der";
/// The columns that [`device`] reads.
pub(super) const DEVICE: &str = "name, kind, state, profile, note, created, version, armed";
/// The columns that [`token`] reads.
pub(super) const TOKEN: &str =
    "id, hash, device, wave, uses, used, profile, created, expires, withdrawn, maker, recovers";
/// The columns that [`entry`] reads.
pub(super) const ENTRY: &str =
    "writers.name, sequence, at, actor, via, source, action, subject, detail, before, hash";

type Read<T> = Result<T, Fault>;

/// Runs a query that has at most one row.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Read<T>,
) -> Read<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// Runs a query for all its rows.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Runs a statement that writes; returns how many rows it touched.
pub(super) fn run(conn: &Connection, sql: &str, params: impl Params) -> Read<usize> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

/// A moment as it is stored. What is finer than a millisecond is dropped.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A number as it is stored; none of ours comes near the limit.
pub(super) fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A status as it is stored: nothing, or since when and why.
pub(super) fn status_columns(status: &Status) -> (Option<i64>, Option<u8>) {
    match status {
        Status::Active => (None, None),
        Status::Revoked { at, reason } => (Some(millis(*at)), Some(reason.code())),
    }
}

pub(super) fn certificate(row: &Row<'_>) -> Read<Certificate> {
    Ok(Certificate {
        serial: serial(row, 0)?,
        authority: row.get(1)?,
        generation: row.get(2)?,
        device: DeviceName::restored(row.get(3)?),
        profile: row.get(4)?,
        not_before: moment(row, 5)?,
        not_after: moment(row, 6)?,
        status: status(row, 7)?,
        key: row.get(9)?,
        how: row.get(10)?,
        der: row.get(11)?,
    })
}

/// The two columns from `at` on.
fn status(row: &Row<'_>, at: usize) -> Read<Status> {
    if row.get_ref(at)? == rusqlite::types::ValueRef::Null {
        return Ok(Status::Active);
    }
    Ok(Status::Revoked {
        at: moment(row, at)?,
        reason: reason(row, at + 1)?,
    })
}

pub(super) fn revoked(row: &Row<'_>) -> Read<RevokedEntry> {
    Ok(RevokedEntry {
        serial: serial(row, 0)?,
        at: moment(row, 1)?,
        reason: reason(row, 2)?,
    })
}

pub(super) fn device_count(row: &Row<'_>) -> Read<DeviceCount> {
    Ok(DeviceCount {
        kind: word(row, 0, "device kind", Kind::parse)?,
        state: word(row, 1, "device state", State::parse)?,
        count: natural(row, 2)?,
    })
}

pub(super) fn device(row: &Row<'_>) -> Read<Device> {
    Ok(Device {
        name: DeviceName::restored(row.get(0)?),
        kind: word(row, 1, "device kind", Kind::parse)?,
        state: word(row, 2, "device state", State::parse)?,
        profile: row.get(3)?,
        note: row.get(4)?,
        created: moment(row, 5)?,
        version: natural(row, 6)?,
        armed: row.get(7)?,
    })
}

pub(super) fn token(row: &Row<'_>) -> Read<EnrolmentToken> {
    Ok(EnrolmentToken {
        id: row.get(0)?,
        hash: row.get(1)?,
        device: row.get::<_, Option<String>>(2)?.map(DeviceName::restored),
        wave: row.get(3)?,
        uses: row.get(4)?,
        used: row.get(5)?,
        profile: row.get(6)?,
        created: moment(row, 7)?,
        expires: moment(row, 8)?,
        withdrawn: maybe_moment(row, 9)?,
        by: row.get(10)?,
        recovers: row.get(11)?,
    })
}

pub(super) fn binding(row: &Row<'_>) -> Read<Binding> {
    Ok(Binding {
        token: row.get(0)?,
        key: row.get(1)?,
        device: DeviceName::restored(row.get(2)?),
        serial: serial(row, 3)?,
        at: moment(row, 4)?,
        confirmed: maybe_moment(row, 5)?,
    })
}

pub(super) fn generation(row: &Row<'_>) -> Read<(String, Generation)> {
    let (follows, vouched): (Option<String>, Option<Vec<u8>>) = (row.get(7)?, row.get(8)?);
    let follows = follows.zip(vouched);
    let found = Generation {
        number: row.get(1)?,
        stage: word(row, 2, "authority's stage", Stage::parse)?,
        key: row.get(3)?,
        certificate: row.get(4)?,
        created: moment(row, 5)?,
        revoked: maybe_moment(row, 6)?,
        follows: follows.map(|(authority, cross)| Follows { authority, cross }),
    };
    Ok((row.get(0)?, found))
}

pub(super) fn provisioner(row: &Row<'_>) -> Read<Provisioner> {
    let words = |column| {
        let json = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
        serde_json::from_str(json).map_err(|_| Fault::damaged("provisioner"))
    };
    Ok(Provisioner {
        name: row.get(0)?,
        kid: row.get(1)?,
        jwk: row.get(2)?,
        encrypted_key: row.get(3)?,
        profiles: words(4)?,
        names: words(5)?,
        may_replace: row.get(6)?,
        created: moment(row, 7)?,
    })
}

pub(super) fn operator(row: &Row<'_>) -> Read<Operator> {
    Ok(Operator {
        name: row.get(0)?,
        role: word(row, 1, "operator's role", Role::parse)?,
        key: row.get(2)?,
        login: match row.get(3)? {
            Some(password) => Some(Login {
                password,
                totp: row.get(4)?,
            }),
            None => None,
        },
        created: moment(row, 5)?,
    })
}

pub(super) fn kept(row: &Row<'_>) -> Read<Kept> {
    Ok(Kept {
        key: row.get(0)?,
        value: row.get(1)?,
        expires: moment(row, 2)?,
    })
}

pub(super) fn crl(row: &Row<'_>) -> Read<Crl> {
    Ok(Crl {
        authority: row.get(0)?,
        generation: row.get(1)?,
        number: natural(row, 2)?,
        this_update: moment(row, 3)?,
        next_update: moment(row, 4)?,
        entries: natural(row, 5)?,
        covers: natural(row, 6)?,
        der: row.get(7)?,
    })
}

pub(super) fn entry(row: &Row<'_>) -> Read<Entry> {
    Ok(Entry {
        writer: row.get(0)?,
        sequence: natural(row, 1)?,
        at: moment(row, 2)?,
        actor: row.get(3)?,
        via: row.get(4)?,
        source: row.get(5)?,
        action: row.get(6)?,
        subject: row.get(7)?,
        detail: row.get(8)?,
        before: row.get(9)?,
        hash: row.get(10)?,
    })
}

/// A column that counts.
pub(super) fn natural(row: &Row<'_>, column: usize) -> Read<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| Fault::damaged("number"))
}

/// A column that is a moment.
pub(super) fn moment(row: &Row<'_>, column: usize) -> Read<Timestamp> {
    from_millis(row.get(column)?)
}

/// A column that may be a moment.
pub(super) fn maybe_moment(row: &Row<'_>, column: usize) -> Read<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(from_millis).transpose()
}

fn from_millis(millis: i64) -> Read<Timestamp> {
    Timestamp::from_millisecond(millis).map_err(|_| Fault::damaged("moment"))
}

fn serial(row: &Row<'_>, column: usize) -> Read<Serial> {
    let bytes = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    Serial::from_bytes(bytes).ok_or_else(|| Fault::damaged("serial number"))
}

fn reason(row: &Row<'_>, column: usize) -> Read<Reason> {
    Reason::from_code(row.get(column)?).ok_or_else(|| Fault::damaged("reason"))
}

/// A column that holds one of some words.
pub(super) fn word<T>(
    row: &Row<'_>,
    column: usize,
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Read<T> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    parse(text).ok_or_else(|| Fault::damaged(what))
}
