//! The authority's records as they travel.

use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::authority::{Authority, Generation};
use muster_ca::ports::{Crl, DeviceCount};
use muster_ca::queries::ExpiryDay;
use muster_pki::pem;

use super::Failure;
pub(super) use crate::lists::rows::{certificate, device, hex, operator, provisioner, time, token};
use crate::published::pem_of;

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
        root: pem_of(issued.roots())?,
        clamped: issued.clamped(),
    })
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

pub(super) fn authority(record: &Authority) -> Result<api::Authority, Failure> {
    let generations = record
        .generations
        .iter()
        .map(generation)
        .collect::<Result<_, _>>()?;
    Ok(api::Authority {
        name: record.name.clone(),
        follows: record.follows().map(|follows| follows.authority.clone()),
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
