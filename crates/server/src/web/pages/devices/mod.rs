//! Devices: the list, what needs somebody first, and the same as a file.

mod access;
mod act;
mod create;
mod selected;
mod show;

pub(in crate::web::pages) use act::Act;
pub(in crate::web::pages) use create::profiles;

use askama::Template;
use axum::routing::get;
use muster_ca::device::{Device, DeviceName, State};
use muster_ca::list::{CertificateList, CertificateSort, CertificateStatus, DeviceList, Paging, Span};
use muster_ca::operator::Permission;

use crate::lists::DeviceQuery;
use crate::web::components::{All, Badge, Heads, Icon, Lines, Listed, Pages, Search, Toolbar, Tools, When};
use crate::web::export;
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
        Route::get("devices/-/devices.csv", Permission::Read, || {
            get(export::csv::<DeviceQuery>)
        }),
        Route::get("devices/-/devices.json", Permission::Read, || {
            get(export::json::<DeviceQuery>)
        }),
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
/// What else narrows the list, in a menu.
const NARROWED_BY: [&str; 2] = ["kind", "profile"];
const SEARCH: Search = Search {
    name: "q",
    label: "Beginning of a name",
    hint: "Beginning of a name",
};

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
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    filtered: bool,
    pages: Pages,
    all: All,
    lines: Lines,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("devices"), &filters);
    let asked = filters.asked::<DeviceQuery>(visit.now())?;
    let found = visit.ca().devices(visit.proof(), asked).await?;
    let pages = listed.pages(&found);
    let mut rows = Vec::new();
    for device in found.items {
        rows.push(row(&visit, device).await?);
    }
    let filtered = listed.is_narrowed::<DeviceQuery>();
    let begins = filters.get("cursor").is_empty();
    let troubles = if filtered || !begins {
        Vec::new()
    } else {
        troubles(&visit).await?
    };
    let kinds = KINDS.map(|(value, words)| (value.to_owned(), words.to_owned()));
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: Some(listed.chips("State", "state", STATES)),
        fields: vec![listed.choice("kind", "Kind", kinds), listed.profiles(&visit)],
        given: &NARROWED_BY,
        columns: &COLUMNS,
        file: visit.url("devices/-/devices"),
    });
    html(&List {
        frame: visit.frame("Devices"),
        may_operate: visit.may(Permission::Operate),
        troubles,
        heads: listed.heads("name", heads(&toolbar)),
        toolbar,
        rows,
        filtered,
        pages,
        all: listed.all(),
        lines: listed.lines::<DeviceQuery>(),
    })
}

/// The heads of the columns that are shown, and what the list is sorted by with each.
fn heads(toolbar: &Toolbar) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![("Device", Some("name")), ("State", None)];
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name));
    heads.extend(shown.map(|(name, words, _)| (*words, (*name == "created").then_some("created"))));
    heads
}

async fn row(visit: &Visit, device: Device) -> Result<Row, Fault> {
    let now = visit.now();
    let certificates = visit
        .ca()
        .certificates_of(visit.proof(), &device.name, now)
        .await?;
    let health = Health::of(visit.ca(), &device, &certificates, now);
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
        let health = Health::of(visit.ca(), &device, &certificates, now);
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
