//! View Certificates: the table.

use askama::Template;
use axum::extract::Query;
use muster_ca::certificate::Certificate;
use muster_ca::list::Cursor;
use muster_ca::operator::Permission;
use serde::Deserialize;

use super::view;
use crate::lists::CertificateQuery;
use crate::web::components::{Badge, Icon, Lines, When};
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html};

/// How many rows there are to choose from.
const ROWS: [usize; 4] = [10, 50, 100, 500];
/// The filter for those that run out soon, and how soon that is; the dashboard counts them.
const EXPIRING: &str = "expiring";
const SOON: &str = "7d";

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Filter {
    q: String,
    status: String,
    rows: String,
    cursor: String,
}

#[derive(Template)]
#[template(path = "pages/certificates/list.html")]
struct ListPage {
    frame: Frame,
    q: String,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    next: Option<String>,
    previous: Option<String>,
    /// Whether there may be more that fit, though this page is not full.
    cut_short: bool,
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
    let expiring = filter.status == EXPIRING;
    let query = CertificateQuery {
        status: (!expiring).then(|| filter.status.clone()),
        expires_within: expiring.then(|| SOON.to_owned()),
        q: Some(filter.q.clone()),
        limit: Some(limit),
        cursor: Some(filter.cursor.clone()),
        ..CertificateQuery::default()
    };
    let found = visit.ca().certificates(visit.proof(), query.list(now)?).await?;
    html(&ListPage {
        frame: visit.frame("View Certificates"),
        q: filter.q.clone(),
        chips: chips(&filter),
        next: found.next.as_ref().map(|next| filter.link(next)),
        previous: found.previous.as_ref().map(|previous| filter.link(previous)),
        cut_short: found.cut_short,
        rows: found.items.iter().map(|one| row(&visit, one)).collect(),
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
    fn link(&self, cursor: &Cursor) -> String {
        let (q, rows, status) = (escape(&self.q), escape(&self.rows), escape(&self.status));
        format!("certificates?status={status}&q={q}&rows={rows}&cursor={cursor}")
    }
}

fn lines(filter: &Filter) -> Lines {
    let mut cli = "muster cert list".to_owned();
    let mut api = "GET /certificates?limit=50".to_owned();
    let mut status = filter.status.as_str();
    if status == EXPIRING {
        cli.push_str(&format!(" --expires-within {SOON}"));
        api.push_str(&format!("&expires_within={SOON}"));
        status = "";
    }
    let given = [("status", "status", status), ("search", "q", filter.q.trim())];
    for (flag, key, value) in given.into_iter().filter(|(.., value)| !value.is_empty()) {
        cli.push_str(&format!(" --{flag} {}", escape(value)));
        api.push_str(&format!("&{key}={}", escape(value)));
    }
    Lines::new("list", &cli, &api)
}
