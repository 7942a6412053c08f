//! The statements that write, a record each. Whether they may was checked before.

use muster_ca::authority::Generation;
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, Kind, State};
use muster_ca::operator::{Login, Operator};
use muster_ca::ports::{Binding, Crl, Kept};
use muster_ca::provisioner::Provisioner;
use muster_ca::token::EnrolmentToken;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{first, millis, run, status_columns, whole};
use super::tally::Place;

const INSERT_DEVICE: &str =
    "INSERT INTO devices (name, kind, state, profile, note, created, version, own, armed)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
/// Of one that is there already. When it was created stays, and so its place in the index of that.
const UPDATE_DEVICE: &str = "UPDATE devices
     SET kind = ?2, state = ?3, profile = ?4, note = ?5, version = ?6, armed = ?7 WHERE name = ?1";

pub(super) fn device(conn: &Connection, device: &Device) -> Result<(), Fault> {
    run(
        conn,
        INSERT_DEVICE,
        params![
            device.name.as_str(),
            device.kind.as_str(),
            device.state.as_str(),
            device.profile,
            device.note,
            millis(device.created),
            whole(device.version),
            device.name.is_own(),
            device.armed
        ],
    )?;
    Ok(())
}

/// Returns what it was before.
pub(super) fn changed_device(conn: &Connection, device: &Device) -> Result<(Kind, State), Fault> {
    let before = super::read::device(conn, device.name.as_str())?;
    let before = before.ok_or_else(|| Fault::damaged("device"))?;
    run(
        conn,
        UPDATE_DEVICE,
        params![
            device.name.as_str(),
            device.kind.as_str(),
            device.state.as_str(),
            device.profile,
            device.note,
            whole(device.version),
            device.armed
        ],
    )?;
    Ok((before.kind, before.state))
}

pub(super) fn certificate(conn: &Connection, certificate: &Certificate) -> Result<(), Fault> {
    let (revoked_at, reason) = status_columns(&certificate.status);
    run(
        conn,
        "INSERT INTO certificates (serial, authority, generation, device, profile, not_before, not_after, revoked_at,
                                   reason, key, how, der, own)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            certificate.serial.as_bytes(),
            certificate.authority,
            certificate.generation,
            certificate.device.as_str(),
            certificate.profile,
            millis(certificate.not_before),
            millis(certificate.not_after),
            revoked_at,
            reason,
            certificate.key,
            certificate.how,
            certificate.der,
            certificate.device.is_own()
        ],
    )?;
    Ok(())
}

/// Returns where the certificate is counted.
pub(super) fn status(conn: &Connection, serial: &Serial, to: &Status) -> Result<Place, Fault> {
    let (revoked_at, reason) = status_columns(to);
    let sql = "UPDATE certificates SET revoked_at = ?2, reason = ?3 WHERE serial = ?1
         RETURNING own, authority, generation, not_after, profile, how";
    let place = first(
        conn,
        sql,
        params![serial.as_bytes(), revoked_at, reason],
        Place::read,
    )?;
    place.ok_or_else(|| Fault::damaged("certificate"))
}

pub(super) fn token(conn: &Connection, token: &EnrolmentToken) -> Result<(), Fault> {
    run(
        conn,
        "INSERT INTO tokens (id, hash, device, wave, uses, used, profile, created, expires, withdrawn, maker, recovers)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            token.id,
            token.hash,
            token.device.as_ref().map(|device| device.as_str()),
            token.wave,
            token.uses,
            token.used,
            token.profile,
            millis(token.created),
            millis(token.expires),
            token.withdrawn.map(millis),
            token.by,
            token.recovers
        ],
    )?;
    Ok(())
}

pub(super) fn binding(conn: &Connection, binding: &Binding) -> Result<(), Fault> {
    run(
        conn,
        "UPDATE tokens SET used = used + 1 WHERE id = ?1",
        [&binding.token],
    )?;
    run(
        conn,
        "INSERT INTO bindings (token, key, device, serial, at, confirmed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            binding.token,
            binding.key,
            binding.device.as_str(),
            binding.serial.as_bytes(),
            millis(binding.at),
            binding.confirmed.map(millis)
        ],
    )?;
    Ok(())
}

pub(super) fn unbind(conn: &Connection, token: &str, key: &[u8; 32]) -> Result<(), Fault> {
    run(conn, "UPDATE tokens SET used = used - 1 WHERE id = ?1", [token])?;
    run(
        conn,
        "DELETE FROM bindings WHERE token = ?1 AND key = ?2",
        params![token, key],
    )?;
    Ok(())
}

pub(super) fn generation(conn: &Connection, name: &str, generation: &Generation) -> Result<(), Fault> {
    run(
        conn,
        "INSERT INTO authorities (name, number, stage, key, certificate, created, revoked, follows, vouched)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (name, number) DO UPDATE
         SET stage = excluded.stage, key = excluded.key, certificate = excluded.certificate, created = excluded.created,
             revoked = excluded.revoked, follows = excluded.follows, vouched = excluded.vouched",
        params![
            name,
            generation.number,
            generation.stage.as_str(),
            generation.key,
            generation.certificate,
            millis(generation.created),
            generation.revoked.map(millis),
            generation.follows.as_ref().map(|follows| &follows.authority),
            generation.follows.as_ref().map(|follows| &follows.cross),
        ],
    )?;
    Ok(())
}

pub(super) fn provisioner(conn: &Connection, provisioner: &Provisioner) -> Result<(), Fault> {
    let profiles = serde_json::json!(provisioner.profiles).to_string();
    let names = serde_json::json!(provisioner.names).to_string();
    run(
        conn,
        "INSERT INTO provisioners (name, kid, jwk, encrypted_key, profiles, names, may_replace, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            provisioner.name,
            provisioner.kid,
            provisioner.jwk,
            provisioner.encrypted_key,
            profiles,
            names,
            provisioner.may_replace,
            millis(provisioner.created)
        ],
    )?;
    Ok(())
}

pub(super) fn operator(conn: &Connection, operator: &Operator) -> Result<(), Fault> {
    run(
        conn,
        "INSERT INTO operators (name, role, key, password, totp, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            operator.name,
            operator.role.as_str(),
            operator.key,
            operator.login.as_ref().map(|login| &login.password),
            operator.login.as_ref().and_then(|login| login.totp.as_ref()),
            millis(operator.created)
        ],
    )?;
    Ok(())
}

pub(super) fn login(conn: &Connection, name: &str, login: &Login) -> Result<(), Fault> {
    run(
        conn,
        "UPDATE operators SET password = ?2, totp = ?3 WHERE name = ?1",
        params![name, login.password, login.totp],
    )?;
    Ok(())
}

pub(super) fn kept(conn: &Connection, kept: &Kept) -> Result<(), Fault> {
    run(
        conn,
        "INSERT INTO drawer (key, value, expires) VALUES (?1, ?2, ?3)",
        params![kept.key, kept.value, millis(kept.expires)],
    )?;
    Ok(())
}

pub(super) fn crl(conn: &Connection, crl: &Crl) -> Result<(), Fault> {
    run(
        conn,
        "INSERT INTO crls (authority, generation, number, this_update, next_update, entries, covers, der)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (authority, generation) DO UPDATE
         SET number = excluded.number, this_update = excluded.this_update, next_update = excluded.next_update,
             entries = excluded.entries, covers = excluded.covers, der = excluded.der",
        params![
            crl.authority,
            crl.generation,
            whole(crl.number),
            millis(crl.this_update),
            millis(crl.next_update),
            whole(crl.entries),
            whole(crl.covers),
            crl.der
        ],
    )?;
    Ok(())
}
