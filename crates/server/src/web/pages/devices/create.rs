//! Registers a device before it has an identity.

use askama::Template;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use serde::Deserialize;

use crate::web::components::{Field, Lines};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const FORM: Route = Route::get("devices/-/new", Permission::Operate, || get(form));
pub(super) const SEND: Route = Route::post("devices/-/new", Permission::Operate, || post(send));

#[derive(Template)]
#[template(path = "pages/devices/create.html")]
struct Create {
    frame: Frame,
    name: Field,
    profile: Field,
    note: Field,
    lines: Lines,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    name: String,
    #[serde(default = "client")]
    profile: String,
    #[serde(default)]
    note: String,
}

fn client() -> String {
    "client".into()
}

async fn form(visit: Visit) -> Answer {
    let empty = Sent {
        name: String::new(),
        profile: client(),
        note: String::new(),
    };
    page(&visit, StatusCode::OK, &empty, None)
}

async fn send(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    match register(&visit, &sent).await {
        Ok(name) => Ok(visit.go_and_say(&format!("devices/{name}"), &format!("{name} is registered."))),
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            page(&visit, StatusCode::UNPROCESSABLE_ENTITY, &sent, Some(&why))
        }
    }
}

async fn register(visit: &Visit, sent: &Sent) -> Result<DeviceName, muster_ca::Error> {
    let name = DeviceName::parse(sent.name.trim())?;
    let (ca, proof) = (visit.ca(), visit.proof());
    ca.create_device(proof, name.clone(), &sent.profile, sent.note.trim())
        .await?;
    Ok(name)
}

fn page(visit: &Visit, status: StatusCode, sent: &Sent, refusal: Option<&str>) -> Answer {
    html_with(
        status,
        &Create {
            frame: visit.frame("Register a device"),
            name: Field::text("name", "Name")
                .value(&sent.name)
                .required()
                .refused(refusal)
                .hint("It is the certificate's common name, and the MQTT user name and client id: 1 to 64 lower-case letters, digits, '-', '.' and '_'.")
                .verbatim()
                .with("maxlength", "64"),
            profile: profiles(visit, &sent.profile)
                .hint("client for sites and devices, server for a broker, broker for one that connects to others, too."),
            note: Field::text("note", "Note").value(&sent.note).with("maxlength", "500"),
            lines: Lines::new(
                "create",
                "muster device create site-001 --profile client",
                "POST /devices",
            )
            .with_body(&serde_json::json!({ "name": "site-001", "profile": "client" })),
        },
    )
}

/// A choice of every profile.
pub(in crate::web::pages) fn profiles(visit: &Visit, value: &str) -> Field {
    let named = |name: &str, kind: &str| {
        let words = if name == kind {
            name.to_owned()
        } else {
            format!("{name} ({kind})")
        };
        (name.to_owned(), words)
    };
    let options = visit
        .ca()
        .profiles()
        .map(|profile| named(profile.name(), profile.kind().as_str()));
    Field::choice("profile", "Profile", options.collect())
        .value(value)
        .required()
}
