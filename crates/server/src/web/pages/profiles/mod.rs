//! Profiles: what may be issued, as a list and in plain words. They are changed in the configuration.

use askama::Template;
use axum::extract::Path;
use axum::routing::get;
use muster_ca::device::Kind;
use muster_ca::operator::Permission;
use muster_ca::profile::Profile;

use crate::lists::ProfileQuery;
use crate::web::components::{Heads, Icon, Lines, Listed, Pages, Search, Toolbar, Tools, lasting, quoted};
use crate::web::export;
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Authority",
        label: "Profiles",
        icon: "profile",
    }),
    routes: &[
        Route::get("profiles", Permission::Read, || get(list)),
        Route::get("profiles/-/profiles.csv", Permission::Read, || {
            get(export::csv::<ProfileQuery>)
        }),
        Route::get("profiles/-/profiles.json", Permission::Read, || {
            get(export::json::<ProfileQuery>)
        }),
        Route::get("profiles/{name}", Permission::Read, || get(show)),
    ],
};

/// The kinds to choose from, and their words.
const KINDS: [(&str, &str); 4] = [
    ("", "All"),
    ("client", "Clients"),
    ("server", "Servers"),
    ("broker", "Brokers that bridge"),
];
/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("kind", "Kind", true),
    ("validity", "Valid for", true),
    ("renewed", "Renewed", true),
    ("keys", "Keys", true),
    ("names", "Names", false),
    ("authority", "Issued by", true),
];
const SEARCH: Search = Search {
    name: "q",
    label: "Beginning of a name",
    hint: "Beginning of a name",
};

#[derive(Template)]
#[template(path = "pages/profiles/list.html")]
struct List {
    frame: Frame,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Words>,
    pages: Pages,
    lines: Lines,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("profiles"), &filters);
    let asked = filters.asked::<ProfileQuery>(visit.now())?;
    let found = visit.ca().list_profiles(&asked)?;
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: Some(listed.chips("Kind", "kind", KINDS)),
        fields: Vec::new(),
        given: &[],
        columns: &COLUMNS,
        file: visit.url("profiles/-/profiles"),
    });
    let head = |(name, words, _): &(&'static str, &'static str, bool)| {
        let sorts = ["kind", "validity"].contains(name);
        (*words, sorts.then_some(*name))
    };
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name)).map(head);
    let heads = std::iter::once(("Profile", Some("name"))).chain(shown);
    html(&List {
        frame: visit.frame("Profiles"),
        heads: listed.heads("name", heads.collect::<Vec<_>>()),
        toolbar,
        rows: found.items.iter().map(|profile| words(&visit, profile)).collect(),
        pages: listed.pages(&found),
        lines: listed.lines::<ProfileQuery>(),
    })
}

struct Words {
    name: String,
    kind: &'static str,
    whom: &'static str,
    usage: &'static str,
    authority: String,
    default: String,
    min: String,
    max: String,
    renewed: &'static str,
    renewal: String,
    keys: String,
    names: String,
    pointers: String,
    section: String,
}

#[derive(Template)]
#[template(path = "pages/profiles/show.html")]
struct Show {
    frame: Frame,
    profile: Words,
    lines: Lines,
}

async fn show(visit: Visit, Path(name): Path<String>) -> Answer {
    let found = visit.ca().profiles().find(|profile| profile.name() == name);
    let profile = found.ok_or_else(|| Fault::missing("there is no profile of this name"))?;
    html(&Show {
        frame: visit.frame(&name),
        profile: words(&visit, profile),
        lines: Lines::new(
            "profile",
            &format!("muster ca profile --search {}", quoted(&name)),
            &format!("GET /profiles?q={}", escape(&name)),
        ),
    })
}

fn words(visit: &Visit, profile: &Profile) -> Words {
    let has_url = visit.ca().settings().public_url.is_some();
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
        renewed: match (profile.renewable(), grace.is_zero()) {
            (false, _) => "no",
            (true, true) => "before its end",
            (true, false) => "even after its end",
        },
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
