//! Provisioners as a list.

use askama::Template;
use axum::routing::get;
use muster_ca::operator::Permission;
use muster_ca::provisioner::Provisioner;

use crate::lists::ProvisionerQuery;
use crate::web::components::{Heads, Icon, Lines, Listed, Pages, Search, Toolbar, Tools, When};
use crate::web::export;
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html};

pub(super) const LIST: Route = Route::get("ca/provisioners", Permission::Read, || get(list));
pub(super) const CSV: Route = Route::get("ca/provisioners/-/provisioners.csv", Permission::Read, || {
    get(export::csv::<ProvisionerQuery>)
});
pub(super) const JSON: Route = Route::get("ca/provisioners/-/provisioners.json", Permission::Read, || {
    get(export::json::<ProvisionerQuery>)
});

/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 5] = [
    ("profiles", "Profiles", true),
    ("names", "Names", true),
    ("replaces", "Replaces keys", true),
    ("key", "Key", false),
    ("created", "Since", true),
];
const SEARCH: Search = Search {
    name: "q",
    label: "Beginning of a name",
    hint: "Beginning of a name",
};

#[derive(Template)]
#[template(path = "pages/authority/provisioners.html")]
struct List {
    frame: Frame,
    may_administer: bool,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    filtered: bool,
    pages: Pages,
    lines: Lines,
}

struct Row {
    name: String,
    escaped: String,
    profiles: String,
    names: String,
    replaces: bool,
    key: String,
    since: When,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("ca/provisioners"), &filters);
    let asked = filters.asked::<ProvisionerQuery>(visit.now())?;
    let found = visit.ca().list_provisioners(&asked)?;
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: None,
        fields: vec![listed.profiles(&visit)],
        given: &["profile"],
        columns: &COLUMNS,
        file: visit.url("ca/provisioners/-/provisioners"),
    });
    let head =
        |(name, words, _): &(&str, &'static str, bool)| (*words, (*name == "created").then_some("created"));
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name)).map(head);
    let heads = std::iter::once(("Name", Some("name"))).chain(shown);
    html(&List {
        frame: visit.frame("Provisioners"),
        may_administer: visit.may(Permission::Administer),
        heads: listed.heads("name", heads.collect::<Vec<_>>()),
        toolbar,
        rows: found.items.iter().map(row).collect(),
        filtered: listed.is_narrowed::<ProvisionerQuery>(),
        pages: listed.pages(&found),
        lines: listed.lines::<ProvisionerQuery>(),
    })
}

fn row(record: &Provisioner) -> Row {
    Row {
        name: record.name.clone(),
        escaped: escape(&record.name),
        profiles: record.profiles.join(", "),
        names: if record.names.is_empty() {
            "any free name".into()
        } else {
            record.names.join(", ")
        },
        replaces: record.may_replace,
        key: record.kid.clone(),
        since: When::date(record.created),
    }
}
