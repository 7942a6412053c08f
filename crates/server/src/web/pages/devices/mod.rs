//! Devices: the list, what needs somebody first, and the same as a file.

mod act;
mod create;
mod selected;
mod show;

pub(in crate::web::pages) use create::profiles;

use askama::Template;
use axum::response::Response;
use axum::routing::get;
use muster_ca::Ca;
use muster_ca::device::{Device, DeviceName, State};
use muster_ca::list::{
    CertificateList, CertificateSort, CertificateStatus, Cursor, DeviceList, Paging, Span,
};
use muster_ca::operator::Permission;

use crate::lists::DeviceQuery;
use crate::web::components::{Badge, Icon, Lines, When, quoted};
use crate::web::export::{self, Chunk, Format};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::health::{Health, SOON};
use crate::web::query::Filters;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

/// What is no device stands below `-`, with which no name begins.
pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Fleet",
        label: "Devices",
        icon: "device",
    }),
    routes: &[
        Route::get("devices", Permission::Read, || get(list)),
        Route::get("devices/-/devices.csv", Permission::Read, || get(csv)),
        Route::get("devices/-/devices.json", Permission::Read, || get(json)),
        create::FORM,
        create::SEND,
        selected::SEND,
        show::SHOW,
        act::FORM,
        act::SEND,
    ],
};

/// How many rows a page has, and what else it may have.
const USUAL: usize = 50;
const SIZES: [usize; 4] = [25, 50, 100, 500];
/// How many devices that need somebody are shown, and how many certificates are looked at for them.
const TROUBLES: usize = 5;
const LOOKED_AT: usize = 20;

/// The states to choose from, and their words.
const STATES: [(&str, &str); 6] = [
    ("", "All"),
    ("active", "Active"),
    ("new", "New"),
    ("suspended", "Suspended"),
    ("revoked", "Revoked"),
    ("retired", "Retired"),
];
/// The columns that can be left out.
const COLUMNS: [(&str, &str); 4] = [
    ("kind", "Kind"),
    ("profile", "Profile"),
    ("until", "Expires"),
    ("created", "Registered"),
];

/// A link that is one of several.
struct Choice {
    link: String,
    words: String,
    current: bool,
}

struct Row {
    name: String,
    note: String,
    health: Health,
    kind: &'static str,
    profile: String,
    until: Option<When>,
    created: When,
}

struct Trouble {
    name: String,
    badge: Badge,
    words: &'static str,
    until: Option<When>,
}

#[derive(Template)]
#[template(path = "pages/devices/list.html")]
struct List {
    frame: Frame,
    may_operate: bool,
    troubles: Vec<Trouble>,
    search: String,
    /// What the search and the columns keep of the address.
    kept: Vec<(String, String)>,
    kept_by_columns: Vec<(String, String)>,
    states: Vec<Choice>,
    columns: Vec<(&'static str, &'static str, bool)>,
    rows: Vec<Row>,
    filtered: bool,
    sizes: Vec<Choice>,
    previous: Option<String>,
    next: Option<String>,
    /// Whether there may be more that fit, though this page is not full.
    cut_short: bool,
    query: String,
    lines: Lines,
}

impl List {
    fn shows(&self, column: &str) -> bool {
        self.columns
            .iter()
            .any(|(name, _, shown)| *name == column && *shown)
    }
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let limit = filters.number("limit", USUAL, 500);
    let found = visit.ca().devices(visit.proof(), wish(&filters, limit)?).await?;
    let link = |cursor: &Cursor| filters.with("cursor", &cursor.to_string());
    let (next, previous) = (found.next.as_ref().map(link), found.previous.as_ref().map(link));
    let mut rows = Vec::new();
    for device in found.items {
        rows.push(row(&visit, device).await?);
    }
    let filtered = !filters.get("q").is_empty() || !filters.get("state").is_empty();
    let begins = filters.get("cursor").is_empty();
    let troubles = if filtered || !begins {
        Vec::new()
    } else {
        troubles(&visit).await?
    };
    html(&List {
        frame: visit.frame("Devices"),
        may_operate: visit.may(Permission::Operate),
        troubles,
        search: filters.get("q").to_owned(),
        kept: filters.without(&["q"]),
        kept_by_columns: filters.without(&["show"]),
        states: STATES
            .map(|(value, words)| choice(&filters, "state", value, words))
            .into(),
        columns: columns(&filters),
        rows,
        filtered,
        sizes: SIZES
            .map(|size| Choice {
                current: size == limit,
                ..choice(&filters, "limit", &size.to_string(), &size.to_string())
            })
            .into(),
        previous,
        next,
        cut_short: found.cut_short,
        query: filters.with("cursor", ""),
        lines: lines(&filters, limit),
    })
}

/// What the address asks for.
fn wish(filters: &Filters, limit: usize) -> Result<DeviceList, Fault> {
    let given = |name| Some(filters.get(name).to_owned());
    let query = DeviceQuery {
        state: given("state"),
        q: given("q"),
        cursor: given("cursor"),
        limit: Some(limit),
        ..DeviceQuery::default()
    };
    Ok(query.list()?)
}

async fn row(visit: &Visit, device: Device) -> Result<Row, Fault> {
    let now = visit.now();
    let certificates = visit
        .ca()
        .certificates_of(visit.proof(), &device.name, now)
        .await?;
    let health = Health::of(&device, &certificates, now);
    Ok(Row {
        name: device.name.to_string(),
        until: health.until().map(|until| When::relative(until, now)),
        health,
        kind: device.kind.as_str(),
        profile: device.profile,
        note: device.note,
        created: When::date(device.created),
    })
}

/// Devices that are suspended, or whose certificate runs out soon although it should have been renewed. A few of each are
/// looked at, however many there are.
async fn troubles(visit: &Visit) -> Result<Vec<Trouble>, Fault> {
    let (ca, now) = (visit.ca(), visit.now());
    let paging = |limit| Paging { cursor: None, limit };
    let ending = CertificateList {
        status: Some(CertificateStatus::Active),
        expires: Span {
            from: None,
            until: Some(now + SOON),
        },
        sort: CertificateSort::Expiry,
        now,
        paging: paging(LOOKED_AT),
        ..CertificateList::default()
    };
    let ending = ca.certificates(visit.proof(), ending).await?.items.into_iter();
    let mut names: Vec<_> = ending.map(|certificate| certificate.device).collect();
    let suspended = DeviceList {
        state: Some(State::Suspended),
        paging: paging(TROUBLES),
        ..DeviceList::default()
    };
    let suspended = ca.devices(visit.proof(), suspended).await?.items.into_iter();
    names.extend(suspended.map(|device| device.name));
    names.retain(|name| DeviceName::parse(name.as_str()).is_ok());
    names.sort();
    names.dedup();
    let mut troubles = Vec::new();
    for name in names {
        let device = ca.device(visit.proof(), &name).await?;
        let certificates = ca.certificates_of(visit.proof(), &name, now).await?;
        let health = Health::of(&device, &certificates, now);
        if health.is_trouble() && troubles.len() < TROUBLES {
            troubles.push(Trouble {
                name: name.to_string(),
                badge: health.badge(),
                words: health.words(),
                until: health.until().map(|until| When::relative(until, now)),
            });
        }
    }
    Ok(troubles)
}

fn choice(filters: &Filters, name: &str, value: &str, words: &str) -> Choice {
    let query = filters.with(name, value);
    Choice {
        link: format!("devices{query}"),
        words: words.to_owned(),
        current: filters.get(name) == value,
    }
}

/// Every column that can be left out, and whether it is shown: all of them if none was chosen.
fn columns(filters: &Filters) -> Vec<(&'static str, &'static str, bool)> {
    let chosen: Vec<_> = filters.all("show").collect();
    let shown = |name| chosen.is_empty() || chosen.contains(&name);
    COLUMNS.map(|(name, words)| (name, words, shown(name))).into()
}

fn lines(filters: &Filters, limit: usize) -> Lines {
    let (prefix, state) = (filters.get("q").to_lowercase(), filters.get("state"));
    let mut cli = String::from("muster device list");
    let mut api = format!("GET /devices?limit={limit}");
    if !prefix.is_empty() {
        cli.push_str(&format!(" --search {}", quoted(&prefix)));
        api.push_str(&format!("&q={}", crate::web::form::escape(&prefix)));
    }
    if !state.is_empty() {
        cli.push_str(&format!(" --state {state}"));
        api.push_str(&format!("&state={state}"));
    }
    Lines::new("list", &cli, &api)
}

const HEAD: &[&str] = &["name", "kind", "state", "profile", "created", "note"];

async fn csv(visit: Visit, filters: Filters) -> Result<Response, Fault> {
    send(&visit, &filters, Format::Csv).await
}

async fn json(visit: Visit, filters: Filters) -> Result<Response, Fault> {
    send(&visit, &filters, Format::Json).await
}

async fn send(visit: &Visit, filters: &Filters, format: Format) -> Result<Response, Fault> {
    let (ca, proof, list) = (visit.ca().clone(), visit.proof(), wish(filters, export::STEP)?);
    let read = move |cursor: Option<Cursor>| {
        let list = DeviceList {
            paging: Paging {
                cursor,
                limit: export::STEP,
            },
            ..list.clone()
        };
        chunk(ca.clone(), proof.clone(), list)
    };
    export::send(format, "devices", HEAD, read).await
}

async fn chunk(
    ca: std::sync::Arc<Ca>,
    proof: muster_ca::Proof,
    list: DeviceList,
) -> Result<Chunk, muster_ca::Error> {
    let found = ca.devices(proof, list).await?;
    Ok(Chunk {
        next: found.next,
        rows: found.items.iter().map(cells).collect(),
    })
}

fn cells(device: &Device) -> Vec<String> {
    vec![
        device.name.to_string(),
        device.kind.as_str().to_owned(),
        device.state.as_str().to_owned(),
        device.profile.clone(),
        device.created.to_string(),
        device.note.clone(),
    ]
}
