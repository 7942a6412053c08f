//! Search over everything: devices by name, certificates by name, serial number or fingerprint.

use askama::Template;
use axum::extract::Query;
use axum::routing::get;
use muster_ca::certificate::{Certificate, Status};
use muster_ca::list::Search;
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;
use serde::Deserialize;

use crate::web::components::{Badge, Lines, When};
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::route::{Page, Route};
use crate::web::visit::{Answer, Visit, html};

/// The head of every page leads here.
pub(in crate::web) const PAGE: Page = Page {
    menu: None,
    routes: &[Route::get("search", Permission::Read, || get(show))],
};

/// The most that is shown of each noun; its list shows all.
const MOST: usize = 20;

#[derive(Deserialize, Default)]
struct Asked {
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "pages/search.html")]
struct Results {
    frame: Frame,
    q: String,
    devices: Vec<DeviceRow>,
    certificates: Vec<CertificateRow>,
    lines: Lines,
}

struct DeviceRow {
    name: String,
    state: &'static str,
    profile: String,
    note: String,
}

struct CertificateRow {
    serial: String,
    device: String,
    status: Badge,
    expires: When,
}

async fn show(visit: Visit, Query(asked): Query<Asked>) -> Answer {
    let (devices, certificates) = match Search::parse(&asked.q) {
        None => (Vec::new(), Vec::new()),
        Some(search) => {
            let found = visit.ca().search(visit.proof(), search, MOST).await?;
            (found.devices, found.certificates)
        }
    };
    let quoted = asked.q.replace('\'', "'\\''");
    html(&Results {
        frame: visit.frame("Search"),
        devices: devices
            .into_iter()
            .map(|device| DeviceRow {
                name: device.name.to_string(),
                state: device.state.as_str(),
                profile: device.profile,
                note: device.note,
            })
            .collect(),
        certificates: certificates.iter().map(|one| certificate(&visit, one)).collect(),
        lines: Lines::new(
            "lines",
            &format!("muster search '{quoted}'"),
            &format!("GET /search?q={}", escape(&asked.q)),
        ),
        q: asked.q,
    })
}

fn certificate(visit: &Visit, record: &Certificate) -> CertificateRow {
    let status = match record.status {
        Status::Revoked {
            reason: Reason::CertificateHold,
            ..
        } => "on hold",
        Status::Revoked { .. } => "revoked",
        Status::Active if record.not_after < visit.now() => "expired",
        Status::Active => "active",
    };
    CertificateRow {
        serial: record.serial.to_string(),
        device: record.device.to_string(),
        status: Badge::status(status),
        expires: When::date(record.not_after),
    }
}
