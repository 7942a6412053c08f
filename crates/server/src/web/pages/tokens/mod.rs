//! Enrolment tokens: how far each is used, and how to make and end one.

mod create;
mod end;
pub(in crate::web::pages) mod made;
mod show;

use askama::Template;
use axum::routing::get;
use jiff::Timestamp;
use muster_ca::TokenRefusal;
use muster_ca::list::TokenList;
use muster_ca::operator::Permission;
use muster_ca::token::EnrolmentToken;

use crate::lists::TokenQuery;
use crate::web::components::{
    All, Badge, Heads, Icon, Lines, Listed, Mood, Pages, Search, Toolbar, Tools, When,
};
use crate::web::export;
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
        Route::get("tokens/-/tokens.csv", Permission::Read, || {
            get(export::csv::<TokenQuery>)
        }),
        Route::get("tokens/-/tokens.json", Permission::Read, || {
            get(export::json::<TokenQuery>)
        }),
        create::FORM,
        create::SEND,
        show::SHOW,
        end::WITHDRAW_FORM,
        end::WITHDRAW,
        end::WITHDRAW_MANY,
        end::UNBIND_FORM,
        end::UNBIND,
    ],
};

/// A token as pages show it.
struct Row {
    id: String,
    whom: String,
    badge: Badge,
    /// Once somebody showed it with another key.
    again: Option<Badge>,
    open: bool,
    used: u32,
    uses: u32,
    profile: String,
    expires: When,
    created: When,
    by: String,
}

impl Row {
    fn of(token: &EnrolmentToken, refusals: &[TokenRefusal], now: Timestamp) -> Self {
        let (badge, open) = state(token, now);
        let again = refusals.iter().any(|refusal| refusal.token == token.id);
        Self {
            id: token.id.clone(),
            whom: whom(token),
            badge,
            again: again.then(|| Badge::new(Mood::Warning, "Shown by another")),
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
        (Some(device), _) if token.recovers => format!("recovery of {device}"),
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

/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 4] = [
    ("used", "Used", true),
    ("profile", "Profile", true),
    ("expires", "Expires", true),
    ("made", "Made", true),
];
/// The statuses to choose from, and their words.
const STATUSES: [(&str, &str); 5] = [
    ("", "All"),
    ("open", "Open"),
    ("used-up", "Used up"),
    ("expired", "Expired"),
    ("withdrawn", "Withdrawn"),
];
const SEARCH: Search = Search {
    name: "q",
    label: "Beginning of a device's, a wave's or a token's name",
    hint: "Device, wave or id",
};

#[derive(Template)]
#[template(path = "pages/tokens/list.html")]
struct List {
    frame: Frame,
    may_operate: bool,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    all: All,
    filtered: bool,
    pages: Pages,
    lines: Lines,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("tokens"), &filters);
    let now = visit.now();
    let asked = filters.asked::<TokenQuery>(now)?;
    let found = visit.ca().tokens(visit.proof(), asked).await?;
    let refusals = visit.ca().token_refusals(visit.proof()).await?;
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: Some(listed.chips("Status", "status", STATUSES)),
        fields: vec![listed.profiles(&visit)],
        given: &["profile"],
        columns: &COLUMNS,
        file: visit.url("tokens/-/tokens"),
    });
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name));
    let head =
        |(name, words, _): &(&str, &'static str, bool)| (*words, (*name == "made").then_some("created"));
    let heads = [("For", None), ("Status", None)]
        .into_iter()
        .chain(shown.map(head));
    html(&List {
        frame: visit.frame("Enrolment tokens"),
        may_operate: visit.may(Permission::Operate),
        heads: listed.heads("-created", heads.collect::<Vec<_>>()),
        toolbar,
        pages: listed.pages(&found),
        all: listed.all(),
        rows: found
            .items
            .iter()
            .map(|token| Row::of(token, &refusals, now))
            .collect(),
        filtered: listed.is_narrowed::<TokenQuery>(),
        lines: listed.lines::<TokenQuery>(),
    })
}
