//! Brokers, and the topic rules of devices that have their own.

use jiff::Timestamp;
use muster_ca::access::Rules;
use muster_ca::broker::{Broker, Enforced, Failed, Program};
use muster_ca::device::DeviceName;
use muster_pki::name::San;
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::fault::Fault;
use super::read::limit;
use super::rows::{all, first, maybe_moment, millis, moment, natural, run, whole, word};

type Read<T> = Result<T, Fault>;

pub(super) fn brokers(conn: &Connection) -> Read<Vec<Broker>> {
    let sql =
        "SELECT name, program, sans, created, retired, enforced, failed, version FROM brokers ORDER BY name";
    all(conn, sql, [], broker)
}

fn broker(row: &Row<'_>) -> Read<Broker> {
    let sans: Vec<String> = json_of(&row.get::<_, String>(2)?)?;
    let sans = sans.iter().map(|text| San::parse(text));
    Ok(Broker {
        name: DeviceName::restored(row.get(0)?),
        program: word(row, 1, "program", Program::parse)?,
        sans: sans.collect::<Result<_, _>>().map_err(|_| damaged())?,
        created: moment(row, 3)?,
        retired: maybe_moment(row, 4)?,
        enforced: row
            .get::<_, Option<String>>(5)?
            .map(|text| enforced(&text))
            .transpose()?,
        failed: row
            .get::<_, Option<String>>(6)?
            .map(|text| failed(&text))
            .transpose()?,
        version: natural(row, 7)?,
    })
}

fn enforced(text: &str) -> Read<Enforced> {
    let value: Value = json_of(text)?;
    let number = |key: &str| value[key].as_u64().ok_or_else(damaged);
    Ok(Enforced {
        number: number("number")?,
        sequence: number("sequence")?,
        at: at(&value)?,
        micros: number("micros")?,
        crl_until: value["crl_until"]
            .as_i64()
            .map(Timestamp::from_millisecond)
            .transpose()
            .map_err(|_| damaged())?,
    })
}

fn failed(text: &str) -> Read<Failed> {
    let value: Value = json_of(text)?;
    Ok(Failed {
        number: value["number"].as_u64().ok_or_else(damaged)?,
        at: at(&value)?,
        why: value["why"].as_str().ok_or_else(damaged)?.to_owned(),
    })
}

fn at(value: &Value) -> Read<Timestamp> {
    let millis = value["at"].as_i64().ok_or_else(damaged)?;
    Timestamp::from_millisecond(millis).map_err(|_| damaged())
}

fn json_of<T: serde::de::DeserializeOwned>(text: &str) -> Read<T> {
    serde_json::from_str(text).map_err(|_| damaged())
}

fn damaged() -> Fault {
    Fault::damaged("broker")
}

pub(super) fn write(conn: &Connection, broker: &Broker) -> Result<(), Fault> {
    let sans: Vec<_> = broker.sans.iter().map(ToString::to_string).collect();
    let enforced = broker.enforced.map(|enforced| {
        json!({
            "number": enforced.number, "sequence": enforced.sequence, "at": millis(enforced.at), "micros": enforced.micros,
            "crl_until": enforced.crl_until.map(millis),
        })
        .to_string()
    });
    let failed = broker.failed.as_ref().map(|failed| {
        json!({ "number": failed.number, "at": millis(failed.at), "why": failed.why }).to_string()
    });
    run(
        conn,
        "INSERT OR REPLACE INTO brokers (name, program, sans, created, retired, enforced, failed, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            broker.name.as_str(),
            broker.program.as_str(),
            json!(sans).to_string(),
            millis(broker.created),
            broker.retired.map(millis),
            enforced,
            failed,
            whole(broker.version)
        ],
    )?;
    Ok(())
}

pub(super) fn access(conn: &Connection, after: Option<&str>, asked: usize) -> Read<Vec<(DeviceName, Rules)>> {
    let sql = "SELECT device, rules FROM access WHERE device > ?1 ORDER BY device LIMIT ?2";
    all(
        conn,
        sql,
        params![after.unwrap_or_default(), limit(asked)],
        |row| Ok((DeviceName::restored(row.get(0)?), rules(row, 1)?)),
    )
}

pub(super) fn access_of(conn: &Connection, name: &str) -> Read<Option<Rules>> {
    first(
        conn,
        "SELECT rules FROM access WHERE device = ?1",
        [name],
        |row| rules(row, 0),
    )
}

fn rules(row: &Row<'_>, at: usize) -> Read<Rules> {
    json_of(&row.get::<_, String>(at)?)
}

pub(super) fn write_access(conn: &Connection, name: &DeviceName, rules: Option<&Rules>) -> Result<(), Fault> {
    match rules {
        Some(rules) => {
            let text = serde_json::to_string(rules).map_err(|_| damaged())?;
            let sql = "INSERT OR REPLACE INTO access (device, rules) VALUES (?1, ?2)";
            run(conn, sql, params![name.as_str(), text])?;
        }
        None => {
            run(conn, "DELETE FROM access WHERE device = ?1", [name.as_str()])?;
        }
    }
    Ok(())
}
