//! Profiles: what may be issued, in plain words. They are changed in the configuration.

use askama::Template;
use axum::routing::get;
use muster_ca::device::Kind;
use muster_ca::operator::Permission;
use muster_ca::profile::Profile;

use crate::web::components::{Icon, Lines, lasting};
use crate::web::frame::Frame;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Authority",
        label: "Profiles",
        icon: "profile",
    }),
    routes: &[Route::get("profiles", Permission::Read, || get(show))],
};

struct Words {
    name: String,
    kind: &'static str,
    whom: &'static str,
    usage: &'static str,
    authority: String,
    default: String,
    min: String,
    max: String,
    renewal: String,
    keys: String,
    names: String,
    pointers: String,
    section: String,
}

#[derive(Template)]
#[template(path = "pages/profiles.html")]
struct Profiles {
    frame: Frame,
    profiles: Vec<Words>,
    lines: Lines,
}

async fn show(visit: Visit) -> Answer {
    let public_url = visit.ca().settings().public_url.clone();
    html(&Profiles {
        frame: visit.frame("Profiles"),
        profiles: visit
            .ca()
            .profiles()
            .map(|profile| words(profile, public_url.is_some()))
            .collect(),
        lines: Lines::new("profiles", "muster ca profile", "GET /profiles"),
    })
}

fn words(profile: &Profile, has_url: bool) -> Words {
    let (min, default, max) = profile.validity();
    let (whom, usage) = match profile.kind() {
        Kind::Client => (
            "Sites, devices and services that connect to a broker.",
            "proves who connects (clientAuth), and can never pose as a server",
        ),
        Kind::Server => (
            "Brokers and other servers that devices connect to.",
            "proves the server (serverAuth), and cannot connect as a client",
        ),
        Kind::Broker => (
            "Brokers that connect to other brokers, too.",
            "proves the server and who connects (serverAuth and clientAuth)",
        ),
    };
    let grace = profile.grace();
    Words {
        name: profile.name().to_owned(),
        kind: profile.kind().as_str(),
        whom,
        usage,
        authority: profile.authority().to_owned(),
        default: lasting(default),
        min: lasting(min),
        max: lasting(max),
        renewal: match (profile.renewable(), grace.is_zero()) {
            (false, _) => "no: when it ends, the device enrols anew".into(),
            (true, true) => "by the device itself, before it ends".into(),
            (true, false) => format!(
                "by the device itself, up to {} after its end with the same key",
                lasting(grace)
            ),
        },
        keys: profile
            .keys()
            .iter()
            .map(|key| key_words(key))
            .collect::<Vec<_>>()
            .join(", "),
        names: names(&profile.sans()),
        pointers: pointers(&profile.pointers(), has_url),
        section: format!("[profile.{}]", profile.name()),
    }
}

fn key_words(key: &str) -> String {
    match key.strip_prefix("rsa") {
        Some(bits) => format!("RSA of {bits} bits or more"),
        None => match key {
            "p256" => "P-256".into(),
            "p384" => "P-384".into(),
            "p521" => "P-521".into(),
            "ed25519" => "Ed25519".into(),
            other => other.to_owned(),
        },
    }
}

fn names(rules: &[String]) -> String {
    if rules.is_empty() {
        return "the device's own name alone".into();
    }
    let words = |rule: &String| match rule.as_str() {
        "dns" => "any DNS name".into(),
        "ip" => "any IP address".into(),
        "email" => "any mail address".into(),
        "uri" => "any URI".into(),
        other => other.to_owned(),
    };
    let all: Vec<String> = rules.iter().map(words).collect();
    format!("the device's own name, and as asked for: {}", all.join(", "))
}

fn pointers(pointers: &[&str], has_url: bool) -> String {
    let word = |pointer: &&str| match *pointer {
        "crl" => "the revocation list",
        _ => "the issuer's certificate",
    };
    let all: Vec<_> = pointers.iter().map(word).collect();
    match (all.is_empty(), has_url) {
        (true, _) => "none".into(),
        (false, true) => all.join(" and "),
        (false, false) => format!("none until public_url is set; then {}", all.join(" and ")),
    }
}
