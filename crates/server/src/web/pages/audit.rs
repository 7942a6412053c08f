//! Audit log: who did what, and whether the log is whole.

use askama::Template;
use axum::response::Response;
use axum::routing::{get, post};
use muster_ca::audit::Entry as AuditEntry;
use muster_ca::list::{AuditList, Page as Rows, Paging};
use muster_ca::operator::Permission;
use muster_ca::verify::AuditWatch;
use serde_json::Value;

use crate::lists::AuditQuery;
use crate::web::components::{
    Badge, Columns, Field, Given, Heads, Icon, Lines, Listed, Mood, Narrow, Pages, When, quoted,
};
use crate::web::event::words;
use crate::web::export::{self, Chunk, Format};
use crate::web::fault::Fault;
use crate::web::form::escape;
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
        Route::get("audit/audit.csv", Permission::ReadAudit, || get(csv)),
        Route::get("audit/audit.json", Permission::ReadAudit, || get(json)),
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
/// What narrows or orders it, as the API and the command line have it, too.
const PARAMETERS: [&str; 6] = ["actor", "action", "subject", "from", "until", "sort"];
/// The columns of the file.
const HEAD: &[&str] = &[
    "sequence", "at", "actor", "via", "source", "action", "subject", "detail", "writer", "hash",
];

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct List {
    frame: Frame,
    state: Badge,
    watch: String,
    /// Whether a walk goes on.
    walking: bool,
    subject: String,
    /// What the search keeps of the address.
    kept: Vec<(String, String)>,
    given: Given,
    narrow: Narrow,
    columns: Columns,
    heads: Heads,
    rows: Vec<Row>,
    pages: Pages,
    /// What the files keep of the address.
    query: String,
    lines: Lines,
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
    let query = AuditQuery {
        limit: Some(listed.limit()),
        ..asked(&filters)
    };
    let found = visit.ca().audit(visit.proof(), query.list()?).await?;
    let watch = visit.ca().audit_watch(visit.proof()).await?;
    let (state, words) = standing(&watch, &visit);
    let columns = listed.columns(COLUMNS);
    html(&List {
        frame: visit.frame("Audit log"),
        state,
        watch: words,
        walking: watch.walking.is_some(),
        subject: filters.get("subject").to_owned(),
        kept: filters.without(&["subject"]),
        given: listed.given(&NARROWED_BY),
        narrow: listed.narrow(fields(&filters)),
        heads: listed.heads("-at", heads(&columns)),
        columns,
        pages: listed.pages(&found),
        query: filters.with("cursor", ""),
        rows: found.items.into_iter().map(row).collect(),
        lines: lines(&filters, listed.limit()),
    })
}

/// What the address asks for.
fn asked(filters: &Filters) -> AuditQuery {
    let said = |name: &str| Some(filters.get(name).to_owned());
    AuditQuery {
        actor: said("actor"),
        action: said("action"),
        subject: said("subject"),
        from: said("from"),
        until: said("until"),
        sort: said("sort"),
        cursor: said("cursor"),
        ..AuditQuery::default()
    }
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
fn heads(columns: &Columns) -> Vec<(&'static str, Option<&'static str>)> {
    let mut heads = vec![
        ("When (UTC)", Some("at")),
        ("Who", None),
        ("What", None),
        ("To what", None),
    ];
    let more = COLUMNS.iter().filter(|(name, ..)| *name != "detail");
    let shown = more.filter(|(name, ..)| columns.shows(name));
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
    let words = fields.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{}: {}", name.replace('_', " "), moment(text)),
        None => format!("{}: {value}", name.replace('_', " ")),
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

fn lines(filters: &Filters, limit: usize) -> Lines {
    let mut cli = format!("muster audit list --limit {limit}");
    let mut api = format!("GET /audit?limit={limit}");
    for name in PARAMETERS {
        let value = filters.get(name);
        if !value.is_empty() {
            cli.push_str(&format!(" --{name} {}", quoted(value)));
            api.push_str(&format!("&{name}={}", escape(value)));
        }
    }
    Lines::new("lines", &cli, &api)
}

async fn csv(visit: Visit, filters: Filters) -> Answer {
    file(&visit, &asked(&filters), Format::Csv).await
}

async fn json(visit: Visit, filters: Filters) -> Answer {
    file(&visit, &asked(&filters), Format::Json).await
}

/// Everything that fits, in the list's order.
async fn file(visit: &Visit, query: &AuditQuery, format: Format) -> Answer {
    let (ca, proof, list) = (visit.ca().clone(), visit.proof(), query.list()?);
    let read = move |cursor| {
        let (ca, proof, list) = (ca.clone(), proof.clone(), list.clone());
        async move {
            let paging = Paging {
                cursor,
                limit: export::STEP,
            };
            let found = ca.audit(proof, AuditList { paging, ..list }).await?;
            Ok(chunk(found))
        }
    };
    export::send(format, "audit", HEAD, read).await
}

fn chunk(found: Rows<AuditEntry>) -> Chunk {
    let cells = |entry: AuditEntry| {
        vec![
            entry.sequence.to_string(),
            entry.at.to_string(),
            entry.actor,
            entry.via,
            entry.source,
            entry.action,
            entry.subject,
            entry.detail,
            entry.writer,
            entry.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        ]
    };
    Chunk {
        next: found.next,
        rows: found.items.into_iter().map(cells).collect(),
    }
}
