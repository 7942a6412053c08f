//! Dashboard: does everything work, until when, and what needs somebody.

use std::sync::Arc;

use askama::Template;
use axum::routing::get;
use jiff::Timestamp;
use muster_ca::authority::{Authority, DEFAULT, Generation, INTERNAL, ROOT, Stage};
use muster_ca::device::State;
use muster_ca::list::{AuditList, Paging};
use muster_ca::operator::Permission;
use muster_ca::ports::{Counts, Crl};
use muster_ca::queries::ExpiryDay;
use muster_ca::standing::{About, End, Todo};

use crate::web::components::{Badge, Days, Icon, Lane, Lanes, Lines, Mood, When, thousands};
use crate::web::event::{Event, sentence};
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::needs_of;
use crate::web::query::Filters;
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
/// As many of the latest acts are shown, of so many that are looked at.
const ACTS: usize = 9;
const ACTS_LOOKED_AT: usize = 40;
/// As many days are looked ahead.
const AHEAD: [u16; 2] = [30, 90];

#[derive(Template)]
#[template(path = "pages/dashboard.html")]
struct Dashboard {
    frame: Frame,
    operates: bool,
    mood: Mood,
    problems: Arc<[String]>,
    until: Option<(When, When, End)>,
    /// Until when certificates were looked at, if not all were.
    looked_until: Option<When>,
    todos: Vec<Task>,
    more_todos: usize,
    counts: Vec<Count>,
    authority: Facts,
    settings: Option<&'static str>,
    /// How far ahead the chart may look: days, and whether it does.
    ahead: [(u16, bool); 2],
    expiring: Days,
    lifetimes: Lanes,
    /// `None` for those who may not read the audit log.
    acts: Option<Vec<Event>>,
    audit: Option<&'static str>,
    lines: Lines,
}

/// A to-do with its button.
struct Task {
    what: String,
    fix: String,
    urgent: bool,
    /// A line to copy.
    command: Option<String>,
    link: Option<(String, &'static str)>,
}

/// A number that leads to what it counts.
struct Count {
    number: String,
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
    crl: Option<(String, When)>,
}

async fn show(visit: Visit, filters: Filters) -> Answer {
    let now = visit.now();
    let edge = visit.web().edge();
    let problems = edge.probe().problems(visit.ca()).await;
    let standing = visit.ca().standing(visit.proof()).await?;
    let mut todos = chain_todos(&visit).await?;
    todos.extend(edge.todos(standing.todos).await?);
    let more_todos = todos.len().saturating_sub(TODOS);
    todos.truncate(TODOS);
    let soon = standing.first_end.as_ref().is_some_and(|end| is_soon(end, now));
    let authorities = visit.ca().authorities();
    let ahead = if filters.get("days") == "90" {
        AHEAD[1]
    } else {
        AHEAD[0]
    };
    let days = visit.ca().expiries(visit.proof(), ahead + 1).await?;
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
            .map(|end| (When::long(end.at), When::relative(end.at, now), end)),
        looked_until: standing.looked_until.map(When::minute),
        todos: todos.into_iter().map(|todo| task(&visit, todo)).collect(),
        more_todos,
        counts: counts(standing.counts, &days),
        settings: page("ca"),
        ahead: AHEAD.map(|days| (days, days == ahead)),
        expiring: Days::new(
            "Certificates that run out, by day",
            &visit.url("certificates?status=active&"),
            &days,
        ),
        operates: visit.may(Permission::Operate),
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

/// Of the audit log, for who may read it.
async fn chain_todos(visit: &Visit) -> Result<Vec<Todo>, Fault> {
    if !visit.may(Permission::ReadAudit) {
        return Ok(Vec::new());
    }
    let watch = visit.ca().audit_watch(visit.proof()).await?;
    let broken = watch.last.and_then(|(_, verdict)| verdict.broken_at);
    Ok(broken.into_iter().map(chain_todo).collect())
}

fn chain_todo(entry: u64) -> Todo {
    Todo {
        urgent: true,
        ..Todo::on_the_machine(
            format!("the audit log is not what was written: its chain breaks at entry {entry}"),
            "somebody changed the database by hand; compare it with a backup",
        )
        .about(About::AuditLog)
    }
}

/// How many of them can come in, and how many are shut out.
fn devices_note(counts: &Counts) -> String {
    let of = |states: &[State]| -> u64 {
        let those = counts.devices.iter().filter(|one| states.contains(&one.state));
        those.map(|one| one.count).sum()
    };
    let out = of(&[State::Suspended, State::Revoked, State::Retired]);
    format!(
        "{} active, {} shut out",
        thousands(of(&[State::Active])),
        thousands(out)
    )
}

/// A week is what an operator may be away.
fn is_soon(end: &End, now: Timestamp) -> bool {
    end.at.duration_since(now) < jiff::SignedDuration::from_hours(7 * 24)
}

fn task(visit: &Visit, todo: Todo) -> Task {
    let link = match &todo.about {
        About::Machine | About::FirstLogin => None,
        About::Setting(key) => Some((format!("settings#{key}"), "See the setting")),
        About::AuditLog => Some(("audit".to_owned(), "See the audit log")),
        About::Authorities => page("ca").map(|path| (path.to_owned(), "CA settings")),
        About::RunningOut => Some((
            "certificates?status=active&sort=expiry".to_owned(),
            "See what runs out",
        )),
        About::Device(name) => {
            page("devices/{name}").map(|_| (format!("devices/{}", escape(name.as_str())), "See the device"))
        }
        About::Broker(name) => Some((format!("brokers/{name}"), "See the broker")),
        About::Token(id) => Some((format!("tokens/{id}"), "See the token")),
    };
    Task {
        what: sentence(&todo.what),
        fix: sentence(&todo.fix),
        urgent: todo.urgent,
        command: todo.command,
        link: link.map(|(path, label)| (visit.url(&path), label)),
    }
}

/// Of what runs out within a week; by whole days, so never more than that.
fn expiring_note(counts: &Counts, days: &[ExpiryDay]) -> String {
    let yours: u64 = days.iter().take(8).map(|day| day.needs_you).sum();
    match (counts.expiring, yours.min(counts.expiring)) {
        (0, _) => "nothing to do".into(),
        (_, 0) => "all renew by themselves".into(),
        (all, yours) if all == yours => "none renews by itself".into(),
        (_, yours) => format!("{} need you", thousands(yours)),
    }
}

fn counts(counts: Counts, days: &[ExpiryDay]) -> Vec<Count> {
    let linked = |path: &'static str, query: &'static str| page(path).map(|_| query);
    vec![
        Count {
            number: thousands(counts.active),
            what: "Active certificates",
            note: "neither expired nor revoked".into(),
            link: linked("certificates", "certificates?status=active"),
        },
        Count {
            number: thousands(counts.expiring),
            what: "Run out within 7 days",
            note: expiring_note(&counts, days),
            link: linked("certificates", "certificates?expires_within=7d"),
        },
        Count {
            number: thousands(counts.revoked),
            what: "Revoked or on hold",
            note: format!("{} have expired", thousands(counts.expired)),
            link: linked("certificates", "certificates?status=revoked"),
        },
        Count {
            number: thousands(counts.all_devices()),
            what: "Devices",
            note: devices_note(&counts),
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
        crl: crl.map(|crl| (thousands(crl.entries), When::date(crl.next_update))),
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

async fn acts(visit: &Visit, now: Timestamp) -> Result<Option<Vec<Event>>, Fault> {
    if !visit.may(Permission::ReadAudit) {
        return Ok(None);
    }
    let newest = AuditList {
        paging: Paging {
            cursor: None,
            limit: ACTS_LOOKED_AT,
        },
        ..AuditList::default()
    };
    let entries = visit.ca().audit(visit.proof(), newest).await?;
    // Revocation lists are made by themselves, several a day; the audit log has them.
    let shown = entries.items.iter().filter(|entry| entry.action != "crl.made");
    Ok(Some(
        shown.take(ACTS).map(|entry| Event::of(entry, now)).collect(),
    ))
}
