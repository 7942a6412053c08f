//! One user: what it may do, how it comes in.

use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use serde::Deserialize;

use super::{login_badge, role_field, role_of};
use crate::web::components::{Badge, Field, Lines, When, quoted};
use crate::web::fault::Fault;
use crate::web::form::{Form, escape};
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html_with};

/// Something that is shown this once.
pub(super) struct Secret {
    title: &'static str,
    text: String,
    hint: &'static str,
}

impl Secret {
    pub(super) fn key(key: &str) -> Self {
        Self {
            title: "API key",
            text: key.to_owned(),
            hint: "Give it to the program as MUSTER_API_KEY. Anybody who has it may do what this user may.",
        }
    }

    pub(super) fn invitation(visit: &Visit, name: &str, secret: &str) -> Self {
        let path = visit.url(&format!("invitation/{name}/{secret}"));
        Self {
            title: "Link to choose a password",
            text: format!("{}{path}", visit.client().site()),
            hint: "Send it to nobody but this person. It works once and for a week.",
        }
    }
}

#[derive(Template)]
#[template(path = "pages/users/one.html")]
struct One {
    frame: Frame,
    name: String,
    path: String,
    own: bool,
    login: Badge,
    logs_in: bool,
    has_key: bool,
    since: When,
    role: Field,
    confirm: Field,
    refusal: Option<String>,
    secret: Option<Secret>,
    role_lines: Lines,
    invite_lines: Lines,
    key_lines: Lines,
    remove_lines: Lines,
}

/// A form that did not work: which one, and why.
pub(super) struct Refused {
    status: StatusCode,
    why: String,
    removing: bool,
}

pub(super) async fn page(
    visit: &Visit,
    name: &str,
    refused: Option<Refused>,
    secret: Option<Secret>,
) -> Answer {
    let operator = visit.ca().one_operator(visit.proof(), name).await?;
    let status = refused.as_ref().map_or(StatusCode::OK, |refused| refused.status);
    let (removing, whole): (Vec<_>, Vec<_>) = refused.into_iter().partition(|refused| refused.removing);
    let (shell, call) = (quoted(name), format!("/operators/{}", escape(name)));
    let not_removed = removing.first().map(|refused| refused.why.as_str());
    let page = One {
        frame: visit.frame(name),
        path: format!("users/{}", escape(name)),
        own: operator.name == visit.visitor().name,
        login: login_badge(&operator),
        logs_in: operator.login.is_some(),
        has_key: operator.key.is_some(),
        since: When::date(operator.created),
        role: role_field(operator.role.as_str()),
        confirm: Field::text("confirm", "Type the name to confirm")
            .required()
            .refused(not_removed)
            .verbatim(),
        refusal: whole.into_iter().next().map(|refused| refused.why),
        secret,
        role_lines: Lines::new(
            "set-role",
            &format!("muster user role {shell} {}", operator.role.as_str()),
            &format!("POST {call}/role"),
        )
        .with_body(&serde_json::json!({ "role": operator.role.as_str() })),
        invite_lines: Lines::new(
            "invite",
            &format!("muster user invite {shell}"),
            &format!("POST {call}/invitation"),
        ),
        key_lines: Lines::new(
            "key",
            &format!("muster user key {shell}"),
            &format!("POST {call}/key"),
        ),
        remove_lines: Lines::new(
            "remove",
            &format!("muster user remove {shell}"),
            &format!("DELETE {call}"),
        ),
        name: operator.name,
    };
    html_with(status, &page)
}

pub(super) async fn show(visit: Visit, Path(name): Path<String>) -> Answer {
    page(&visit, &name, None, None).await
}

#[derive(Deserialize)]
pub(super) struct NewRole {
    role: String,
}

pub(super) async fn change_role(visit: Visit, Path(name): Path<String>, Form(sent): Form<NewRole>) -> Answer {
    let role = role_of(&sent.role)?;
    let done = visit.ca().change_role(visit.proof(), &name, role).await;
    let said = format!("{name} has the role {} now.", role.as_str());
    go_or_refuse(&visit, &name, done, &said).await
}

pub(super) async fn invite(visit: Visit, Path(name): Path<String>) -> Answer {
    let secret = visit.ca().invite(visit.proof(), &name).await?;
    let secret = Secret::invitation(&visit, &name, &secret);
    page(&visit, &name, None, Some(secret)).await
}

pub(super) async fn renew_key(visit: Visit, Path(name): Path<String>) -> Answer {
    let key = visit.ca().renew_api_key(visit.proof(), &name).await?;
    page(&visit, &name, None, Some(Secret::key(&key))).await
}

pub(super) async fn revoke_key(visit: Visit, Path(name): Path<String>) -> Answer {
    let done = visit.ca().revoke_api_key(visit.proof(), &name).await;
    go_or_refuse(&visit, &name, done, &format!("{name} has no API key any more.")).await
}

#[derive(Deserialize)]
pub(super) struct Confirmed {
    confirm: String,
}

pub(super) async fn remove(visit: Visit, Path(name): Path<String>, Form(sent): Form<Confirmed>) -> Answer {
    if sent.confirm.trim() != name {
        let refused = Refused {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            why: "this is not the name of the user".into(),
            removing: true,
        };
        return page(&visit, &name, Some(refused), None).await;
    }
    visit.ca().remove_operator(visit.proof(), &name).await?;
    Ok(visit.go_and_say("users", &format!("Removed {name}.")))
}

async fn go_or_refuse(visit: &Visit, name: &str, done: Result<(), muster_ca::Error>, said: &str) -> Answer {
    match done {
        Ok(()) => Ok(visit.go_and_say(&format!("users/{}", escape(name)), said)),
        Err(why) => {
            let refused = Refused {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                why: Fault::from(why).beside_form()?,
                removing: false,
            };
            page(visit, name, Some(refused), None).await
        }
    }
}
