//! Audit log: who did what, and whether the log is whole.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use muster_ca::audit::Entry as AuditEntry;
use muster_ca::list::{AuditList, Page as Rows, Paging};
use muster_ca::operator::Permission;
use muster_ca::verify::AuditWatch;
use serde_json::Value;

use crate::lists::AuditQuery;
use crate::web::components::{Badge, Lines, Mood, When};
use crate::web::export::{self, Chunk, Format};
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::frame::Frame;
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
    query: AuditQuery,
    filtered: bool,
    rows: Vec<Row>,
    previous: Option<String>,
    next: Option<String>,
    /// Whether there may be more that fits than is shown, beyond what was looked at.
    cut_short: bool,
    /// What the files keep of the address.
    kept: String,
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
    detail: String,
}

impl List {
    fn text<'a>(&self, field: &'a Option<String>) -> &'a str {
        field.as_deref().unwrap_or_default()
    }
}

async fn list(visit: Visit, Query(query): Query<AuditQuery>) -> Answer {
    let found = visit.ca().audit(visit.proof(), query.list()?).await?;
    let watch = visit.ca().audit_watch(visit.proof()).await?;
    let (state, words) = standing(&watch, &visit);
    let to = |cursor: String| link(&query, Some(&cursor));
    html(&List {
        frame: visit.frame("Audit log"),
        state,
        watch: words,
        walking: watch.walking.is_some(),
        filtered: !pairs(&query).is_empty(),
        previous: found.previous.as_ref().map(|cursor| to(cursor.to_string())),
        next: found.next.as_ref().map(|cursor| to(cursor.to_string())),
        cut_short: found.cut_short,
        kept: link(&query, None),
        rows: found.items.into_iter().map(row).collect(),
        lines: lines(&query),
        query,
    })
}

fn row(entry: AuditEntry) -> Row {
    Row {
        number: entry.sequence,
        at: When::minute(entry.at),
        words: entry.action.replace(['.', '_'], " "),
        actor: entry.actor,
        via: entry.via,
        source: entry.source,
        action: entry.action,
        subject: entry.subject,
        detail: plain(&entry.detail),
    }
}

/// `role: viewer, uses: 3`; what is no JSON object as it is.
fn plain(detail: &str) -> String {
    let Ok(fields) = serde_json::from_str::<serde_json::Map<String, Value>>(detail) else {
        return detail.to_owned();
    };
    let words = fields.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}: {text}"),
        None => format!("{name}: {value}"),
    });
    words.collect::<Vec<_>>().join(", ")
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

/// What the list is filtered by: name and value.
fn pairs(query: &AuditQuery) -> Vec<(&'static str, &str)> {
    let all = [
        ("actor", &query.actor),
        ("action", &query.action),
        ("subject", &query.subject),
        ("from", &query.from),
        ("until", &query.until),
    ];
    let given = all
        .into_iter()
        .map(|(name, value)| (name, value.as_deref().unwrap_or_default()));
    given.filter(|(_, value)| !value.is_empty()).collect()
}

/// The query of an address.
fn link(query: &AuditQuery, cursor: Option<&str>) -> String {
    let mut all = pairs(query);
    all.extend(cursor.map(|cursor| ("cursor", cursor)));
    let all: Vec<_> = all
        .into_iter()
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    format!("?{}", all.join("&"))
}

fn lines(query: &AuditQuery) -> Lines {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "'\\''"));
    let flags: String = pairs(query)
        .iter()
        .map(|(name, value)| format!(" --{name} {}", quoted(value)))
        .collect();
    Lines::new(
        "lines",
        &format!("muster audit list{flags}"),
        &format!("GET /audit{}", link(query, None)),
    )
}

async fn csv(visit: Visit, Query(query): Query<AuditQuery>) -> Answer {
    file(&visit, &query, Format::Csv).await
}

async fn json(visit: Visit, Query(query): Query<AuditQuery>) -> Answer {
    file(&visit, &query, Format::Json).await
}

/// Everything that fits, from the newest on.
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
