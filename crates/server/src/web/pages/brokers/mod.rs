//! Brokers: what each was proved to enforce, what is wrong, and how one comes and goes.

mod add;
mod one;
mod retire;

use askama::Template;
use axum::routing::{get, post};
use jiff::Timestamp;
use muster_ca::broker::agent::{Standing, StandingState};
use muster_ca::operator::Permission;

use crate::web::components::{Badge, Icon, Lines, When, thousands};
use crate::web::frame::Frame;
use crate::web::proofs::{badge, took};
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Fleet",
        label: "Brokers",
        icon: "server",
    }),
    routes: &[
        Route::get("brokers", Permission::Read, || get(list)),
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

#[derive(Template)]
#[template(path = "pages/brokers/list.html")]
struct List {
    frame: Frame,
    administers: bool,
    rows: Vec<Row>,
    lines: Lines,
}

struct Row {
    name: String,
    program: &'static str,
    state: Badge,
    epoch: Option<(u64, When, String)>,
    certificate: Option<When>,
    crl: Option<When>,
    sessions: Option<String>,
    wrong: Option<String>,
}

async fn list(visit: Visit) -> Answer {
    let mut all = visit.ca().broker_standings(visit.proof()).await?;
    all.sort_by_key(urgency);
    html(&List {
        frame: visit.frame("Brokers"),
        administers: visit.may(Permission::Administer),
        rows: all.iter().map(|one| row(one, visit.now())).collect(),
        lines: Lines::new("brokers", "muster broker list", "GET /brokers"),
    })
}

/// What needs somebody comes first.
fn urgency(standing: &Standing) -> u8 {
    match standing.state {
        StandingState::Silent => 0,
        StandingState::Unconfirmed => 1,
        StandingState::Proven if !wrong(standing).is_empty() => 2,
        StandingState::Waiting => 3,
        StandingState::Proven => 4,
        StandingState::Retired => 5,
    }
}

fn row(standing: &Standing, now: Timestamp) -> Row {
    let broker = &standing.broker;
    let report = standing.report.as_ref();
    let wrong = wrong(standing);
    let more = wrong.len().saturating_sub(1);
    Row {
        name: broker.name.to_string(),
        program: broker.program.as_str(),
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
        wrong: wrong.into_iter().next().map(|first| match more {
            0 => first,
            more => format!("{first}; and {more} more"),
        }),
    }
}

/// What is wrong there, as its agent says: without its name, which stands above.
fn wrong(standing: &Standing) -> Vec<String> {
    let broker = &standing.broker;
    let name = format!("{}: ", broker.name);
    let alarms = standing.report.iter().flat_map(|report| &report.alarms);
    let alarms: Vec<_> = alarms
        .map(|alarm| alarm.strip_prefix(&name).unwrap_or(alarm).to_owned())
        .collect();
    if alarms.is_empty() {
        return broker.failed.iter().map(|failed| failed.why.clone()).collect();
    }
    alarms
}
