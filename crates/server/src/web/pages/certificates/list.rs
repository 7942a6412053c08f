//! View Certificates: the table, and the same as a file.

use askama::Template;
use muster_ca::certificate::Certificate;
use muster_ca::operator::Permission;

use super::view;
use crate::lists::CertificateQuery;
use crate::web::components::{
    All, Badge, Field, Heads, Icon, Lines, Listed, Pages, Search, Toolbar, Tools, When,
};
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::visit::{Answer, Visit, html};

/// What to choose from: parameter, value, words, and the parameter that goes: one status at a time.
const CHIPS: [(&str, &str, &str, &str); 5] = [
    ("status", "", "All", "expires_within"),
    ("status", "active", "Active", "expires_within"),
    ("expires_within", "7d", "Expiring in 7 days", "status"),
    ("status", "expired", "Expired", "expires_within"),
    ("status", "revoked", "Revoked", "expires_within"),
];
const SEARCH: Search = Search {
    name: "q",
    label: "Name, serial number or fingerprint",
    hint: "Name, serial or fingerprint",
};
/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("issued", "Issued", true),
    ("expires", "Expires", true),
    ("profile", "Profile", true),
    ("how", "Asked for", false),
    ("authority", "Issued by", false),
    ("serial", "Serial", true),
];
/// What else narrows it, in a menu or by a link from another page.
const NARROWED_BY: [&str; 9] = [
    "expires_within",
    "device",
    "profile",
    "authority",
    "how",
    "issued_from",
    "issued_until",
    "expires_from",
    "expires_until",
];
/// How certificates are asked for: value and words.
const WAYS: [(&str, &str); 4] = [
    ("operator", "by an operator"),
    ("token", "with an enrolment token"),
    ("renewal", "renewed by the device"),
    ("step", "with step"),
];
#[derive(Template)]
#[template(path = "pages/certificates/list.html")]
struct ListPage {
    frame: Frame,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    filtered: bool,
    pages: Pages,
    all: All,
    operates: bool,
    lines: Lines,
}

struct Row {
    name: String,
    status: Badge,
    issued: When,
    expires: When,
    far: When,
    profile: String,
    how: String,
    authority: String,
    serial: String,
    grouped: String,
}

pub(super) async fn show(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("certificates"), &filters);
    let asked = filters.asked::<CertificateQuery>(visit.now())?;
    let page = visit.ca().certificates(visit.proof(), asked).await?;
    // What has a chip of its own is taken away there.
    let seven = filters.get("expires_within") == "7d";
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: Some(listed.mixed_chips("Status", CHIPS)),
        fields: fields(&visit, &filters, &listed),
        given: &NARROWED_BY[usize::from(seven)..],
        columns: &COLUMNS,
        file: visit.url("certificates/-/certificates"),
    });
    html(&ListPage {
        frame: visit.frame("View Certificates"),
        heads: listed.heads(usual(&filters), heads(&toolbar)),
        toolbar,
        rows: page.items.iter().map(|one| row(&visit, one)).collect(),
        filtered: listed.is_narrowed::<CertificateQuery>(),
        pages: listed.pages(&page),
        all: listed.all(),
        operates: visit.may(Permission::Operate),
        lines: listed.lines::<CertificateQuery>(),
    })
}

/// The order that [`CertificateQuery`] takes when nobody says.
fn usual(filters: &Filters) -> &'static str {
    if !filters.get("expires_within").is_empty() {
        "expiry"
    } else if filters.get("status") == "expired" {
        "-expiry"
    } else {
        "-issued"
    }
}

/// The fields of the menu.
fn fields(visit: &Visit, filters: &Filters, listed: &Listed<'_>) -> Vec<Field> {
    let ways = WAYS.map(|(value, words)| (value.to_owned(), words.to_owned()));
    let day = |name, label| Field::day(name, label).value(filters.get(name));
    vec![
        listed.profiles(visit),
        listed.choice("how", "Asked for", ways),
        day("issued_from", "Issued from day"),
        day("issued_until", "Issued before day"),
        day("expires_from", "Expires from day"),
        day("expires_until", "Expires before day"),
    ]
}

fn row(visit: &Visit, certificate: &Certificate) -> Row {
    let now = visit.now();
    Row {
        name: certificate.device.to_string(),
        status: view::status(certificate, now),
        issued: When::date(certificate.issued()),
        expires: When::date(certificate.not_after),
        far: When::relative(certificate.not_after, now),
        profile: certificate.profile.clone(),
        how: certificate.how.clone(),
        authority: format!("{} {}", certificate.authority, certificate.generation),
        serial: certificate.serial.hex(),
        grouped: view::grouped(&certificate.serial),
    }
}

/// The heads of the columns that are shown, and what the list is sorted by with each.
fn heads(toolbar: &Toolbar) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![("CN", Some("name")), ("Status", None)];
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name));
    heads.extend(shown.map(|(name, words, _)| {
        let order = match *name {
            "issued" => Some("issued"),
            "expires" => Some("expiry"),
            _ => None,
        };
        (*words, order)
    }));
    heads
}
