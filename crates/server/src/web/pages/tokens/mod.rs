//! Enrolment tokens: how far each is used, and how to make and end one.

mod create;
mod end;
mod made;
mod show;

use askama::Template;
use axum::routing::get;
use jiff::Timestamp;
use muster_ca::operator::Permission;
use muster_ca::token::EnrolmentToken;

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

/// A token by its id: ids are hexadecimal, so the newest before the id with a letter behind it is the one itself.
async fn known(visit: &Visit, id: &str) -> Result<EnrolmentToken, Fault> {
    let before = format!("{id}~");
    let found = visit.ca().tokens(visit.proof(), Some(&before), 1).await?;
    let found = found.into_iter().find(|token| token.id == id);
    found.ok_or_else(|| Fault::missing("there is no enrolment token with this id"))
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
    first: Option<String>,
    next: Option<String>,
    lines: Lines,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let limit = filters.number("limit", USUAL, 500);
    let after = filters.get("after");
    let before = (!after.is_empty()).then_some(after);
    let mut tokens = visit.ca().tokens(visit.proof(), before, limit + 1).await?;
    let more = tokens.len() > limit;
    tokens.truncate(limit);
    let next = tokens
        .last()
        .filter(|_| more)
        .map(|last| filters.with("after", &last.id));
    let now = visit.now();
    let rows: Vec<_> = tokens.iter().map(|token| Row::of(token, now)).collect();
    html(&List {
        frame: visit.frame("Enrolment tokens"),
        may_operate: visit.may(Permission::Operate),
        live: rows.iter().any(|row| row.open),
        here: filters.with("after", after),
        first: before.map(|_| filters.with("after", "")),
        next,
        lines: Lines::new("list", "muster token list", &format!("GET /tokens?limit={limit}")),
        rows,
    })
}
