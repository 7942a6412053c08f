//! Dashboard: does everything work, until when, and what needs somebody.

use std::sync::Arc;

use askama::Template;
use axum::routing::get;
use jiff::Timestamp;
use muster_ca::audit::Entry;
use muster_ca::authority::{Authority, DEFAULT, Generation, INTERNAL, ROOT, Stage};
use muster_ca::list::{AuditList, Paging};
use muster_ca::operator::Permission;
use muster_ca::ports::{Counts, Crl};
use muster_ca::standing::{About, End, Todo};

use crate::web::components::{Badge, Days, Icon, Lane, Lanes, Lines, Mood, When};
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::needs_of;
use crate::web::route::{Entry as MenuEntry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(MenuEntry {
        section: "",
        label: "Dashboard",
        icon: "gauge",
    }),
    routes: &[Route::get("", Permission::Read, || get(show))],
};

/// As many to-dos are shown; more would be read by nobody.
const TODOS: usize = 5;
/// As many of the latest acts are shown.
const ACTS: usize = 6;
/// As many days are looked ahead, today counted.
const AHEAD: u16 = 31;

#[derive(Template)]
#[template(path = "pages/dashboard.html")]
struct Dashboard {
    frame: Frame,
    mood: Mood,
    problems: Arc<[String]>,
    until: Option<(When, When, String)>,
    todos: Vec<Task>,
    more_todos: usize,
    counts: Vec<Count>,
    authority: Facts,
    settings: Option<&'static str>,
    expiring: Days,
    lifetimes: Lanes,
    /// `None` for those who may not read the audit log.
    acts: Option<Vec<Act>>,
    audit: Option<&'static str>,
    lines: Lines,
}

/// A to-do with its button.
struct Task {
    what: String,
    fix: String,
    urgent: bool,
    link: Option<(String, &'static str)>,
}

/// A number that leads to what it counts.
struct Count {
    number: u64,
    what: &'static str,
    note: String,
    link: Option<&'static str>,
}

/// About the issuing CA that issues.
struct Facts {
    name: String,
    state: Badge,
    valid_until: When,
    left: When,
    fingerprint: String,
    crl: Option<(u64, When)>,
}

struct Act {
    icon: Icon,
    what: String,
    subject: String,
    who: String,
    when: When,
}

async fn show(visit: Visit) -> Answer {
    let now = visit.now();
    let edge = visit.web().edge();
    let problems = edge.probe().problems(visit.ca()).await;
    let standing = visit.ca().standing(visit.proof()).await?;
    let mut todos = [standing.todos, (edge.todos())()].concat();
    let more_todos = todos.len().saturating_sub(TODOS);
    todos.truncate(TODOS);
    let soon = standing.first_end.as_ref().is_some_and(|end| is_soon(end, now));
    let authorities = visit.ca().authorities();
    let days = visit.ca().expiries(visit.proof(), AHEAD).await?;
    let days: Vec<_> = days.iter().map(|day| day.by_itself + day.needs_you).collect();
    html(&Dashboard {
        frame: visit.frame("Dashboard"),
        mood: match (problems.is_empty(), soon || todos.iter().any(|todo| todo.urgent)) {
            (false, _) => Mood::Bad,
            (true, true) => Mood::Warning,
            (true, false) => Mood::Good,
        },
        authority: facts(
            &authorities,
            visit.ca().crl(DEFAULT, active(&authorities)?.number),
            problems.is_empty(),
            now,
        )?,
        problems,
        until: standing
            .first_end
            .map(|end| (When::long(end.at), When::relative(end.at, now), end.what)),
        todos: todos.into_iter().map(|todo| task(&visit, todo)).collect(),
        more_todos,
        counts: counts(standing.counts),
        settings: page("ca"),
        expiring: Days::new("Certificates that run out, by day", "certificates", &days, now),
        lifetimes: Lanes::new(
            "When the certificates of the authorities are valid",
            lanes(&authorities)?,
            now,
        ),
        acts: acts(&visit, now).await?,
        audit: page("audit"),
        lines: Lines::new("status", "muster status", "GET /status"),
    })
}

/// A page, if there is one.
fn page(path: &'static str) -> Option<&'static str> {
    needs_of(path).map(|_| path)
}

/// A week is what an operator may be away.
fn is_soon(end: &End, now: Timestamp) -> bool {
    end.at.duration_since(now) < jiff::SignedDuration::from_hours(7 * 24)
}

fn task(visit: &Visit, todo: Todo) -> Task {
    let link = match &todo.about {
        About::Machine => None,
        About::Authorities => page("ca").map(|path| (path.to_owned(), "CA settings")),
        About::Device(name) => {
            page("devices/{name}").map(|_| (format!("devices/{}", escape(name.as_str())), "See the device"))
        }
    };
    Task {
        what: sentence(&todo.what),
        fix: todo.fix,
        urgent: todo.urgent,
        link: link.map(|(path, label)| (visit.url(&path), label)),
    }
}

/// Texts of the authority begin small, so that they fit into longer ones.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn counts(counts: Counts) -> Vec<Count> {
    let linked = |path: &'static str, query: &'static str| page(path).map(|_| query);
    vec![
        Count {
            number: counts.active,
            what: "Active certificates",
            note: String::new(),
            link: linked("certificates", "certificates?status=active"),
        },
        Count {
            number: counts.expiring,
            what: "Run out within 7 days",
            note: "most renew by themselves".into(),
            link: linked("certificates", "certificates?expires_within=7d"),
        },
        Count {
            number: counts.revoked,
            what: "Revoked or on hold",
            note: format!("{} expired", counts.expired),
            link: linked("certificates", "certificates?status=revoked"),
        },
        Count {
            number: counts.all_devices(),
            what: "Devices",
            note: String::new(),
            link: linked("devices", "devices"),
        },
    ]
}

fn active(authorities: &[Authority]) -> Result<&Generation, Fault> {
    let default = authorities.iter().find(|authority| authority.name == DEFAULT);
    let default = default.ok_or_else(|| Fault::missing("there is no default authority"))?;
    Ok(default.active()?)
}

fn facts(
    authorities: &[Authority],
    crl: Option<Arc<Crl>>,
    ready: bool,
    now: Timestamp,
) -> Result<Facts, Fault> {
    let parsed = active(authorities)?.parsed()?;
    let root = authorities.iter().find(|authority| authority.name == DEFAULT);
    let root = root.map(|authority| authority.root()).transpose()?;
    let fingerprint = root
        .map(|root| root.parsed())
        .transpose()?
        .map(|root| root.fingerprint());
    Ok(Facts {
        name: parsed.common_name().unwrap_or_default(),
        state: if ready {
            Badge::new(Mood::Good, "Signing")
        } else {
            Badge::new(Mood::Bad, "Not all right")
        },
        valid_until: When::date(parsed.not_after()),
        left: When::relative(parsed.not_after(), now),
        fingerprint: fingerprint
            .into_iter()
            .flatten()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        crl: crl.map(|crl| (crl.entries, When::date(crl.next_update))),
    })
}

/// What a fleet trusts; the internal authority is nobody's business here.
fn lanes(authorities: &[Authority]) -> Result<Vec<Lane>, Fault> {
    let mut lanes = Vec::new();
    for authority in authorities.iter().filter(|authority| authority.name != INTERNAL) {
        for generation in authority
            .generations
            .iter()
            .filter(|one| one.stage != Stage::Retired)
        {
            let parsed = generation.parsed()?;
            let root = generation.number == ROOT;
            lanes.push(Lane {
                name: if root {
                    format!("{} root", authority.name)
                } else {
                    format!("{} {}", authority.name, generation.number)
                },
                note: generation.stage.as_str().to_owned(),
                class: match generation.stage {
                    Stage::Standby => "next",
                    Stage::Retiring => "quiet",
                    Stage::Active | Stage::Retired => "",
                },
                from: parsed.not_before(),
                to: parsed.not_after(),
            });
        }
    }
    Ok(lanes)
}

async fn acts(visit: &Visit, now: Timestamp) -> Result<Option<Vec<Act>>, Fault> {
    if !visit.may(Permission::ReadAudit) {
        return Ok(None);
    }
    let newest = AuditList {
        paging: Paging {
            cursor: None,
            limit: ACTS,
        },
        ..AuditList::default()
    };
    let entries = visit.ca().audit(visit.proof(), newest).await?;
    Ok(Some(entries.items.iter().map(|entry| act(entry, now)).collect()))
}

fn act(entry: &Entry, now: Timestamp) -> Act {
    let (noun, verb) = entry.action.split_once('.').unwrap_or(("", &entry.action));
    let icon = match (noun, verb) {
        (_, "revoked" | "suspended" | "removed" | "withdrawn" | "login_refused") => "ban",
        (_, "renewed" | "rekeyed") => "renew",
        ("certificate", _) => "cert",
        ("device", _) => "device",
        ("token" | "setup", _) => "ticket",
        ("operator", _) => "user",
        _ => "shield",
    };
    // A certificate's serial number follows its device; the audit log shows it whole.
    let subject = entry.subject.split(' ').next().unwrap_or_default();
    let noun = if noun == "crl" { "CRL" } else { noun };
    Act {
        icon: Icon(icon),
        what: sentence(format!("{noun} {}", verb.replace('_', " ")).trim()),
        subject: subject.to_owned(),
        who: format!("{} · {}", entry.actor, entry.via),
        when: When::relative(entry.at, now),
    }
}
