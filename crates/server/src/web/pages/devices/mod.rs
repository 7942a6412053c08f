//! Devices: the list, what needs somebody first, and the same as a file.

mod access;
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
use crate::web::components::{
    All, Badge, Chips, Columns, Field, Given, Heads, Icon, Lines, Listed, Narrow, Pages, When, quoted,
};
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
        access::FORM,
        access::SEND,
        act::FORM,
        act::SEND,
    ],
};

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
/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 4] = [
    ("kind", "Kind", true),
    ("profile", "Profile", true),
    ("until", "Expires", true),
    ("created", "Registered", true),
];
/// The kinds to choose from, and their words.
const KINDS: [(&str, &str); 3] = [
    ("client", "client: a site, a device"),
    ("server", "server: a broker"),
    ("broker", "broker: one that bridges, too"),
];
/// What narrows or orders the list: the parameter, and the option of the command line.
const PARAMETERS: [(&str, &str); 5] = [
    ("q", "search"),
    ("state", "state"),
    ("kind", "kind"),
    ("profile", "profile"),
    ("sort", "sort"),
];
/// What else narrows the list, in a menu.
const NARROWED_BY: [&str; 2] = ["kind", "profile"];

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
    /// What the search keeps of the address.
    kept: Vec<(String, String)>,
    states: Chips,
    given: Given,
    narrow: Narrow,
    columns: Columns,
    heads: Heads,
    rows: Vec<Row>,
    filtered: bool,
    pages: Pages,
    all: All,
    query: String,
    lines: Lines,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("devices"), &filters);
    let found = visit
        .ca()
        .devices(visit.proof(), wish(&filters, listed.limit())?)
        .await?;
    let pages = listed.pages(&found);
    let mut rows = Vec::new();
    for device in found.items {
        rows.push(row(&visit, device).await?);
    }
    let filtered = ["q", "state", "kind", "profile"]
        .iter()
        .any(|name| !filters.get(name).is_empty());
    let begins = filters.get("cursor").is_empty();
    let troubles = if filtered || !begins {
        Vec::new()
    } else {
        troubles(&visit).await?
    };
    let columns = listed.columns(COLUMNS);
    html(&List {
        frame: visit.frame("Devices"),
        may_operate: visit.may(Permission::Operate),
        troubles,
        search: filters.get("q").to_owned(),
        kept: filters.without(&["q"]),
        states: listed.chips("State", "state", STATES),
        given: listed.given(&NARROWED_BY),
        narrow: listed.narrow(fields(&visit, &filters)),
        heads: listed.heads("name", heads(&columns)),
        columns,
        rows,
        filtered,
        pages,
        all: listed.all(),
        query: filters.with("cursor", ""),
        lines: lines(&filters, listed.limit()),
    })
}

/// The fields of the menu.
fn fields(visit: &Visit, filters: &Filters) -> Vec<Field> {
    let any = || (String::new(), "Any".to_owned());
    let kinds = KINDS.map(|(value, words)| (value.to_owned(), words.to_owned()));
    let profiles = visit.ca().profiles().map(|one| one.name().to_owned());
    let profiles = profiles.map(|name| (name.clone(), name));
    let choice = |name, label, options: Vec<_>| {
        Field::choice(name, label, std::iter::once(any()).chain(options).collect()).value(filters.get(name))
    };
    vec![
        choice("kind", "Kind", kinds.into()),
        choice("profile", "Profile", profiles.collect()),
    ]
}

/// The heads of the columns that are shown, and what the list is sorted by with each.
fn heads(columns: &Columns) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![("Device", Some("name")), ("State", None)];
    let shown = COLUMNS.iter().filter(|(name, ..)| columns.shows(name));
    heads.extend(shown.map(|(name, words, _)| (*words, (*name == "created").then_some("created"))));
    heads
}

/// What the address asks for.
fn wish(filters: &Filters, limit: usize) -> Result<DeviceList, Fault> {
    let given = |name| Some(filters.get(name).to_owned());
    let query = DeviceQuery {
        kind: given("kind"),
        state: given("state"),
        profile: given("profile"),
        sort: given("sort"),
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

fn lines(filters: &Filters, limit: usize) -> Lines {
    let mut cli = format!("muster device list --limit {limit}");
    let mut api = format!("GET /devices?limit={limit}");
    for (name, option) in PARAMETERS {
        let value = filters.get(name);
        if !value.is_empty() {
            cli.push_str(&format!(" --{option} {}", quoted(value)));
            api.push_str(&format!("&{name}={}", crate::web::form::escape(value)));
        }
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
