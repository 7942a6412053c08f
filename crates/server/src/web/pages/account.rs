//! What somebody logs in with themselves: password, one-time codes, sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::Ca;
use muster_ca::account::Sighting;
use muster_ca::operator::Permission;
use muster_ca::password;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::web::components::{Field, Lines, Qr, When, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::{Page, Route};
use crate::web::visit::{Answer, Visit, html_with};

/// The name at the foot of the menu leads here. Everybody who can log in has an account.
pub(in crate::web) const PAGE: Page = Page {
    menu: None,
    routes: &[
        Route::get("account", Permission::Read, || get(show)),
        Route::post("account/password", Permission::Read, || post(change_password)),
        Route::post("account/code", Permission::Read, || post(set_factor)),
        Route::post("account/code/remove", Permission::Read, || post(remove_factor)),
        Route::post("account/sessions/{id}/end", Permission::Read, || {
            post(end_session)
        }),
    ],
};

#[derive(Template)]
#[template(path = "pages/account.html")]
struct Account {
    frame: Frame,
    current: Field,
    password: Field,
    repeated: Field,
    /// Whether a one-time code is asked for.
    has_factor: bool,
    totp: String,
    qr: Qr,
    code: Field,
    code_password: Field,
    sessions: Vec<Row>,
    password_lines: Lines,
    code_lines: Lines,
    session_lines: Lines,
}

struct Row {
    id: String,
    source: String,
    began: When,
    used: When,
    own: bool,
}

/// Which form did not work, and why.
#[derive(Default)]
struct Refused {
    password: Option<String>,
    repeated: Option<String>,
    code: Option<String>,
    current: Option<String>,
    code_password: Option<String>,
    totp: Option<String>,
}

async fn show(visit: Visit) -> Answer {
    page(&visit, StatusCode::OK, Refused::default()).await
}

async fn page(visit: &Visit, status: StatusCode, refused: Refused) -> Answer {
    let login = visit.ca().own_login(visit.proof()).await?;
    let sessions = visit.ca().own_sessions(visit.proof()).await?;
    let totp = match &refused.totp {
        Some(typed) => typed.clone(),
        None => password::secret_text(&visit.ca().new_totp_secret()),
    };
    let secret = password::read_secret(&totp)?;
    let row = |sighting: Sighting| Row {
        began: When::relative(sighting.began, visit.now()),
        used: When::relative(sighting.used, visit.now()),
        id: sighting.id,
        source: sighting.source,
        own: sighting.own,
    };
    let has_factor = login.is_some_and(|login| login.totp.is_some());
    let page = Account {
        frame: visit.frame("Your account"),
        password_lines: Lines::new(
            "password",
            &format!("muster user password {}", quoted(&visit.visitor().name)),
            "POST /account/password",
        )
        .with_body(&json!({ "current": "…", "password": "…" })),
        code_lines: if has_factor {
            Lines::call("codes", "POST /account/code/remove").with_body(&json!({ "current": "…" }))
        } else {
            Lines::call("codes", "POST /account/code")
                .with_body(&json!({ "current": "…", "secret": totp, "code": "123456" }))
        },
        session_lines: Lines::call("sessions", "DELETE /account/sessions/ID"),
        current: own_password("current", refused.current.as_deref()),
        password: Field::password("password", "New password")
            .required()
            .hint("At least 12 characters; some words in a row make a good one.")
            .refused(refused.password.as_deref())
            .with("autocomplete", "new-password")
            .with("minlength", &password::SHORTEST.to_string()),
        repeated: Field::password("repeated", "The same again")
            .required()
            .refused(refused.repeated.as_deref())
            .with("autocomplete", "new-password"),
        has_factor,
        qr: Qr::new(
            &password::secret_url(&visit.visitor().name, &secret),
            "QR code for an app that makes one-time codes",
        ),
        totp,
        code: Field::text("code", "The code that the app shows")
            .required()
            .refused(refused.code.as_deref())
            .with("autocomplete", "one-time-code")
            .with("inputmode", "numeric"),
        code_password: own_password("code_password", refused.code_password.as_deref()),
        sessions: sessions.into_iter().map(row).collect(),
    };
    html_with(status, &page)
}

fn own_password(name: &'static str, refusal: Option<&str>) -> Field {
    Field::password(name, "Your password now")
        .required()
        .refused(refusal)
        .with("autocomplete", "current-password")
}

#[derive(Deserialize)]
struct NewPassword {
    current: Zeroizing<String>,
    password: Zeroizing<String>,
    repeated: Zeroizing<String>,
}

async fn change_password(visit: Visit, Form(sent): Form<NewPassword>) -> Answer {
    let why = if sent.password != sent.repeated {
        Refused {
            repeated: Some("the two passwords are not the same".into()),
            ..Refused::default()
        }
    } else if let Err(why) = password::check(&sent.password) {
        Refused {
            password: Some(why.to_string()),
            ..Refused::default()
        }
    } else {
        let proof = visit.proof();
        let change = move |ca: Arc<Ca>| async move {
            ca.change_own_password(proof, &sent.current, &sent.password).await
        };
        match guarded(&visit, change).await? {
            None => return Ok(over(&visit, "Your password is changed.")),
            Some(fault) => Refused {
                current: Some(fault.message),
                ..Refused::default()
            },
        }
    };
    page(&visit, StatusCode::UNPROCESSABLE_ENTITY, why).await
}

#[derive(Deserialize)]
struct NewFactor {
    totp: String,
    code: String,
    code_password: Zeroizing<String>,
}

async fn set_factor(visit: Visit, Form(sent): Form<NewFactor>) -> Answer {
    let secret = password::read_secret(&sent.totp)?;
    let proof = visit.proof();
    let factor = Some((secret, sent.code));
    let set =
        move |ca: Arc<Ca>| async move { ca.set_own_second_factor(proof, &sent.code_password, factor).await };
    let why = match guarded(&visit, set).await? {
        None => return Ok(over(&visit, "From now on a code is asked for.")),
        Some(fault) if fault.status == StatusCode::BAD_REQUEST => Refused {
            code: Some(fault.message),
            ..Refused::default()
        },
        Some(fault) => Refused {
            code_password: Some(fault.message),
            ..Refused::default()
        },
    };
    let why = Refused {
        totp: Some(sent.totp),
        ..why
    };
    page(&visit, StatusCode::UNPROCESSABLE_ENTITY, why).await
}

#[derive(Deserialize)]
struct NoFactor {
    code_password: Zeroizing<String>,
}

async fn remove_factor(visit: Visit, Form(sent): Form<NoFactor>) -> Answer {
    let proof = visit.proof();
    let remove =
        move |ca: Arc<Ca>| async move { ca.set_own_second_factor(proof, &sent.code_password, None).await };
    match guarded(&visit, remove).await? {
        None => Ok(over(&visit, "No code is asked for any more.")),
        Some(fault) => {
            let why = Refused {
                code_password: Some(fault.message),
                ..Refused::default()
            };
            page(&visit, StatusCode::UNPROCESSABLE_ENTITY, why).await
        }
    }
}

async fn end_session(visit: Visit, Path(id): Path<String>) -> Answer {
    visit.ca().end_own_session(visit.proof(), &id).await?;
    Ok(visit.go_and_say("account", "The session has ended."))
}

/// Does what takes the password again, with a bound on guessing; why it was refused, if the form can mend it.
async fn guarded<F>(
    visit: &Visit,
    ask: impl FnOnce(Arc<Ca>) -> F + Send + 'static,
) -> Result<Option<Fault>, Fault>
where
    F: Future<Output = Result<(), muster_ca::Error>>,
{
    match visit.web().edge().proving_again(&visit.visitor().name, ask).await {
        Err(wait) => {
            let why = format!(
                "too many attempts; try again in {} seconds",
                wait.as_secs().max(1)
            );
            Ok(Some(Fault::new(StatusCode::TOO_MANY_REQUESTS, &why)))
        }
        Ok(Ok(())) => Ok(None),
        Ok(Err(why)) => match Fault::from(why) {
            fault if fault.is_of_the_form() => Ok(Some(fault)),
            fault => Err(fault),
        },
    }
}

/// Every session has ended, this one, too.
fn over(visit: &Visit, said: &str) -> Response {
    visit.go_and_say("login", &format!("{said} Log in again."))
}
