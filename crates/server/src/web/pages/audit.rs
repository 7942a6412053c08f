//! Audit log: who did what, and whether the log is whole.

use askama::Template;
use axum::response::Response;
use axum::routing::{get, post};
use muster_ca::audit::Entry as AuditEntry;
use muster_ca::operator::Permission;
use muster_ca::verify::AuditWatch;
use serde_json::Value;

use crate::lists::AuditQuery;
use crate::web::components::{
    Badge, Field, Heads, Icon, Lines, Listed, Mood, Pages, Search, Toolbar, Tools, When,
};
use crate::web::event::words;
use crate::web::export;
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Authority",
        label: "Audit log",
        icon: "list",
    }),
    routes: &[
        Route::get("audit", Permission::ReadAudit, || get(list)),
        Route::get("audit/audit.csv", Permission::ReadAudit, || {
            get(export::csv::<AuditQuery>)
        }),
        Route::get("audit/audit.json", Permission::ReadAudit, || {
            get(export::json::<AuditQuery>)
        }),
        Route::post("audit/verify", Permission::ReadAudit, || post(verify)),
    ],
};

/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 3] = [
    ("detail", "Details", true),
    ("how", "How", true),
    ("number", "No.", true),
];
/// What narrows the list in its menu.
const NARROWED_BY: [&str; 4] = ["actor", "action", "from", "until"];
const SEARCH: Search = Search {
    name: "subject",
    label: "To what it was done: a device's whole name",
    hint: "To what: a device's name",
};

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct List {
    frame: Frame,
    state: Badge,
    watch: String,
    /// Whether a walk goes on.
    walking: bool,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    pages: Pages,
    lines: Lines,
    verify: Lines,
}

struct Row {
    number: u64,
    at: When,
    actor: String,
    via: String,
    source: String,
    action: String,
    words: String,
    subject: String,
    /// The device that it was done to, and what follows its name.
    device: Option<String>,
    rest: String,
    detail: String,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("audit"), &filters);
    let asked = filters.asked::<AuditQuery>(visit.now())?;
    let found = visit.ca().audit(visit.proof(), asked).await?;
    let watch = visit.ca().audit_watch(visit.proof()).await?;
    let (state, words) = standing(&watch, &visit);
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: None,
        fields: fields(&filters),
        given: &NARROWED_BY,
        columns: &COLUMNS,
        file: visit.url("audit/audit"),
    });
    html(&List {
        frame: visit.frame("Audit log"),
        state,
        watch: words,
        walking: watch.walking.is_some(),
        heads: listed.heads("-at", heads(&toolbar)),
        toolbar,
        pages: listed.pages(&found),
        rows: found.items.into_iter().map(row).collect(),
        lines: listed.lines::<AuditQuery>(),
        verify: Lines::new("verify", "muster audit verify", "GET /audit/verify"),
    })
}

/// The fields of the menu.
fn fields(filters: &Filters) -> Vec<Field> {
    let text = |name, label, like: &str| {
        Field::text(name, label)
            .value(filters.get(name))
            .with("placeholder", like)
            .with("autocapitalize", "none")
            .with("spellcheck", "false")
    };
    let day = |name, label| Field::day(name, label).value(filters.get(name));
    vec![
        text("actor", "Who", "alice"),
        text("action", "What", "device.revoked"),
        day("from", "From day"),
        day("until", "Before day"),
    ]
}

/// The heads of the columns that are shown.
fn heads(toolbar: &Toolbar) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![
        ("When (UTC)", Some("at")),
        ("Who", None),
        ("What", None),
        ("To what", None),
    ];
    let more = COLUMNS.iter().filter(|(name, ..)| *name != "detail");
    let shown = more.filter(|(name, ..)| toolbar.shows(name));
    heads.extend(shown.map(|(_, words, _)| (*words, None)));
    heads
}

fn row(entry: AuditEntry) -> Row {
    let (first, rest) = entry.subject.split_once(' ').unwrap_or((&entry.subject, ""));
    let of_device = ["device.", "certificate."]
        .iter()
        .any(|noun| entry.action.starts_with(noun));
    let device = Some(first).filter(|name| of_device && !name.is_empty());
    Row {
        number: entry.sequence,
        at: When::minute(entry.at),
        words: words(&entry.action),
        actor: entry.actor,
        via: entry.via,
        source: entry.source,
        action: entry.action,
        detail: plain(&entry.detail),
        device: device.map(str::to_owned),
        rest: rest.to_owned(),
        subject: entry.subject,
    }
}

/// `role: viewer, uses: 3`; what is no JSON object as it is.
fn plain(detail: &str) -> String {
    let Ok(fields) = serde_json::from_str::<serde_json::Map<String, Value>>(detail) else {
        return detail.to_owned();
    };
    let words = fields.iter().map(|(name, value)| {
        let name = match name.as_str() {
            "not_after" => "valid until".into(),
            other => other.replace('_', " "),
        };
        match value.as_str() {
            Some(text) => format!("{name}: {}", moment(text)),
            None => format!("{name}: {value}"),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A moment as people write it; anything else as it is.
fn moment(text: &str) -> String {
    let read = text.parse::<jiff::Timestamp>();
    read.map_or_else(
        |_| text.to_owned(),
        |at| at.strftime("%-d %b %Y, %H:%M").to_string(),
    )
}

/// How the chain stands, at a glance and in words.
fn standing(watch: &AuditWatch, visit: &Visit) -> (Badge, String) {
    if let Some(seen) = watch.walking {
        let words = format!("{seen} entries are verified so far.");
        return (Badge::new(Mood::Quiet, "Verifying").icon("clock"), words);
    }
    let Some((at, verdict)) = &watch.last else {
        let words = "It is verified by itself once a day, or now if you like.";
        return (Badge::new(Mood::Quiet, "Not verified yet"), words.into());
    };
    let when = When::words(*at, visit.now());
    match verdict.broken_at {
        None => (
            Badge::new(Mood::Good, "Chain verified"),
            format!("Whole up to entry {}; verified {when}.", verdict.entries),
        ),
        Some(entry) => (
            Badge::new(Mood::Bad, "Chain broken"),
            format!(
                "Entry {entry} is not what was written, or one before it was taken out; found {when}. Compare with a backup."
            ),
        ),
    }
}

/// Walks in the background: a long log takes longer than a browser waits.
async fn verify(visit: Visit) -> Result<Response, Fault> {
    let watch = visit.ca().audit_watch(visit.proof()).await?;
    if watch.walking.is_none() {
        let ca = visit.ca().clone();
        tokio::spawn(async move {
            if let Err(error) = ca.walk_audit().await {
                tracing::warn!(%error, "the audit log could not be verified");
            }
        });
    }
    Ok(visit.go("audit"))
}
