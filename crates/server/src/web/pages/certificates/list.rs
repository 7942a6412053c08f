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
use crate::web::components::{Badge, Icon, Lines, When, quoted};
use crate::web::export::{self, Chunk, Format};
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::visit::{Answer, Visit, html};

/// How many rows a page has, and what else it may have.
const USUAL: usize = 50;
const SIZES: [usize; 4] = [10, 50, 100, 500];

/// What to choose from, and the words: parameter, value, words.
const CHIPS: [(&str, &str, &str); 5] = [
    ("status", "", "All"),
    ("status", "active", "Active"),
    ("expires_within", "7d", "Expiring in 7 days"),
    ("status", "expired", "Expired"),
    ("status", "revoked", "Revoked"),
];
/// The columns that can be left out.
const COLUMNS: [(&str, &str); 6] = [
    ("issued", "Issued"),
    ("expires", "Expires"),
    ("profile", "Profile"),
    ("how", "Asked for"),
    ("authority", "Issued by"),
    ("serial", "Serial"),
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
    /// What the search and the columns keep of the address.
    kept: Vec<(String, String)>,
    kept_by_columns: Vec<(String, String)>,
    chips: Vec<Choice>,
    /// What else narrows it, each with the link that takes it away.
    narrowed: Vec<Choice>,
    columns: Vec<(&'static str, &'static str, bool)>,
    heads: Vec<Head>,
    rows: Vec<Row>,
    filtered: bool,
    cut_short: bool,
    sizes: Vec<Choice>,
    previous: Option<String>,
    next: Option<String>,
    query: String,
    operates: bool,
    lines: Lines,
}

struct Choice {
    words: String,
    link: String,
    current: bool,
}

/// A column's head; one that the list can be sorted by leads to that.
struct Head {
    words: &'static str,
    sort: Option<(String, &'static str)>,
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

impl ListPage {
    fn shows(&self, column: &str) -> bool {
        self.columns
            .iter()
            .any(|(name, _, shown)| *name == column && *shown)
    }
}

pub(super) async fn show(visit: Visit, filters: Filters) -> Answer {
    let limit = filters.number("limit", USUAL, 500);
    let list = wish(&visit, &filters, limit)?;
    let page = visit.ca().certificates(visit.proof(), list).await?;
    let turn = |cursor: Option<Cursor>| cursor.map(|cursor| filters.with("cursor", &cursor.to_string()));
    let columns = columns(&filters);
    html(&ListPage {
        frame: visit.frame("View Certificates"),
        search: filters.get("q").to_owned(),
        kept: filters.without(&["q"]),
        kept_by_columns: filters.without(&["show"]),
        chips: CHIPS.map(|chip| self::chip(&filters, chip)).into(),
        narrowed: narrowed(&filters),
        heads: heads(&filters, &columns),
        columns,
        rows: page.items.iter().map(|one| row(&visit, one)).collect(),
        filtered: PARAMETERS.iter().any(|name| !filters.get(name).is_empty()),
        cut_short: page.cut_short,
        sizes: SIZES.map(|size| self::size(&filters, size, limit)).into(),
        previous: turn(page.previous),
        next: turn(page.next),
        query: filters.with("cursor", ""),
        operates: visit.may(Permission::Operate),
        lines: lines(&filters, limit),
    })
}

/// What the address asks for, in the words of the API.
fn wish(visit: &Visit, filters: &Filters, limit: usize) -> Result<CertificateList, Fault> {
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
        issued: When::date(certificate.not_before),
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

/// What a link from another page narrows the list by, to be taken away again.
fn narrowed(filters: &Filters) -> Vec<Choice> {
    let shown = ["q", "status", "sort"];
    let others = PARAMETERS.into_iter().filter(|name| !shown.contains(name));
    let given = others.filter(|name| !filters.get(name).is_empty());
    given
        .filter(|name| (*name, filters.get(name)) != ("expires_within", "7d"))
        .map(|name| Choice {
            words: format!("{} {}", name.replace('_', " "), filters.get(name)),
            link: format!("certificates{}", filters.with(name, "")),
            current: true,
        })
        .collect()
}

fn size(filters: &Filters, size: usize, limit: usize) -> Choice {
    Choice {
        words: size.to_string(),
        link: format!("certificates{}", filters.with("limit", &size.to_string())),
        current: size == limit,
    }
}

/// Every column that can be left out, and whether it is shown: the usual ones if none was chosen.
fn columns(filters: &Filters) -> Vec<(&'static str, &'static str, bool)> {
    let chosen: Vec<_> = filters.all("show").collect();
    let usual = |name: &str| !["how", "authority"].contains(&name);
    let shown = |name: &str| {
        if chosen.is_empty() {
            usual(name)
        } else {
            chosen.contains(&name)
        }
    };
    COLUMNS.map(|(name, words)| (name, words, shown(name))).into()
}

fn heads(filters: &Filters, columns: &[(&'static str, &'static str, bool)]) -> Vec<Head> {
    let sorted = filters.get("sort");
    let head = |words: &'static str, order: Option<&str>| Head {
        words,
        sort: order.map(|order| {
            let down = format!("-{order}");
            let (next, state) = match sorted {
                now if now == order => (down.as_str(), "ascending"),
                now if now == down => (order, "descending"),
                _ => (order, "none"),
            };
            (format!("certificates{}", filters.with("sort", next)), state)
        }),
    };
    let order = |name: &str| match name {
        "issued" => Some("issued"),
        "expires" => Some("expiry"),
        _ => None,
    };
    let mut heads = vec![head("CN", Some("name")), head("Status", None)];
    let shown = columns.iter().filter(|(.., shown)| *shown);
    heads.extend(shown.map(|(name, words, _)| head(words, order(name))));
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
