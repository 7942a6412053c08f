//! Users and roles: who may do what.

mod one;

use askama::Template;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::operator::{Operator, Permission, Role};
use serde::Deserialize;

use crate::lists::OperatorQuery;
use crate::web::components::{
    Badge, Field, Heads, Icon, Lines, Listed, Mood, Pages, Search, Toolbar, Tools, When,
};
use crate::web::export;
use crate::web::fault::Fault;
use crate::web::form::{Form, escape};
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::{Entry, Page, Route};
use crate::web::several::Several;
use crate::web::visit::{Answer, Visit, html, html_with};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Authority",
        label: "Users and roles",
        icon: "user",
    }),
    routes: &[
        Route::get("users", Permission::Administer, || get(list)),
        Route::get("users.csv", Permission::Administer, || {
            get(export::csv::<OperatorQuery>)
        }),
        Route::get("users.json", Permission::Administer, || {
            get(export::json::<OperatorQuery>)
        }),
        Route::post("users", Permission::Administer, || post(add)),
        Route::get("add-user", Permission::Administer, || get(form)),
        Route::post("remove-users", Permission::Administer, || post(remove_several)),
        Route::get("users/{name}", Permission::Administer, || get(one::show)),
        Route::post("users/{name}/role", Permission::Administer, || {
            post(one::change_role)
        }),
        Route::post("users/{name}/invitation", Permission::Administer, || {
            post(one::invite)
        }),
        Route::post("users/{name}/key", Permission::Administer, || {
            post(one::renew_key)
        }),
        Route::post("users/{name}/key/revoke", Permission::Administer, || {
            post(one::revoke_key)
        }),
        Route::post("users/{name}/remove", Permission::Administer, || {
            post(one::remove)
        }),
    ],
};

/// Every role: its word and what it may do.
const ROLES: [(Role, &str); 4] = [
    (Role::Admin, "everything, authorities and users included"),
    (Role::Operator, "devices, certificates and tokens"),
    (Role::Viewer, "look at everything but users and the audit log"),
    (Role::Auditor, "look at everything but users"),
];

fn role_field(chosen: &str) -> Field {
    let options = ROLES
        .iter()
        .map(|(role, may)| (role.as_str().to_owned(), format!("{}: {may}", role.as_str())));
    Field::choice("role", "Role", options.collect())
        .required()
        .value(chosen)
}

fn role_of(word: &str) -> Result<Role, Fault> {
    Role::parse(word).ok_or_else(|| Fault::new(StatusCode::BAD_REQUEST, "there is no such role"))
}

/// How somebody comes in, at a glance.
fn login_badge(operator: &Operator) -> Badge {
    match operator.login.as_ref().map(|login| login.totp.is_some()) {
        None => Badge::new(Mood::Quiet, "Does not log in"),
        Some(false) => Badge::new(Mood::Warning, "Password only").icon("key"),
        Some(true) => Badge::new(Mood::Good, "Password and code"),
    }
}

/// The columns that can be left out, and whether they are shown when nobody chose.
const COLUMNS: [(&str, &str, bool); 4] = [
    ("role", "Role", true),
    ("login", "Logs in with", true),
    ("key", "API key", true),
    ("since", "Since", true),
];
/// The roles to choose from, and their words.
const CHOICES: [(&str, &str); 5] = [
    ("", "All"),
    ("admin", "Admins"),
    ("operator", "Operators"),
    ("viewer", "Viewers"),
    ("auditor", "Auditors"),
];
const SEARCH: Search = Search {
    name: "q",
    label: "Beginning of a name",
    hint: "Beginning of a name",
};

#[derive(Template)]
#[template(path = "pages/users/list.html")]
struct List {
    frame: Frame,
    toolbar: Toolbar,
    heads: Heads,
    rows: Vec<Row>,
    pages: Pages,
    lines: Lines,
}

struct Row {
    name: String,
    path: String,
    role: &'static str,
    login: Badge,
    key: bool,
    since: When,
    own: bool,
}

async fn list(visit: Visit, filters: Filters) -> Answer {
    let listed = Listed::new(visit.url("users"), &filters);
    let asked = filters.asked::<OperatorQuery>(visit.now())?;
    let found = visit.ca().operators(visit.proof(), asked).await?;
    let row = |operator: &Operator| Row {
        name: operator.name.clone(),
        path: escape(&operator.name),
        role: operator.role.as_str(),
        login: login_badge(operator),
        key: operator.key.is_some(),
        since: When::date(operator.created),
        own: operator.name == visit.visitor().name,
    };
    let toolbar = listed.toolbar(Tools {
        search: SEARCH,
        chips: Some(listed.chips("Role", "role", CHOICES)),
        fields: Vec::new(),
        given: &[],
        columns: &COLUMNS,
        file: visit.url("users"),
    });
    let head = |(name, words, _): &(&str, &'static str, bool)| {
        let order = match *name {
            "role" => Some("role"),
            "since" => Some("created"),
            _ => None,
        };
        (*words, order)
    };
    let shown = COLUMNS.iter().filter(|(name, ..)| toolbar.shows(name)).map(head);
    let heads = std::iter::once(("Name", Some("name"))).chain(shown);
    html(&List {
        frame: visit.frame("Users and roles"),
        heads: listed.heads("name", heads.collect::<Vec<_>>()),
        toolbar,
        rows: found.items.iter().map(row).collect(),
        pages: listed.pages(&found),
        lines: listed.lines::<OperatorQuery>(),
    })
}

async fn remove_several(visit: Visit, Form(sent): Form<Vec<(String, String)>>) -> Answer {
    Several::Users.send(&visit, &sent).await
}

#[derive(Template)]
#[template(path = "pages/users/add.html")]
struct Add {
    frame: Frame,
    name: Field,
    role: Field,
    kind: Field,
    lines: Lines,
}

#[derive(Deserialize)]
struct Sent {
    name: String,
    role: String,
    kind: String,
}

async fn form(visit: Visit) -> Answer {
    let sent = Sent {
        name: String::new(),
        role: Role::Operator.as_str().into(),
        kind: PERSON.into(),
    };
    html(&page(&visit, &sent, None))
}

const PERSON: &str = "person";
const PROGRAM: &str = "program";

fn page(visit: &Visit, sent: &Sent, refusal: Option<&str>) -> Add {
    let kinds = [
        (PERSON, "A person: gets a link to choose a password"),
        (PROGRAM, "A program: gets an API key"),
    ];
    Add {
        frame: visit.frame("Add a user"),
        name: Field::text("name", "Name")
            .value(&sent.name)
            .required()
            .hint("The audit log shows it. Letters, digits, '-', '.', '_' and '@'.")
            .refused(refusal)
            .verbatim(),
        role: role_field(&sent.role),
        kind: Field::choice(
            "kind",
            "Who is it?",
            kinds
                .map(|(kind, words)| (kind.to_owned(), words.to_owned()))
                .into(),
        )
        .required()
        .value(&sent.kind),
        lines: Lines::new(
            "lines",
            "muster user create NAME --role operator --person",
            "POST /operators",
        )
        .with_body(&serde_json::json!({ "name": "NAME", "role": "operator", "person": true })),
    }
}

async fn add(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    let role = role_of(&sent.role)?;
    let (ca, name) = (visit.ca(), sent.name.trim());
    let made = if sent.kind == PROGRAM {
        let made = ca.add_operator(visit.proof(), name, role).await;
        made.map(|(_, key)| one::Secret::key(&key))
    } else {
        let made = ca.add_person(visit.proof(), name, role).await;
        made.map(|(_, secret)| one::Secret::invitation(&visit, name, &secret))
    };
    match made {
        Ok(secret) => one::page(&visit, name, None, Some(secret)).await,
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page(&visit, &sent, Some(&why)))
        }
    }
}
