//! The page behind a link that works once: the setup link, for the first person who may log in, and invitations.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::Ca;
use muster_ca::first_login::FirstLogin;
use muster_ca::operator::Permission;
use muster_ca::password;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::attempts::Who;
use crate::web::components::{Field, Qr};
use crate::web::cookie;
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::{Page, Route};
use crate::web::visit::{Answer, Guest, html_with};

/// The link's secret is the permission.
pub(in crate::web) const PAGE: Page = Page {
    menu: None,
    routes: &[
        Route::get("setup/{secret}", Permission::Administer, || get(show)).open(),
        Route::post("setup/{secret}", Permission::Administer, || post(set_up)).open(),
        Route::get("invitation/{name}/{secret}", Permission::Read, || get(invited)).open(),
        Route::post("invitation/{name}/{secret}", Permission::Read, || post(accept)).open(),
    ],
};

#[derive(Template)]
#[template(path = "pages/setup.html")]
struct SetupPage {
    frame: Frame,
    refusal: Option<String>,
    /// Chosen by the first person; whoever was invited has one.
    name: Option<Field>,
    /// The name of whoever was invited.
    invited: String,
    password: Field,
    repeated: Field,
    code: Field,
    totp: String,
    qr: Qr,
    /// Whether the second factor is being set up.
    open: bool,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    name: String,
    password: Zeroizing<String>,
    repeated: Zeroizing<String>,
    totp: String,
    #[serde(default)]
    code: String,
}

/// A link that brought somebody here.
enum Link {
    Setup(String),
    Invitation { name: String, secret: String },
}

async fn show(guest: Guest, Path(secret): Path<String>) -> Answer {
    begin(&guest, &Link::Setup(secret), "admin").await
}

async fn invited(guest: Guest, Path((name, secret)): Path<(String, String)>) -> Answer {
    let link = Link::Invitation {
        name: name.clone(),
        secret,
    };
    begin(&guest, &link, &name).await
}

async fn begin(guest: &Guest, link: &Link, name: &str) -> Answer {
    check(guest, link).await?;
    let totp = password::secret_text(&guest.ca().new_totp_secret());
    page(guest, StatusCode::OK, link, name, &totp, "", None)
}

async fn set_up(guest: Guest, Path(secret): Path<String>, Form(sent): Form<Sent>) -> Answer {
    let done = choose(&guest, Link::Setup(secret), sent).await?;
    if done.status() == StatusCode::SEE_OTHER
        && let Err(why) = std::fs::remove_file(&guest.web().settings().setup_link)
    {
        tracing::warn!(%why, "the file with the setup link, which is void now, cannot be removed");
    }
    Ok(done)
}

async fn accept(
    guest: Guest,
    Path((name, secret)): Path<(String, String)>,
    Form(sent): Form<Sent>,
) -> Answer {
    let sent = Sent {
        name: name.clone(),
        ..sent
    };
    choose(&guest, Link::Invitation { name, secret }, sent).await
}

async fn choose(guest: &Guest, link: Link, sent: Sent) -> Answer {
    check(guest, &link).await?;
    let again = |why: &str| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        page(
            guest,
            status,
            &link,
            &sent.name,
            &sent.totp,
            &sent.code,
            Some(why),
        )
    };
    if sent.password != sent.repeated {
        return again("the two passwords are not the same");
    }
    let totp = if sent.code.trim().is_empty() {
        None
    } else {
        Some((password::read_secret(&sent.totp)?, sent.code.clone()))
    };
    let chosen = FirstLogin {
        name: sent.name.clone(),
        password: sent.password.clone(),
        totp,
    };
    let origin = guest.client().origin();
    let secret = match &link {
        Link::Setup(secret) | Link::Invitation { secret, .. } => secret.clone(),
    };
    let first = matches!(link, Link::Setup(_));
    let take = move |ca: Arc<Ca>| async move {
        if first {
            ca.set_up(&secret, chosen, origin).await
        } else {
            ca.accept_invitation(&secret, chosen, origin).await
        }
    };
    match guest.web().edge().hashing(take).await {
        Ok(browser) => {
            let mut response = guest.go("login");
            cookie::set_browser(guest.web(), guest.client(), &mut response, &browser);
            Ok(response)
        }
        Err(why) => again(&Fault::from(why).beside_form()?),
    }
}

/// Guessing 256 bits is hopeless; the bound keeps it from costing anything.
async fn check(guest: &Guest, link: &Link) -> Result<(), Fault> {
    let who = [Who::at(guest.client().address)];
    if guest.web().attempts().take(&who, guest.now()).is_err() {
        let why = "too many attempts from this address; try again in a minute";
        return Err(Fault::new(StatusCode::TOO_MANY_REQUESTS, why));
    }
    match link {
        Link::Setup(secret) => guest.ca().check_setup(secret).await?,
        Link::Invitation { name, secret } => guest.ca().check_invitation(name, secret).await?,
    }
    guest.web().attempts().give_back(&who);
    Ok(())
}

fn page(
    guest: &Guest,
    status: StatusCode,
    link: &Link,
    name: &str,
    totp: &str,
    code: &str,
    refusal: Option<&str>,
) -> Answer {
    let secret = password::read_secret(totp)?;
    let page = SetupPage {
        frame: guest.frame("Welcome"),
        refusal: refusal.map(str::to_owned),
        name: matches!(link, Link::Setup(_)).then(|| {
            Field::text("name", "Your name here")
                .value(name)
                .required()
                .hint("The audit log shows it.")
                .with("autocomplete", "username")
                .with("autocapitalize", "none")
        }),
        invited: name.to_owned(),
        password: Field::password("password", "Password")
            .required()
            .hint("At least 12 characters; some words in a row make a good one.")
            .with("autocomplete", "new-password")
            .with("minlength", &password::SHORTEST.to_string()),
        repeated: Field::password("repeated", "The same again")
            .required()
            .with("autocomplete", "new-password"),
        code: Field::text("code", "The code that the app shows")
            .value(code)
            .with("autocomplete", "one-time-code")
            .with("inputmode", "numeric"),
        totp: totp.to_owned(),
        qr: Qr::new(
            &password::secret_url(name, &secret),
            "QR code for an app that makes one-time codes",
        ),
        open: !code.is_empty(),
    };
    html_with(status, &page)
}
