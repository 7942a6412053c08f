//! Devices.

use muster_ca::device::{Device, Kind, State};
use muster_ca::list::{DeviceList, DeviceSort, Page, Part};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::super::fault::Fault;
use super::super::look::{Clause, Look, among, few};
use super::super::read;

type Read<T> = Result<T, Fault>;

const BY_NAME: &str = "devices INDEXED BY sqlite_autoindex_devices_1";
const BY_CREATION: &str = "devices INDEXED BY devices_by_creation";
const SERVING: &str = "devices INDEXED BY devices_serving";
const OUT: &str = "devices INDEXED BY devices_out";

pub(in super::super) fn devices(conn: &Connection, list: &DeviceList) -> Read<Page<Device>> {
    let snapshot = conn.unchecked_transaction()?;
    let (from, range) = match narrowest(&snapshot, list)? {
        Some(names) => (BY_NAME, among("name", &names)),
        None => along(list),
    };
    let look = Look {
        from: from.into(),
        range,
        filter: filter(list),
        order: match list.sort {
            DeviceSort::Name => &["name"],
            DeviceSort::Created => &["created", "name"],
        },
        descending: list.descending,
        rest: None,
    };
    look.page(&snapshot, &list.paging, |conn, name| match name {
        Part::Text(name) => read::device(conn, name),
        Part::Number(_) | Part::Bytes(_) => Ok(None),
    })
}

fn filter(list: &DeviceList) -> Clause {
    let mut clause = Clause::begins("name", &list.prefix);
    if !list.asks_for_own() {
        clause.and("own = 0", []);
    }
    clause.and_maybe("kind = ?", list.kind.map(|kind| kind.as_str().to_owned()));
    clause.and_maybe("state = ?", list.state.map(|state| state.as_str().to_owned()));
    clause.and_maybe("profile = ?", list.profile.clone());
    clause
}

/// The names of a set that holds all that fit, if an index knows a small one.
fn narrowest(conn: &Connection, list: &DeviceList) -> Read<Option<Vec<Value>>> {
    let mut ways: Vec<_> = serving(list).into_iter().chain(out(list)).collect();
    if !list.prefix.is_empty() {
        ways.push((BY_NAME, Clause::begins("name", &list.prefix)));
    }
    for (from, range) in ways {
        if let Some(names) = few(conn, "name", from, &range)? {
            return Ok(Some(names));
        }
    }
    Ok(None)
}

/// Along the index of the order.
fn along(list: &DeviceList) -> (&'static str, Clause) {
    match list.sort {
        DeviceSort::Created => {
            let own = i64::from(list.asks_for_own());
            (BY_CREATION, Clause::of("own = ?", [own.into()]))
        }
        DeviceSort::Name => {
            let (from, mut range) = serving(list)
                .or_else(|| out(list))
                .unwrap_or((BY_NAME, Clause::default()));
            range.and_all(Clause::begins("name", &list.prefix));
            (from, range)
        }
    }
}

/// A partial index is used only where its own condition is repeated.
fn serving(list: &DeviceList) -> Option<(&'static str, Clause)> {
    let serves = list.kind.is_some_and(|kind| kind != Kind::Client);
    serves.then(|| (SERVING, Clause::of("kind <> 'client'", [])))
}

fn out(list: &DeviceList) -> Option<(&'static str, Clause)> {
    let state = list
        .state
        .filter(|state| !matches!(state, State::New | State::Active))?;
    let condition = "state = ? AND state NOT IN ('new', 'active')";
    Some((OUT, Clause::of(condition, [state.as_str().to_owned().into()])))
}
