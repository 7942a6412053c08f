//! Look-ups by key, and lists that are short by nature.

use jiff::Timestamp;
use muster_ca::authority::Authority;
use muster_ca::certificate::{Certificate, Serial};
use muster_ca::device::Device;
use muster_ca::operator::Operator;
use muster_ca::ports::{Binding, Crl, Kept};
use muster_ca::provisioner::Provisioner;
use muster_ca::token::EnrolmentToken;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{self, CERTIFICATE, DEVICE, TOKEN, all, first, millis};

type Read<T> = Result<T, Fault>;

/// The most rows that are read at once.
const MOST: usize = 1_000;

/// A limit that is neither nothing nor everything.
pub(super) fn limit(asked: usize) -> i64 {
    i64::try_from(asked.clamp(1, MOST)).unwrap_or(1)
}

pub(super) fn device(conn: &Connection, name: &str) -> Read<Option<Device>> {
    first(
        conn,
        &format!("SELECT {DEVICE} FROM devices WHERE name = ?1"),
        [name],
        rows::device,
    )
}

pub(super) fn certificate(conn: &Connection, serial: &Serial) -> Read<Option<Certificate>> {
    let sql = format!("SELECT {CERTIFICATE} FROM certificates WHERE serial = ?1");
    first(conn, &sql, [serial.as_bytes()], rows::certificate)
}

pub(super) fn living(conn: &Connection, name: &str, now: Timestamp, most: usize) -> Read<usize> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM certificates
         WHERE device = ?1 AND not_after >= ?2 AND revoked_at IS NULL LIMIT ?3)";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let count = first(conn, sql, params![name, millis(now), most], |row| {
        Ok(row.get::<_, i64>(0)?)
    })?;
    Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(0))
}

pub(super) fn certificates_of(conn: &Connection, name: &str, since: Timestamp) -> Read<Vec<Certificate>> {
    let sql = format!(
        "SELECT {CERTIFICATE} FROM certificates WHERE device = ?1 AND not_after > ?2 ORDER BY id DESC"
    );
    all(conn, &sql, params![name, millis(since)], rows::certificate)
}

pub(super) fn first_to_expire(conn: &Connection, now: Timestamp) -> Read<Option<(Timestamp, Timestamp)>> {
    let sql = "SELECT not_before, not_after FROM certificates INDEXED BY certificates_by_expiry
         WHERE revoked_at IS NULL AND own = 0 AND not_after >= ?1
         ORDER BY not_after LIMIT 1";
    first(conn, sql, [millis(now)], |row| {
        Ok((rows::moment(row, 0)?, rows::moment(row, 1)?))
    })
}

pub(super) fn authorities(conn: &Connection) -> Read<Vec<Authority>> {
    let sql =
        "SELECT name, number, stage, key, certificate, created, revoked, follows, vouched FROM authorities
         ORDER BY name, number";
    let mut found: Vec<Authority> = Vec::new();
    for (name, generation) in all(conn, sql, [], rows::generation)? {
        match found.last_mut() {
            Some(last) if last.name == name => last.generations.push(generation),
            _ => found.push(Authority {
                name,
                generations: vec![generation],
            }),
        }
    }
    Ok(found)
}

pub(super) fn provisioners(conn: &Connection) -> Read<Vec<Provisioner>> {
    let sql = "SELECT name, kid, jwk, encrypted_key, profiles, names, may_replace, created FROM provisioners ORDER BY id";
    all(conn, sql, [], rows::provisioner)
}

pub(super) fn operators(conn: &Connection) -> Read<Vec<Operator>> {
    all(
        conn,
        "SELECT name, role, key, password, totp, created FROM operators ORDER BY name",
        [],
        rows::operator,
    )
}

pub(super) fn recovery_codes(conn: &Connection, name: &str, now: Timestamp) -> Read<Vec<String>> {
    let sql = "SELECT id FROM tokens WHERE device = ?1 AND recovers = 1
         AND withdrawn IS NULL AND used < uses AND expires >= ?2";
    all(conn, sql, params![name, millis(now)], |row| Ok(row.get(0)?))
}

pub(super) fn token(conn: &Connection, hash: &[u8; 32]) -> Read<Option<EnrolmentToken>> {
    first(
        conn,
        &format!("SELECT {TOKEN} FROM tokens WHERE hash = ?1"),
        [hash],
        rows::token,
    )
}

pub(super) fn is_compromised(conn: &Connection, key: &[u8; 32]) -> Read<bool> {
    Ok(first(
        conn,
        "SELECT 1 FROM compromised WHERE key = ?1",
        [key],
        |_| Ok(()),
    )?
    .is_some())
}

pub(super) fn binding(conn: &Connection, token: &str, key: &[u8; 32]) -> Read<Option<Binding>> {
    let sql = "SELECT token, key, device, serial, at, confirmed FROM bindings WHERE token = ?1 AND key = ?2";
    first(conn, sql, params![token, key], rows::binding)
}

pub(super) fn crl(conn: &Connection, authority: &str, generation: u32) -> Read<Option<Crl>> {
    let sql = "SELECT authority, generation, number, this_update, next_update, entries, covers, der FROM crls
         WHERE authority = ?1 AND generation = ?2";
    first(conn, sql, params![authority, generation], rows::crl)
}

pub(super) fn kept(conn: &Connection, key: &str, now: Timestamp) -> Read<Option<Kept>> {
    let sql = "SELECT key, value, expires FROM drawer WHERE key = ?1 AND expires > ?2";
    first(conn, sql, params![key, millis(now)], rows::kept)
}

pub(super) fn kept_below(conn: &Connection, word: &str, now: Timestamp, asked: usize) -> Read<Vec<Kept>> {
    let sql = "SELECT key, value, expires FROM drawer WHERE key >= ?1 AND key < ?2 AND expires > ?3 ORDER BY key LIMIT ?4";
    // '0' is what follows the slash.
    let (begin, end) = (format!("{word}/"), format!("{word}0"));
    all(
        conn,
        sql,
        params![begin, end, millis(now), limit(asked)],
        rows::kept,
    )
}
