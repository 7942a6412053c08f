//! Enrolment tokens: how far each is used, and how to make and end one.

mod create;
mod end;
mod made;
mod show;

use askama::Template;
use axum::routing::get;
use jiff::Timestamp;
use muster_ca::list::{Cursor, TokenList};
use muster_ca::operator::Permission;
use muster_ca::token::EnrolmentToken;

use crate::lists::TokenQuery;
use crate::web::components::{Badge, Icon, Lines, Mood, When};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Fleet",
        label: "Enrolment tokens",
        icon: "ticket",
    }),
    routes: &[
        Route::get("tokens", Permission::Read, || get(list)),
        create::FORM,
        create::SEND,
        show::SHOW,
        end::WITHDRAW_FORM,
        end::WITHDRAW,
        end::UNBIND_FORM,
        end::UNBIND,
    ],
};

const USUAL: usize = 50;

/// A token as pages show it.
struct Row {
    id: String,
    whom: String,
    badge: Badge,
    open: bool,
    used: u32,
    uses: u32,
    profile: String,
    expires: When,
    created: When,
    by: String,
}

impl Row {
    fn of(token: &EnrolmentToken, now: Timestamp) -> Self {
        let (badge, open) = state(token, now);
        Self {
            id: token.id.clone(),
            whom: whom(token),
            badge,
            open,
            used: token.used,
            uses: token.uses,
            profile: token.profile.clone(),
            expires: When::relative(token.expires, now),
            created: When::relative(token.created, now),
            by: token.by.clone(),
        }
    }
}

/// In the words of `/api/v1`, and whether it is good for another name.
fn state(token: &EnrolmentToken, now: Timestamp) -> (Badge, bool) {
    if token.withdrawn.is_some() {
        (Badge::new(Mood::Quiet, "Withdrawn").icon("ban"), false)
    } else if token.used >= token.uses {
        (Badge::new(Mood::Quiet, "Used up").icon("check"), false)
    } else if now > token.expires {
        (Badge::new(Mood::Quiet, "Expired").icon("clock"), false)
    } else {
        (Badge::new(Mood::Good, "Open"), true)
    }
}

fn whom(token: &EnrolmentToken) -> String {
    match (&token.device, token.wave.as_str()) {
        (Some(device), "") => device.to_string(),
        (Some(device), wave) => format!("{device} ({wave})"),
        (None, wave) => format!("wave {wave}"),
    }
}

/// A token by its id.
async fn known(visit: &Visit, id: &str) -> Result<EnrolmentToken, Fault> {
    let list = TokenList {
        id: Some(id.to_owned()),
        ..TokenList::default()
    };
    let found = visit.ca().tokens(visit.proof(), list).await?;
    found
        .items
        .into_iter()
        .next()
        .ok_or_else(|| Fault::missing("there is no enrolment token with this id"))
}

#[derive(Template)]
#[template(path = "pages/tokens/list.html")]
struct List {
    frame: Frame,
    may_operate: bool,
    rows: Vec<Row>,
    /// Whether the numbers may change while somebody looks.
    live: bool,
    here: String,
    previous: Option<String>,
    next: Option<String>,
    lines: Lines,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let limit = filters.number("limit", USUAL, 500);
    let (cursor, now) = (filters.get("cursor"), visit.now());
    let query = TokenQuery {
        limit: Some(limit),
        cursor: Some(cursor.to_owned()),
        ..TokenQuery::default()
    };
    let found = visit.ca().tokens(visit.proof(), query.list(now)?).await?;
    let link = |cursor: &Cursor| filters.with("cursor", &cursor.to_string());
    let rows: Vec<_> = found.items.iter().map(|token| Row::of(token, now)).collect();
    html(&List {
        frame: visit.frame("Enrolment tokens"),
        may_operate: visit.may(Permission::Operate),
        live: rows.iter().any(|row| row.open),
        here: filters.with("cursor", cursor),
        previous: found.previous.as_ref().map(link),
        next: found.next.as_ref().map(link),
        lines: Lines::new("list", "muster token list", &format!("GET /tokens?limit={limit}")),
        rows,
    })
}
