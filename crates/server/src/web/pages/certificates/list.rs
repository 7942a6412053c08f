//! View Certificates: the table.

use askama::Template;
use axum::extract::Query;
use jiff::SignedDuration;
use muster_ca::certificate::Certificate;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use muster_ca::ports::{CertificateFilter, CertificatePage};
use serde::Deserialize;

use super::view;
use crate::web::components::{Badge, Icon, Lines, When};
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html};

/// How many rows there are to choose from.
const ROWS: [usize; 4] = [10, 50, 100, 500];
/// The filter for those that run out soon, and how soon that is; the dashboard counts them.
const EXPIRING: &str = "expiring";
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Filter {
    q: String,
    status: String,
    rows: String,
    after: String,
}

#[derive(Template)]
#[template(path = "pages/certificates/list.html")]
struct ListPage {
    frame: Frame,
    q: String,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    operates: bool,
    lines: Lines,
}

struct Chip {
    label: &'static str,
    link: String,
    current: bool,
}

struct Row {
    name: String,
    status: Badge,
    issued: When,
    expires: When,
    far: When,
    profile: String,
    serial: String,
    grouped: String,
}

pub(super) async fn show(visit: Visit, Query(filter): Query<Filter>) -> Answer {
    let now = visit.now();
    let limit = ROWS
        .into_iter()
        .find(|rows| rows.to_string() == filter.rows)
        .unwrap_or(50);
    let page = CertificatePage {
        before: filter.after.parse().ok(),
        device: (!filter.q.trim().is_empty()).then(|| DeviceName::restored(filter.q.trim().to_owned())),
        filter: match filter.status.as_str() {
            "active" => CertificateFilter::Active,
            "revoked" => CertificateFilter::Revoked,
            "expired" => CertificateFilter::Expired,
            _ => CertificateFilter::All,
        },
        expires_before: (filter.status == EXPIRING).then(|| now + SOON),
        now,
        limit,
    };
    let found = visit.ca().certificates(visit.proof(), page).await?;
    let next = (found.len() == limit).then(|| found.last()).flatten();
    html(&ListPage {
        frame: visit.frame("View Certificates"),
        q: filter.q.clone(),
        chips: chips(&filter),
        next: next.map(|(id, _)| filter.link(&id.to_string())),
        first: (!filter.after.is_empty()).then(|| filter.link("")),
        rows: found.iter().map(|(_, one)| row(&visit, one)).collect(),
        operates: visit.may(Permission::Operate),
        lines: lines(&filter),
    })
}

fn row(visit: &Visit, certificate: &Certificate) -> Row {
    let now = visit.now();
    Row {
        name: certificate.device.to_string(),
        status: view::status(certificate, now),
        issued: When::date(certificate.not_before),
        expires: When::date(certificate.not_after),
        far: When::relative(certificate.not_after, now),
        profile: certificate.profile.clone(),
        serial: certificate.serial.hex(),
        grouped: view::grouped(&certificate.serial),
    }
}

fn chips(filter: &Filter) -> Vec<Chip> {
    let all = [
        ("All", ""),
        ("Active", "active"),
        ("Run out within 7 days", EXPIRING),
        ("Expired", "expired"),
        ("Revoked", "revoked"),
    ];
    let chip = |(label, status): (&'static str, &str)| Chip {
        label,
        link: format!("certificates?status={status}&q={}", escape(&filter.q)),
        current: filter.status == status,
    };
    all.map(chip).into_iter().collect()
}

impl Filter {
    fn link(&self, after: &str) -> String {
        let (q, rows, after) = (escape(&self.q), escape(&self.rows), escape(after));
        format!(
            "certificates?status={}&q={q}&rows={rows}&after={after}",
            escape(&self.status)
        )
    }
}

fn lines(filter: &Filter) -> Lines {
    let mut cli = "muster cert list".to_owned();
    let mut api = "GET /certificates?limit=50".to_owned();
    let mut status = filter.status.as_str();
    if status == EXPIRING {
        cli.push_str(" --expires-within 7d");
        api.push_str("&expires_within=7d");
        status = "";
    }
    for (key, value) in [("status", status), ("device", filter.q.trim())] {
        if !value.is_empty() {
            cli.push_str(&format!(" --{key} {}", escape(value)));
            api.push_str(&format!("&{key}={}", escape(value)));
        }
    }
    Lines::new("list", &cli, &api)
}
