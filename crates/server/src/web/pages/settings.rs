//! Settings: what is configured and from where. The configuration is a file, so that it can be kept and reviewed; here one
//! only looks.

use askama::Template;
use axum::routing::get;
use muster_ca::operator::Permission;
use muster_ca::standing::{About, Todo};

use crate::Configured;
use crate::web::components::{Icon, Lines};
use crate::web::event::sentence;
use crate::web::frame::Frame;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Authority",
        label: "Settings",
        icon: "sliders",
    }),
    routes: &[Route::get("settings", Permission::Read, || get(show))],
};

/// What the keys are, for people.
const MEANINGS: [(&str, &str); 13] = [
    (
        "name",
        "The authority's name, as it stands in its certificates; it counts at the first run",
    ),
    ("dns", "Names and addresses under which clients reach the CA API"),
    ("provisioner", "The first provisioner; it counts at the first run"),
    ("listen", "The CA API: step, REST, metrics; HTTPS"),
    (
        "public_listen",
        "Revocation lists and CA certificates, for everybody; plain HTTP, since they are signed",
    ),
    (
        "public_url",
        "Where everybody reaches public_listen; certificates carry it from then on",
    ),
    ("passphrase_file", "The passphrase of the issuing keys"),
    ("web.listen", "This GUI; plain HTTP on loopback, else HTTPS"),
    ("web.base_path", "Where the pages of this GUI lie"),
    ("web.hosts", "More names under which browsers reach this GUI"),
    (
        "web.trusted_proxies",
        "Proxies that are believed from where a request came",
    ),
    (
        "web.revoke_limit",
        "Revoking more certificates or devices than this at once asks for their count",
    ),
    ("web.second_operator", "Whether that also needs a second operator"),
];

/// What is part of the program, who wrote it, and its licence.
const PARTS: [(&str, &str); 4] = [
    ("Muster", "Apache-2.0"),
    ("htmx 2.0.11, in this GUI", "0BSD"),
    ("Inter, the typeface of this GUI", "OFL-1.1"),
    (
        "Rust libraries",
        "Apache-2.0, MIT, BSD-3-Clause, ISC, Zlib or Unicode-3.0 each",
    ),
];

struct Row {
    key: &'static str,
    meaning: &'static str,
    value: String,
    origin: String,
    /// A line for the file that would set it.
    proposal: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/settings.html")]
struct Settings {
    frame: Frame,
    todos: Vec<Todo>,
    rows: Vec<Row>,
    data: String,
    parts: [(&'static str, &'static str); 4],
    lines: Lines,
}

async fn show(visit: Visit) -> Answer {
    let settings = visit.web().settings();
    let known = visit.ca().standing(visit.proof()).await?.todos;
    let mut todos = visit.web().edge().todos(known).await?;
    todos.retain(|todo| matches!(todo.about, About::Machine | About::FirstLogin | About::Setting(_)));
    for todo in &mut todos {
        (todo.what, todo.fix) = (sentence(&todo.what), sentence(&todo.fix));
    }
    html(&Settings {
        frame: visit.frame("Settings"),
        todos,
        rows: settings.configured.iter().map(|one| row(one, settings)).collect(),
        data: settings.data.display().to_string(),
        parts: PARTS,
        lines: Lines::call("settings", "GET /settings"),
    })
}

fn row(one: &Configured, settings: &crate::web::Settings) -> Row {
    let guessed = one.key == "public_url" && one.value.is_empty();
    let meaning = MEANINGS.iter().find(|(key, _)| *key == one.key);
    Row {
        key: one.key,
        meaning: meaning.map_or("", |(_, words)| words),
        value: one.value.replace(',', ", "),
        origin: one.origin.clone(),
        // As far as this machine can know; under localhost nobody else finds it.
        proposal: guessed.then(|| match settings.public_url.contains("//localhost:") {
            true => "public_url = \"http://ca.example.org:9080\"".to_owned(),
            false => format!("public_url = \"{}\"", settings.public_url),
        }),
    }
}
