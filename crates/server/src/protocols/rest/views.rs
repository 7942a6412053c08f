//! The authority's records as they travel.

use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::audit::Entry;
use muster_ca::authority::{Authority, Generation};
use muster_ca::certificate::{Certificate, Status};
use muster_ca::device::Device;
use muster_ca::ports::{Crl, DeviceCount};
use muster_ca::profile::Profile;
use muster_ca::queries::ExpiryDay;
use muster_ca::token::EnrolmentToken;
use muster_pki::crl::Reason;
use muster_pki::time::format_duration;
use muster_pki::{cert, key, pem};

use super::Failure;

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whole seconds, as certificates have them.
pub(super) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

pub(super) fn certificate(record: &Certificate, now: Timestamp) -> api::Certificate {
    let (revoked_at, reason) = match record.status {
        Status::Active => (None, None),
        Status::Revoked { at, reason } => (Some(time(at)), Some(reason.to_string())),
    };
    let status = match record.status {
        Status::Revoked {
            reason: Reason::CertificateHold,
            ..
        } => "on hold",
        Status::Revoked { .. } => "revoked",
        Status::Active if now > record.not_after => "expired",
        Status::Active => "active",
    };
    let sans = cert::Certificate::from_der(&record.der)
        .map(|parsed| parsed.sans())
        .unwrap_or_default();
    api::Certificate {
        serial: record.serial.hex(),
        serial_decimal: record.serial.decimal(),
        device: record.device.to_string(),
        status: status.into(),
        profile: record.profile.clone(),
        sans: sans.iter().map(ToString::to_string).collect(),
        not_before: time(record.not_before),
        not_after: time(record.not_after),
        revoked_at,
        reason,
        authority: record.authority.clone(),
        generation: record.generation,
        how: record.how.clone(),
        fingerprint: hex(&key::sha256(&record.der)),
    }
}

pub(super) fn issued(issued: &muster_ca::Issued, now: Timestamp) -> Result<api::Issued, Failure> {
    let record = issued.certificate();
    let text = |der: &[u8]| {
        if der.is_empty() {
            Ok(String::new())
        } else {
            pem::encode(pem::CERTIFICATE, der)
        }
    };
    Ok(api::Issued {
        certificate: certificate(record, now),
        pem: text(&record.der)?,
        issuing: text(issued.issuing())?,
        root: text(issued.root())?,
        clamped: issued.clamped(),
    })
}

pub(super) fn device(record: &Device, certificates: Vec<api::Certificate>) -> api::Device {
    api::Device {
        name: record.name.to_string(),
        kind: record.kind.as_str().into(),
        state: record.state.as_str().into(),
        profile: record.profile.clone(),
        note: record.note.clone(),
        created: time(record.created),
        certificates,
    }
}

pub(super) fn entry(record: Entry) -> api::AuditEntry {
    api::AuditEntry {
        sequence: record.sequence,
        at: record.at.to_string(),
        actor: record.actor,
        via: record.via,
        source: record.source,
        action: record.action,
        subject: record.subject,
        detail: record.detail,
        writer: record.writer,
        hash: hex(&record.hash),
    }
}

pub(super) fn device_count(record: &DeviceCount) -> api::DeviceCount {
    api::DeviceCount {
        kind: record.kind.as_str().into(),
        state: record.state.as_str().into(),
        count: record.count,
    }
}

pub(super) fn expiry_day(record: &ExpiryDay) -> api::ExpiryDay {
    let midnight = Timestamp::from_second(record.day.saturating_mul(86_400)).unwrap_or(Timestamp::MAX);
    api::ExpiryDay {
        day: midnight.strftime("%F").to_string(),
        by_itself: record.by_itself,
        needs_you: record.needs_you,
    }
}

pub(super) fn token(record: &EnrolmentToken, now: Timestamp) -> api::Token {
    let status = if record.withdrawn.is_some() {
        "withdrawn"
    } else if record.used >= record.uses {
        "used up"
    } else if now > record.expires {
        "expired"
    } else {
        "open"
    };
    api::Token {
        id: record.id.clone(),
        device: record.device.as_ref().map(ToString::to_string),
        wave: record.wave.clone(),
        uses: record.uses,
        used: record.used,
        profile: record.profile.clone(),
        created: time(record.created),
        expires: time(record.expires),
        status: status.into(),
        by: record.by.clone(),
    }
}

pub(super) fn authority(record: &Authority) -> Result<api::Authority, Failure> {
    let generations = record
        .generations
        .iter()
        .map(generation)
        .collect::<Result<_, _>>()?;
    Ok(api::Authority {
        name: record.name.clone(),
        generations,
    })
}

pub(super) fn generation(record: &Generation) -> Result<api::Generation, Failure> {
    let parsed = record.parsed()?;
    Ok(api::Generation {
        number: record.number,
        stage: record.stage.as_str().into(),
        subject: parsed.common_name().unwrap_or_default(),
        not_before: time(parsed.not_before()),
        not_after: time(parsed.not_after()),
        fingerprint: hex(&parsed.fingerprint()),
        pem: parsed.to_pem()?,
    })
}

pub(super) fn crl(record: &Crl, with_text: bool) -> Result<api::Crl, Failure> {
    Ok(api::Crl {
        authority: record.authority.clone(),
        generation: record.generation,
        number: record.number,
        this_update: time(record.this_update),
        next_update: time(record.next_update),
        entries: record.entries,
        pem: if with_text {
            pem::encode(pem::CRL, &record.der)?
        } else {
            String::new()
        },
    })
}

pub(super) fn profile(record: &Profile) -> api::Profile {
    let (min, default, max) = record.validity();
    api::Profile {
        name: record.name().into(),
        kind: record.kind().as_str().into(),
        authority: record.authority().into(),
        min: format_duration(min),
        default: format_duration(default),
        max: format_duration(max),
        grace: format_duration(record.grace()),
        renewable: record.renewable(),
        keys: record.keys(),
        sans: record.sans(),
        pointers: record.pointers().into_iter().map(str::to_owned).collect(),
    }
}
