//! Logging in and out.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use jiff::SignedDuration;
use muster_ca::operator::Permission;
use muster_ca::session::Shown;
use muster_pki::key::sha256;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::attempts::Who;
use crate::web::components::Field;
use crate::web::cookie;
use crate::web::fault::Fault;
use crate::web::form::{Form, local_path};
use crate::web::frame::Frame;
use crate::web::route::{Page, Route};
use crate::web::visit::{Answer, Guest, Visit, html_with};

/// Nobody has a session before logging in; everybody who has one may end it.
pub(in crate::web) const PAGE: Page = Page {
    menu: None,
    routes: &[
        Route::get("login", Permission::Read, || get(show)).open(),
        Route::post("login", Permission::Read, || post(log_in)).open(),
        Route::post("logout", Permission::Read, || post(log_out)),
    ],
};

#[derive(Template)]
#[template(path = "pages/login.html")]
struct LoginPage {
    frame: Frame,
    awaits_setup: bool,
    refusal: Option<String>,
    next: String,
    name: Field,
    password: Field,
    code: Field,
}

#[derive(Deserialize, Default)]
struct Place {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Sent {
    name: String,
    password: Zeroizing<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

async fn show(guest: Guest, Query(place): Query<Place>) -> Answer {
    page(&guest, StatusCode::OK, "", &place.next, None).await
}

async fn page(guest: &Guest, status: StatusCode, name: &str, next: &str, refusal: Option<String>) -> Answer {
    let page = LoginPage {
        frame: guest.frame("Log in"),
        awaits_setup: guest.ca().awaits_setup().await?,
        refusal,
        next: local_path(next).to_owned(),
        name: Field::text("name", "Name")
            .value(name)
            .required()
            .with("autocomplete", "username")
            .with("autocapitalize", "none"),
        password: Field::password("password", "Password")
            .required()
            .with("autocomplete", "current-password"),
        code: Field::text("code", "One-time code")
            .hint("If you have set up an app for codes.")
            .with("autocomplete", "one-time-code")
            .with("inputmode", "numeric"),
    };
    html_with(status, &page)
}

async fn log_in(guest: Guest, Form(sent): Form<Sent>) -> Answer {
    let who = who(&guest, &sent.name).await?;
    if let Err(wait) = guest.web().attempts().take(&who, guest.now()) {
        return too_often(&guest, &sent, wait).await;
    }
    let shown = Shown {
        name: sent.name.clone(),
        password: sent.password.clone(),
        code: sent.code.clone(),
    };
    let origin = guest.client().origin();
    let begun = guest
        .web()
        .edge()
        .hashing(move |ca| async move { ca.log_in(&shown, origin).await })
        .await;
    let begun = match begun {
        Ok(begun) => begun,
        Err(why @ muster_ca::Error::Unproven(_)) => {
            let why = Some(why.to_string());
            return page(&guest, StatusCode::UNAUTHORIZED, &sent.name, &sent.next, why).await;
        }
        Err(why) => return Err(why.into()),
    };
    guest.web().attempts().give_back(&who);
    let mut response = guest.go(local_path(&sent.next));
    cookie::set_session(guest.web(), guest.client(), &mut response, &begun.session);
    cookie::set_browser(guest.web(), guest.client(), &mut response, &begun.browser);
    Ok(response)
}

/// A browser that is known counts for itself; all others count by address and by name.
async fn who(guest: &Guest, name: &str) -> Result<Vec<Who>, Fault> {
    if let Some(secret) = cookie::browser(guest.headers())
        && guest.ca().knows_browser(secret, name).await?
    {
        return Ok(vec![Who::Browser(sha256(secret.as_bytes()))]);
    }
    // Names are short; what is longer is nobody's, and is not worth remembering.
    let name = name.chars().take(64).collect();
    Ok(vec![Who::at(guest.client().address), Who::Name(name)])
}

async fn too_often(guest: &Guest, sent: &Sent, wait: SignedDuration) -> Answer {
    let seconds = wait.as_secs().max(1);
    let why = format!(
        "Too many attempts. Try again in {seconds} seconds. If they are somebody else's: \"muster user invite NAME\" on the server \
         makes a link, and the browser in which you choose a password by it is not held up."
    );
    let mut response = page(
        guest,
        StatusCode::TOO_MANY_REQUESTS,
        &sent.name,
        &sent.next,
        Some(why),
    )
    .await?;
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds.unsigned_abs()));
    Ok(response)
}

async fn log_out(visit: Visit) -> Result<Response, Fault> {
    visit.ca().log_out(visit.proof()).await?;
    let mut response = visit.go("login");
    cookie::end_session(visit.web(), visit.client(), &mut response);
    Ok(response)
}
