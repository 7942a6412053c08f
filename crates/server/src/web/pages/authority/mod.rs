//! CA Settings: whether the authority is all right, what everybody needs of it, and how it goes on.

mod files;
mod provisioner;
mod provisioners;
mod rollover;

use askama::Template;
use axum::routing::get;
use jiff::Timestamp;
use muster_ca::authority::{Authority, DEFAULT, Generation, INTERNAL, ROOT, Stage};
use muster_ca::file_stem;
use muster_ca::operator::Permission;
use muster_ca::provisioner::Provisioner;

use crate::Settings;
use crate::web::components::{Badge, Copied, Icon, Lane, Lanes, Lines, Mood, When, thousands};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Authority",
        label: "CA Settings",
        icon: "shield",
    }),
    routes: &[
        Route::get("ca", Permission::Read, || get(show)),
        files::CERTIFICATE,
        files::CRL,
        rollover::FORM,
        rollover::SEND,
        rollover::REVOKE_FORM,
        rollover::REVOKE,
        provisioners::LIST,
        provisioners::CSV,
        provisioners::JSON,
        provisioner::FORM,
        provisioner::SEND,
        provisioner::REMOVE_FORM,
        provisioner::REMOVE,
    ],
};

/// So many provisioners are named here; the list has them all.
const NAMED: usize = 12;

/// A root or an issuing CA.
struct Issuer {
    /// `default`, `internal`, …
    authority: String,
    /// `root`, `1`, `2`, …
    place: String,
    /// Whose root it follows, if it is a root that does.
    follows: Option<String>,
    subject: String,
    badge: Badge,
    until: When,
    fingerprint: String,
    /// What its files are called.
    stem: String,
    crl: Option<List>,
}

/// The issuing CA before, which issues no more.
struct Leaving {
    number: u32,
    /// How many certificates of it live.
    living: String,
    /// Until when it cannot be retired.
    until: Option<When>,
}

struct List {
    number: u64,
    entries: u64,
    next: When,
    late: bool,
}

/// Where an authority is on the way from one issuing CA to the next.
struct Rollover {
    authority: String,
    standby: Option<u32>,
    retiring: Option<Leaving>,
}

#[derive(Template)]
#[template(path = "pages/authority/show.html")]
struct Show {
    frame: Frame,
    may_administer: bool,
    problems: Vec<String>,
    checked: When,
    fingerprint: Copied,
    ca_url: String,
    bootstrap: Copied,
    by_hand: Copied,
    issuers: Vec<Issuer>,
    lifetimes: Lanes,
    rollovers: Vec<Rollover>,
    /// The names of the first, and how many more there are.
    provisioners: (Vec<String>, usize),
    lines: Lines,
}

async fn show(visit: Visit) -> Answer {
    let (ca, now) = (visit.ca(), visit.now());
    let mut authorities = ca.authorities();
    authorities.sort_by_key(|authority| (authority.name != DEFAULT, authority.name == INTERNAL));
    let mut issuers = Vec::new();
    let mut lanes = Vec::new();
    for authority in &authorities {
        for generation in &authority.generations {
            let parsed = generation.parsed()?;
            lanes.push(lane(
                authority,
                generation,
                parsed.not_before(),
                parsed.not_after(),
            ));
            issuers.push(issuer(&visit, authority, generation)?);
        }
    }
    let mut rollovers = Vec::new();
    for authority in authorities.iter().filter(|one| one.name != INTERNAL) {
        rollovers.push(rollover(&visit, authority).await?);
    }
    let root = issuers
        .iter()
        .find(|issuer| issuer.authority == DEFAULT && issuer.place == "root");
    let fingerprint = root.map(|root| root.fingerprint.clone()).unwrap_or_default();
    let ca_url = visit.web().settings().ca_url.clone();
    html(&Show {
        frame: visit.frame("CA Settings"),
        may_administer: visit.may(Permission::Administer),
        problems: ca.readiness().await.problems,
        checked: When::long(now),
        bootstrap: Copied::new(
            "bootstrap",
            &format!("step ca bootstrap --ca-url {ca_url} --fingerprint {fingerprint}"),
            "Copy the command for step",
        ),
        by_hand: Copied::new(
            "by-hand",
            &by_hand(visit.web().settings()),
            "Copy the commands for muster",
        ),
        fingerprint: Copied::new("fingerprint", &fingerprint, "Copy the fingerprint"),
        ca_url,
        issuers,
        lifetimes: Lanes::new("When the certificates of the authorities are valid", lanes, now),
        rollovers,
        provisioners: named(&ca.provisioners()),
        lines: Lines::new("ca", "muster ca show", "GET /authorities"),
    })
}

/// Nothing is trusted that was not compared: the root comes over plain HTTP and is checked by its fingerprint.
fn by_hand(settings: &Settings) -> String {
    let Settings {
        ca_url, public_url, ..
    } = settings;
    format!(
        "curl -fsSo root_ca.crt {public_url}/ca/default-root.pem && muster cert inspect root_ca.crt && \
         export MUSTER_URL={ca_url} MUSTER_ROOT=$PWD/root_ca.crt"
    )
}

fn lane(authority: &Authority, generation: &Generation, from: Timestamp, until: Timestamp) -> Lane {
    let (class, words) = match (generation.number, generation.stage) {
        (ROOT, _) => (
            "quiet",
            if generation.key.is_some() {
                "key under the recovery secret"
            } else {
                "key is elsewhere"
            },
        ),
        (_, Stage::Active) => ("", "issues"),
        (_, Stage::Standby) => ("next", "stands by"),
        (_, Stage::Retiring) => ("quiet", "makes its list only"),
        (_, Stage::Retired) => ("quiet", "retired"),
    };
    Lane {
        name: format!("{} {}", authority.name, place(generation.number)),
        note: words.to_owned(),
        class,
        from,
        to: until,
    }
}

fn place(number: u32) -> String {
    if number == ROOT {
        "root".into()
    } else {
        format!("issuing {number}")
    }
}

fn issuer(visit: &Visit, authority: &Authority, generation: &Generation) -> Result<Issuer, Fault> {
    let now = visit.now();
    let parsed = generation.parsed()?;
    let over = parsed.not_after() <= now;
    let badge = match (generation.number, generation.stage) {
        _ if over => Badge::new(Mood::Bad, "Expired").icon("clock"),
        (ROOT, _) => Badge::new(Mood::Quiet, "Root").icon("key"),
        (_, Stage::Active) => Badge::new(Mood::Good, "Issues"),
        (_, Stage::Standby) => Badge::new(Mood::Quiet, "Stands by").icon("clock"),
        (_, Stage::Retiring) => Badge::new(Mood::Quiet, "Retiring").icon("pause"),
        (_, Stage::Retired) => Badge::new(Mood::Quiet, "Retired").icon("archive"),
    };
    let crl = visit.ca().crl(&authority.name, generation.number);
    let fingerprint = parsed.fingerprint();
    Ok(Issuer {
        authority: authority.name.clone(),
        place: if generation.number == ROOT {
            "root".into()
        } else {
            generation.number.to_string()
        },
        follows: generation.follows.as_ref().map(|one| one.authority.clone()),
        subject: parsed.common_name().unwrap_or_default(),
        badge,
        until: When::date(parsed.not_after()),
        fingerprint: fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
        stem: file_stem(&authority.name, generation.number),
        crl: crl.map(|crl| List {
            number: crl.number,
            entries: crl.entries,
            next: When::relative(crl.next_update, now),
            late: crl.next_update <= now,
        }),
    })
}

async fn rollover(visit: &Visit, authority: &Authority) -> Result<Rollover, Fault> {
    let mut waiting = authority
        .issuing()
        .filter(|generation| generation.stage == Stage::Standby);
    let leaving = visit.ca().leaving(visit.proof(), &authority.name).await?;
    Ok(Rollover {
        authority: authority.name.clone(),
        standby: waiting.next().map(|generation| generation.number),
        retiring: leaving.map(|leaving| Leaving {
            number: leaving.generation,
            living: thousands(leaving.certificates as u64),
            until: leaving.until.map(When::date),
        }),
    })
}

fn named(all: &[Provisioner]) -> (Vec<String>, usize) {
    let names = all.iter().take(NAMED).map(|one| one.name.clone());
    (names.collect(), all.len().saturating_sub(NAMED))
}
