//! Brokers: what each was proved to enforce, what is wrong, and how one comes and goes.

mod add;
mod one;
mod retire;

use askama::Template;
use axum::routing::{get, post};
use jiff::Timestamp;
use muster_ca::broker::Program;
use muster_ca::broker::agent::Standing;
use muster_ca::operator::Permission;

use crate::lists::BrokerQuery;
use crate::web::components::{
    Badge, Heads, Icon, Lines, Listed, Pages, Search, Toolbar, Tools, When, thousands,
};
use crate::web::export;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::proofs::{badge, took};
use crate::web::query::Filters;
use crate::web::route::{Entry, Page, Route};
use crate::web::several::Several;
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Fleet",
        label: "Brokers",
        icon: "server",
    }),
    routes: &[
        Route::get("brokers", Permission::Read, || get(list)),
        Route::get("brokers/-/brokers.csv", Permission::Read, || {
            get(export::csv::<BrokerQuery>)
        }),
        Route::get("brokers/-/brokers.json", Permission::Read, || {
            get(export::json::<BrokerQuery>)
        }),
        Route::post("brokers/-/retire", Permission::Administer, || {
            post(retire_several)
        }),
        Route::get("brokers/-/new", Permission::Administer, || get(add::form)),
        Route::post("brokers/-/new", Permission::Administer, || post(add::send)),
        Route::get("brokers/{name}", Permission::Read, || get(one::show)),
        Route::post("brokers/{name}/join", Permission::Administer, || post(add::again)),
        Route::get("brokers/{name}/retire", Permission::Administer, || {
            get(retire::form)
        }),
        Route::post("brokers/{name}/retire", Permission::Administer, || {
            post(retire::send)
        }),
    ],
};

/// The states to choose from, and their words.
const STATES: [(&str, &str); 6] = [
    ("", "All"),
    ("proven", "Proven"),
    ("unconfirmed", "Unconfirmed"),
    ("silent", "Silent"),
    ("waiting", "Not joined"),
    ("retired", "Retired"),
];
/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("proof", "Enforces", true),
    ("certificate", "Certificate ends", true),
    ("crl", "CRL runs out", true),
    ("sessions", "Sessions", true),
    ("heard", "Agent last heard", false),
    ("created", "Registered", false),
];
/// What else narrows the list, in a menu.
const NARROWED_BY: [&str; 1] = ["program"];
const SEARCH: Search = Search {
    name: "q",
    label: "Beginning of a name",
    hint: "Beginning of a name",
};

#[derive(Template)]
#[template(path = "pages/brokers/list.html")]
struct List {
    frame: Frame,
    administers: bool,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    filtered: bool,
    pages: Pages,
    lines: Lines,
}

struct Row {
    name: String,
    program: &'static str,
    serving: bool,
    state: Badge,
    epoch: Option<(u64, When, String)>,
    certificate: Option<When>,
    crl: Option<When>,
    sessions: Option<String>,
    heard: Option<When>,
    created: When,
    wrong: Option<String>,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("brokers"), &filters);
    let asked = filters.asked::<BrokerQuery>(visit.now())?;
    let found = visit.ca().brokers(visit.proof(), asked).await?;
    let programs = Program::ALL.map(|(program, id)| (id.to_owned(), words(program).to_owned()));
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: Some(listed.chips("State", "state", STATES)),
        fields: vec![listed.choice("program", "Program", programs)],
        given: &NARROWED_BY,
        columns: &COLUMNS,
        file: visit.url("brokers/-/brokers"),
    });
    html(&List {
        frame: visit.frame("Brokers"),
        administers: visit.may(Permission::Administer),
        heads: listed.heads("state", heads(&toolbar)),
        toolbar,
        rows: found.items.iter().map(|one| row(one, visit.now())).collect(),
        filtered: listed.is_narrowed::<BrokerQuery>(),
        pages: listed.pages(&found),
        lines: listed.lines::<BrokerQuery>(),
    })
}

/// The heads of the columns that are shown, and what the list is sorted by with each.
fn heads(toolbar: &Toolbar) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![("Broker", Some("name")), ("State", Some("state"))];
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name));
    heads.extend(shown.map(|(name, words, _)| (*words, (*name != "heard").then_some(*name))));
    heads
}

/// What a program is called.
fn words(program: Program) -> &'static str {
    match program {
        Program::Mosquitto => "Mosquitto",
        Program::RabbitMq => "RabbitMQ",
        Program::Emqx => "EMQX 5",
        Program::HaProxy => "HAProxy that ends TLS",
        Program::Gate => "Muster's gate, in front of any other",
    }
}

fn row(standing: &Standing, now: Timestamp) -> Row {
    let broker = &standing.broker;
    let report = standing.report.as_ref();
    let wrong = standing.wrong();
    let more = wrong.len().saturating_sub(1);
    Row {
        name: broker.name.to_string(),
        program: broker.program.as_str(),
        serving: broker.retired.is_none(),
        state: badge(standing.state),
        epoch: broker.enforced.map(|enforced| {
            (
                enforced.number,
                When::relative(enforced.at, now),
                took(enforced.micros),
            )
        }),
        certificate: report
            .and_then(|report| report.certificate_not_after)
            .map(|at| When::relative(at, now)),
        crl: standing.crl_until().map(|at| When::relative(at, now)),
        sessions: report.and_then(|report| report.sessions).map(thousands),
        heard: standing.heard.map(|at| When::relative(at, now)),
        created: When::date(broker.created),
        wrong: wrong.into_iter().next().map(|first| match more {
            0 => first,
            more => format!("{first}; and {more} more"),
        }),
    }
}

async fn retire_several(visit: Visit, Form(sent): Form<Vec<(String, String)>>) -> Answer {
    Several::Brokers.send(&visit, &sent).await
}
