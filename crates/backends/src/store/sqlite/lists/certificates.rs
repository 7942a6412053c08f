//! Certificates.

use muster_ca::certificate::{Certificate, Serial};
use muster_ca::list::{CertificateList, CertificateSort, CertificateStatus, Page, Part, Search};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::super::fault::Fault;
use super::super::look::{Clause, FEW, Look, among, few};
use super::super::rows::{self, CERTIFICATE, first, millis};
use super::find;

type Read<T> = Result<T, Fault>;

const BY_SERIAL: &str = "certificates INDEXED BY certificates_by_serial";
const BY_DEVICE: &str = "certificates INDEXED BY certificates_by_device";
const BY_EXPIRY: &str = "certificates INDEXED BY certificates_by_expiry";
const BY_PROFILE: &str = "certificates INDEXED BY certificates_by_profile";
const REVOKED: &str = "certificates INDEXED BY certificates_revoked";
/// By their ids.
const BY_ID: &str = "certificates NOT INDEXED";

pub(in super::super) fn certificates(conn: &Connection, list: &CertificateList) -> Read<Page<Certificate>> {
    let snapshot = conn.unchecked_transaction()?;
    let search = list.search.as_ref();
    let found = search.map(|search| Found::new(&snapshot, search)).transpose()?;
    let (from, range) = match narrowest(&snapshot, list, found.as_ref())? {
        Some(ids) => (BY_ID, among("id", &ids)),
        None => along(list, found.as_ref()),
    };
    let look = Look {
        from: from.into(),
        range,
        filter: filter(list, found),
        order: match list.sort {
            CertificateSort::Issued => &["serial", "id"],
            CertificateSort::Expiry => &["not_after", "id"],
            CertificateSort::Name => &["device", "not_after", "id"],
        },
        descending: list.descending,
        rest: None,
    };
    look.page(&snapshot, &list.paging, by_id)
}

fn by_id(conn: &Connection, id: &Part) -> Read<Option<Certificate>> {
    let sql = format!("SELECT {CERTIFICATE} FROM certificates WHERE id = ?1");
    first(conn, &sql, [super::super::look::to_value(id)], rows::certificate)
}

/// What a search means: names that begin so, or these.
struct Found {
    names: Clause,
    ids: Vec<Value>,
}

impl Found {
    fn new(conn: &Connection, search: &Search) -> Read<Self> {
        let ids = find::certificates(conn, search)?;
        Ok(Self {
            names: Clause::begins("device", &search.prefix),
            ids: ids.into_iter().map(Value::from).collect(),
        })
    }
}

/// Everything that a row must be.
fn filter(list: &CertificateList, found: Option<Found>) -> Clause {
    let mut clause = Clause::default();
    let now = millis(list.now);
    match list.status {
        None => {}
        Some(CertificateStatus::Active) => {
            clause.and("revoked_at IS NULL AND not_after >= ?", [now.into()]);
        }
        Some(CertificateStatus::Expired) => clause.and("revoked_at IS NULL AND not_after < ?", [now.into()]),
        Some(CertificateStatus::Revoked) => clause.and("revoked_at IS NOT NULL", []),
    }
    if !list.asks_for_own() {
        clause.and("own = 0", []);
    }
    clause.and_maybe(
        "device = ?",
        list.device.as_ref().map(|name| name.as_str().to_owned()),
    );
    clause.and_maybe("profile = ?", list.profile.clone());
    clause.and_maybe("authority = ?", list.authority.clone());
    if let Some(how) = &list.how {
        let kind = Clause::begins("how", &format!("{how}:"));
        clause.and_all(Clause::of("how = ?", [how.clone().into()]).or(kind));
    }
    issued(list, &mut clause);
    expires(list, &mut clause);
    if let Some(Found { names, ids }) = found {
        clause.and_all(names.or(among("id", &ids)));
    }
    clause
}

fn issued(list: &CertificateList, clause: &mut Clause) {
    let octets = |at| Serial::time_octets(at).to_vec();
    clause.and_maybe("serial >= ?", list.issued.from.map(octets));
    clause.and_maybe("serial < ?", list.issued.until.map(octets));
}

/// With what the status says of it.
fn expires(list: &CertificateList, clause: &mut Clause) {
    let now = millis(list.now);
    clause.and_maybe("not_after >= ?", list.expires.from.map(millis));
    clause.and_maybe("not_after < ?", list.expires.until.map(millis));
    match list.status {
        Some(CertificateStatus::Active) => clause.and("not_after >= ?", [now.into()]),
        Some(CertificateStatus::Expired) => clause.and("not_after < ?", [now.into()]),
        Some(CertificateStatus::Revoked) | None => {}
    }
}

/// The ids of a set that holds all that fit, if an index knows a small one.
fn narrowest(conn: &Connection, list: &CertificateList, found: Option<&Found>) -> Read<Option<Vec<Value>>> {
    if let Some(Found { names, ids }) = found
        && let Some(mut named) = few(conn, "id", BY_DEVICE, names)?
        && named.len() + ids.len() <= FEW
    {
        named.extend_from_slice(ids);
        return Ok(Some(named));
    }
    for (from, range) in narrow(list) {
        if let Some(ids) = few(conn, "id", from, &range)? {
            return Ok(Some(ids));
        }
    }
    Ok(None)
}

/// The indexes that know of a set which holds all that fit.
fn narrow(list: &CertificateList) -> Vec<(&'static str, Clause)> {
    let mut ways = Vec::new();
    if let Some(device) = &list.device {
        let device = device.as_str().to_owned();
        ways.push((BY_DEVICE, Clause::of("device = ?", [device.into()])));
    }
    if list.status == Some(CertificateStatus::Revoked) {
        ways.push((REVOKED, Clause::of("revoked_at IS NOT NULL", [])));
    }
    if let Some(profile) = list.profile.as_ref().filter(|profile| *profile != "client") {
        let range = Clause::of("profile = ? AND profile <> 'client'", [profile.clone().into()]);
        ways.push((BY_PROFILE, range));
    }
    let mut time = Clause::default();
    issued(list, &mut time);
    if list.issued.from.is_some() || list.issued.until.is_some() {
        ways.push((BY_SERIAL, time));
    }
    let bounded = list.expires.from.is_some() || list.expires.until.is_some();
    if bounded
        || matches!(
            list.status,
            Some(CertificateStatus::Active | CertificateStatus::Expired)
        )
    {
        ways.push((BY_EXPIRY, lifetime(list)));
    }
    ways
}

/// Along the index of the order.
fn along(list: &CertificateList, found: Option<&Found>) -> (&'static str, Clause) {
    let mut range = Clause::default();
    match list.sort {
        CertificateSort::Issued => {
            issued(list, &mut range);
            (BY_SERIAL, range)
        }
        CertificateSort::Expiry => (BY_EXPIRY, lifetime(list)),
        CertificateSort::Name => {
            let device = list.device.as_ref().map(|name| name.as_str().to_owned());
            range.and_maybe("device = ?", device);
            if let Some(found) = found.filter(|found| found.ids.is_empty()) {
                range.and_all(found.names.clone());
            }
            (BY_DEVICE, range)
        }
    }
}

/// The index of lifetimes has Muster's own apart.
fn lifetime(list: &CertificateList) -> Clause {
    let own = i64::from(list.asks_for_own());
    let mut range = Clause::of("own = ?", [own.into()]);
    expires(list, &mut range);
    range
}
