//! Search over everything: devices by name, certificates by name, serial number or fingerprint.

use askama::Template;
use axum::extract::Query;
use axum::routing::get;
use muster_ca::certificate::Certificate;
use muster_ca::list::Search;
use muster_ca::operator::Permission;
use serde::Deserialize;

use super::certificates::view;
use crate::web::components::{Badge, Lines, When, quoted};
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
    state: Badge,
    profile: String,
    note: String,
}

struct CertificateRow {
    serial: String,
    grouped: String,
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
    html(&Results {
        frame: visit.frame("Search"),
        devices: devices
            .into_iter()
            .map(|device| DeviceRow {
                name: device.name.to_string(),
                state: Badge::device(device.state),
                profile: device.profile,
                note: device.note,
            })
            .collect(),
        certificates: certificates.iter().map(|one| certificate(&visit, one)).collect(),
        lines: Lines::new(
            "lines",
            &format!(
                "muster search {}{}",
                if asked.q.starts_with('-') { "-- " } else { "" },
                quoted(&asked.q)
            ),
            &format!("GET /search?q={}", escape(&asked.q)),
        ),
        q: asked.q,
    })
}

fn certificate(visit: &Visit, record: &Certificate) -> CertificateRow {
    CertificateRow {
        serial: record.serial.to_string(),
        grouped: view::grouped(&record.serial),
        device: record.device.to_string(),
        status: view::status(record, visit.now()),
        expires: When::date(record.not_after),
    }
}
