//! Adds and removes provisioners.

use askama::Template;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::operator::Permission;
use muster_ca::registry::ProvisionerWish;

use crate::web::components::{Copied, Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html, html_with};

pub(super) const FORM: Route = Route::get("ca/provisioners/-/new", Permission::Administer, || get(form));
pub(super) const SEND: Route = Route::post("ca/provisioners/-/new", Permission::Administer, || post(send));
/// The name stands in the query and in the form: it may have characters that a path cannot.
pub(super) const REMOVE_FORM: Route = Route::get("ca/provisioners/-/remove", Permission::Administer, || {
    get(remove_form)
});
pub(super) const REMOVE: Route = Route::post("ca/provisioners/-/remove", Permission::Administer, || {
    post(remove)
});

#[derive(Template)]
#[template(path = "pages/authority/provisioner.html")]
struct Add {
    frame: Frame,
    name: Field,
    /// Name, and whether it is ticked.
    profiles: Vec<(String, bool)>,
    names: Field,
    replaces: bool,
    lines: Lines,
}

#[derive(Template)]
#[template(path = "pages/authority/provisioner_made.html")]
struct Made {
    frame: Frame,
    name: String,
    password: Copied,
    line: Copied,
}

#[derive(Template)]
#[template(path = "pages/authority/provisioner_remove.html")]
struct Remove {
    frame: Frame,
    name: String,
    confirm: Field,
    lines: Lines,
}

/// A form in which profiles come more than once.
type Sent = Vec<(String, String)>;

fn value<'a>(sent: &'a Sent, name: &str) -> &'a str {
    let found = sent.iter().find(|(known, _)| known == name);
    found.map_or("", |(_, value)| value.trim())
}

async fn form(visit: Visit) -> Answer {
    let usual = ["client", "server"].map(|profile| ("profile".to_owned(), profile.to_owned()));
    page(&visit, StatusCode::OK, &usual.into(), None)
}

async fn send(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    let name = value(&sent, "name");
    let profiles = sent.iter().filter(|(known, _)| known == "profile");
    let wish = ProvisionerWish {
        name: name.to_owned(),
        profiles: profiles.map(|(_, profile)| profile.clone()).collect(),
        names: value(&sent, "names")
            .split([',', ' ', '\n'])
            .map(str::trim)
            .filter(|pattern| !pattern.is_empty())
            .map(str::to_owned)
            .collect(),
        may_replace: value(&sent, "replaces") == "yes",
    };
    let password = visit.ca().new_password();
    let (ca, proof) = (visit.ca().clone(), visit.proof());
    let made = ca.add_provisioner(proof, wish, &password).await;
    match made {
        Ok(made) => html(&Made {
            frame: visit.frame("The provisioner is made"),
            line: Copied::new(
                "line",
                &format!(
                    "step ca certificate site-001 site-001.crt site-001.key --provisioner {} --provisioner-password-file password",
                    quoted(&made.name)
                ),
                "Copy the command",
            ),
            name: made.name,
            password: Copied::new("password", &password, "Copy the password"),
        }),
        Err(why) => {
            let fault = Fault::from(why);
            // What is not there is a profile that the form names.
            if !fault.is_of_the_form() && fault.status != StatusCode::NOT_FOUND {
                return Err(fault);
            }
            page(
                &visit,
                StatusCode::UNPROCESSABLE_ENTITY,
                &sent,
                Some(&fault.in_one_line()),
            )
        }
    }
}

fn page(visit: &Visit, status: StatusCode, sent: &Sent, refusal: Option<&str>) -> Answer {
    let ticked = |name: &str| {
        sent.iter()
            .any(|(known, value)| known == "profile" && value == name)
    };
    html_with(
        status,
        &Add {
            frame: visit.frame("Add a provisioner"),
            name: Field::text("name", "Name")
                .value(value(sent, "name"))
                .required()
                .refused(refusal)
                .hint("What step clients say with --provisioner.")
                .verbatim(),
            profiles: visit
                .ca()
                .profiles()
                .map(|profile| (profile.name().to_owned(), ticked(profile.name())))
                .collect(),
            names: Field::text("names", "Names it may ask for")
                .value(value(sent, "names"))
                .hint("Patterns such as site-*, with commas between; empty for any free name.")
                .verbatim(),
            replaces: value(sent, "replaces") == "yes",
            lines: Lines::new(
                "add",
                "muster ca provisioner add site-makers --names 'site-*' --profile client --password-file password",
                "POST /provisioners",
            )
            .with_body(&serde_json::json!({ "name": "site-makers", "names": ["site-*"], "profiles": ["client"] })),
        },
    )
}

async fn remove_form(visit: Visit, filters: Filters) -> Answer {
    remove_page(&visit, filters.get("name"), "", StatusCode::OK, None)
}

async fn remove(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    let (name, confirm) = (value(&sent, "name"), value(&sent, "confirm"));
    if name != confirm {
        let why = format!("this is not {name}, so nothing was done");
        let again = StatusCode::UNPROCESSABLE_ENTITY;
        return remove_page(&visit, name, confirm, again, Some(&why));
    }
    visit.ca().remove_provisioner(visit.proof(), name).await?;
    Ok(visit.go_and_say("ca/provisioners", &format!("The provisioner {name} is removed.")))
}

fn remove_page(visit: &Visit, name: &str, typed: &str, status: StatusCode, refusal: Option<&str>) -> Answer {
    let known = visit.ca().provisioners().iter().any(|one| one.name == name);
    if !known {
        return Err(Fault::missing("there is no provisioner of this name"));
    }
    html_with(
        status,
        &Remove {
            frame: visit.frame("Remove a provisioner"),
            confirm: Field::text("confirm", "Type its name to confirm")
                .value(typed)
                .required()
                .refused(refusal)
                .hint(name)
                .verbatim(),
            lines: Lines::new(
                "remove",
                &format!("muster ca provisioner remove {}", quoted(name)),
                &format!("DELETE /provisioners/{}", crate::web::form::escape(name)),
            ),
            name: name.to_owned(),
        },
    )
}
