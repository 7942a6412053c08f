//! View Certificates: the table, and the same as a file.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use muster_ca::certificate::Certificate;
use muster_ca::list::{CertificateList, Cursor, Paging};
use muster_ca::operator::Permission;
use muster_ca::{Ca, Proof};

use super::view;
use crate::lists::CertificateQuery;
use crate::web::components::{
    All, Badge, Columns, Field, Given, Heads, Icon, Lines, Listed, Narrow, Pages, When, quoted,
};
use crate::web::export::{self, Chunk, Format};
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::visit::{Answer, Visit, html};

/// What to choose from, and the words: parameter, value, words.
const CHIPS: [(&str, &str, &str); 5] = [
    ("status", "", "All"),
    ("status", "active", "Active"),
    ("expires_within", "7d", "Expiring in 7 days"),
    ("status", "expired", "Expired"),
    ("status", "revoked", "Revoked"),
];
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
/// The parameters that narrow or order the list, as the API and the command line have them, too.
const PARAMETERS: [&str; 12] = [
    "status",
    "expires_within",
    "q",
    "device",
    "profile",
    "authority",
    "how",
    "issued_from",
    "issued_until",
    "expires_from",
    "expires_until",
    "sort",
];

#[derive(Template)]
#[template(path = "pages/certificates/list.html")]
struct ListPage {
    frame: Frame,
    search: String,
    /// What the search keeps of the address.
    kept: Vec<(String, String)>,
    chips: Vec<Choice>,
    given: Given,
    narrow: Narrow,
    columns: Columns,
    heads: Heads,
    rows: Vec<Row>,
    filtered: bool,
    pages: Pages,
    all: All,
    query: String,
    operates: bool,
    lines: Lines,
}

struct Choice {
    words: String,
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
    how: String,
    authority: String,
    serial: String,
    grouped: String,
}

pub(super) async fn show(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("certificates"), &filters);
    let list = wish(&visit, &filters, listed.limit())?;
    let page = visit.ca().certificates(visit.proof(), list).await?;
    let columns = listed.columns(COLUMNS);
    // What has a chip of its own is taken away there.
    let seven = filters.get("expires_within") == "7d";
    html(&ListPage {
        frame: visit.frame("View Certificates"),
        search: filters.get("q").to_owned(),
        kept: filters.without(&["q"]),
        chips: CHIPS.map(|chip| self::chip(&filters, chip)).into(),
        given: listed.given(&NARROWED_BY[usize::from(seven)..]),
        narrow: listed.narrow(fields(&visit, &filters)),
        heads: listed.heads(usual(&filters), heads(&columns)),
        columns,
        rows: page.items.iter().map(|one| row(&visit, one)).collect(),
        filtered: PARAMETERS.iter().any(|name| !filters.get(name).is_empty()),
        pages: listed.pages(&page),
        all: listed.all(),
        query: filters.with("cursor", ""),
        operates: visit.may(Permission::Operate),
        lines: lines(&filters, listed.limit()),
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
fn fields(visit: &Visit, filters: &Filters) -> Vec<Field> {
    let any = || (String::new(), "Any".to_owned());
    let profiles = visit.ca().profiles().map(|one| one.name().to_owned());
    let profiles = profiles.map(|name| (name.clone(), name));
    let ways = WAYS.map(|(value, words)| (value.to_owned(), words.to_owned()));
    let choice = |name, label, options: Vec<_>| {
        Field::choice(name, label, std::iter::once(any()).chain(options).collect()).value(filters.get(name))
    };
    let day = |name, label| Field::day(name, label).value(filters.get(name));
    vec![
        choice("profile", "Profile", profiles.collect()),
        choice("how", "Asked for", ways.into()),
        day("issued_from", "Issued from day"),
        day("issued_until", "Issued before day"),
        day("expires_from", "Expires from day"),
        day("expires_until", "Expires before day"),
    ]
}

/// What the address asks for, in the words of the API.
pub(in crate::web::pages) fn wish(
    visit: &Visit,
    filters: &Filters,
    limit: usize,
) -> Result<CertificateList, Fault> {
    let said = |name: &str| {
        Some(filters.get(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let query = CertificateQuery {
        status: said("status"),
        expires_within: said("expires_within"),
        device: said("device"),
        profile: said("profile"),
        authority: said("authority"),
        how: said("how"),
        issued_from: said("issued_from"),
        issued_until: said("issued_until"),
        expires_from: said("expires_from"),
        expires_until: said("expires_until"),
        q: said("q"),
        sort: said("sort"),
        limit: Some(limit),
        cursor: said("cursor"),
        format: None,
    };
    Ok(query.list(visit.now())?)
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

/// One status at a time: choosing one takes the others away.
fn chip(filters: &Filters, (name, value, words): (&'static str, &'static str, &'static str)) -> Choice {
    let other = if name == "status" {
        "expires_within"
    } else {
        "status"
    };
    let current = filters.get(name) == value && filters.get(other).is_empty();
    Choice {
        words: words.to_owned(),
        link: format!("certificates{}", filters.with_instead(name, value, other)),
        current,
    }
}

/// The heads of the columns that are shown, and what the list is sorted by with each.
fn heads(columns: &Columns) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![("CN", Some("name")), ("Status", None)];
    let shown = COLUMNS.iter().filter(|(name, ..)| columns.shows(name));
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

fn lines(filters: &Filters, limit: usize) -> Lines {
    let mut cli = format!("muster cert list --limit {limit}");
    let mut api = format!("GET /certificates?limit={limit}");
    for name in PARAMETERS {
        let value = filters.get(name);
        if !value.is_empty() {
            let option = if name == "q" {
                "search".to_owned()
            } else {
                name.replace('_', "-")
            };
            cli.push_str(&format!(" --{option} {}", quoted(value)));
            api.push_str(&format!("&{name}={}", escape(value)));
        }
    }
    Lines::new("list", &cli, &api)
}

const HEAD: &[&str] = &[
    "device",
    "status",
    "profile",
    "not_before",
    "not_after",
    "authority",
    "generation",
    "how",
    "serial",
];

pub(super) async fn csv(visit: Visit, filters: Filters) -> Result<Response, Fault> {
    send(&visit, &filters, Format::Csv).await
}

pub(super) async fn json(visit: Visit, filters: Filters) -> Result<Response, Fault> {
    send(&visit, &filters, Format::Json).await
}

async fn send(visit: &Visit, filters: &Filters, format: Format) -> Result<Response, Fault> {
    let mut list = wish(visit, filters, export::STEP)?;
    list.paging.cursor = None;
    let (ca, proof, now) = (visit.ca().clone(), visit.proof(), visit.now());
    let read = move |cursor: Option<Cursor>| {
        let (ca, proof, list) = (ca.clone(), proof.clone(), list.clone());
        async move { chunk(&ca, proof, list, cursor, now).await }
    };
    export::send(format, "certificates", HEAD, read).await
}

async fn chunk(
    ca: &Ca,
    proof: Proof,
    list: CertificateList,
    cursor: Option<Cursor>,
    now: Timestamp,
) -> Result<Chunk, muster_ca::Error> {
    let paging = Paging {
        cursor,
        ..list.paging
    };
    let page = ca.certificates(proof, CertificateList { paging, ..list }).await?;
    Ok(Chunk {
        next: page.next,
        rows: page.items.iter().map(|one| cells(one, now)).collect(),
    })
}

fn cells(one: &Certificate, now: Timestamp) -> Vec<String> {
    vec![
        one.device.to_string(),
        view::status_word(one, now).to_owned(),
        one.profile.clone(),
        one.not_before.to_string(),
        one.not_after.to_string(),
        one.authority.clone(),
        one.generation.to_string(),
        one.how.clone(),
        one.serial.hex(),
    ]
}
