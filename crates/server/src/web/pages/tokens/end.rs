//! Withdraws a token, or takes back what a device got through it.

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use serde::Deserialize;

use super::{known, whom};
use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const WITHDRAW_FORM: Route =
    Route::get("tokens/{id}/withdraw", Permission::Operate, || get(withdraw_form));
pub(super) const WITHDRAW: Route =
    Route::post("tokens/{id}/withdraw", Permission::Operate, || post(withdraw));
pub(super) const UNBIND_FORM: Route =
    Route::get("tokens/{id}/unbind", Permission::Operate, || get(unbind_form));
pub(super) const UNBIND: Route = Route::post("tokens/{id}/unbind", Permission::Operate, || post(unbind));

#[derive(Template)]
#[template(path = "pages/tokens/end.html")]
struct End {
    frame: Frame,
    id: String,
    verb: &'static str,
    question: String,
    button: &'static str,
    consequences: Vec<String>,
    fields: Vec<Field>,
    lines: Lines,
}

#[derive(Deserialize, Default)]
struct Sent {
    #[serde(default)]
    name: String,
    #[serde(default)]
    note: String,
}

async fn withdraw_form(visit: Visit, Path(id): Path<String>) -> Answer {
    let token = known(&visit, &id).await?;
    visit.ca().withdraw_token(visit.rehearsal(), &id).await?;
    let left = token.uses.saturating_sub(token.used);
    let names = if left == 1 {
        "1 name".to_owned()
    } else {
        format!("{left} names")
    };
    html_with(
        StatusCode::OK,
        &End {
            frame: visit.frame("Withdraw a token"),
            verb: "withdraw",
            question: format!("Withdraw the token for {}?", whom(&token)),
            button: "Withdraw it",
            consequences: vec![
                format!("The {names} that it is still good for can no longer be enrolled with it."),
                format!("The {} that it has bound keep their certificates.", token.used),
                "This cannot be undone: make a new token instead.".into(),
            ],
            fields: Vec::new(),
            lines: Lines::new(
                "end",
                &format!("muster token revoke {id}"),
                &format!("DELETE /tokens/{id}"),
            ),
            id,
        },
    )
}

async fn withdraw(visit: Visit, Path(id): Path<String>) -> Answer {
    visit.ca().withdraw_token(visit.proof(), &id).await?;
    Ok(visit.go_and_say(&format!("tokens/{id}"), "The token is withdrawn."))
}

async fn unbind_form(visit: Visit, Path(id): Path<String>, filters: Filters) -> Answer {
    let sent = Sent {
        name: filters.get("name").to_owned(),
        ..Sent::default()
    };
    unbind_page(&visit, &id, &sent, StatusCode::OK, None).await
}

async fn unbind(visit: Visit, Path(id): Path<String>, Form(sent): Form<Sent>) -> Answer {
    match take_back(&visit, &id, &sent).await {
        Ok((name, count)) => {
            let said =
                format!("{name} is unbound: {count} of its certificates revoked, and the use is free again.");
            Ok(visit.go_and_say(&format!("tokens/{id}"), &said))
        }
        Err(why) => {
            let fault = Fault::from(why);
            if !fault.is_of_the_form() && fault.status != StatusCode::NOT_FOUND {
                return Err(fault);
            }
            let why = fault.in_one_line();
            unbind_page(&visit, &id, &sent, StatusCode::UNPROCESSABLE_ENTITY, Some(&why)).await
        }
    }
}

async fn take_back(visit: &Visit, id: &str, sent: &Sent) -> Result<(DeviceName, usize), muster_ca::Error> {
    let name = DeviceName::parse(sent.name.trim())?;
    let ca = visit.ca();
    let done = ca.unbind(visit.proof(), id, &name, sent.note.trim()).await?;
    Ok((name, done.serials.len()))
}

async fn unbind_page(
    visit: &Visit,
    id: &str,
    sent: &Sent,
    status: StatusCode,
    refusal: Option<&str>,
) -> Answer {
    let token = known(visit, id).await?;
    let shown = if sent.name.is_empty() {
        "NAME"
    } else {
        sent.name.trim()
    };
    html_with(
        status,
        &End {
            frame: visit.frame("Take back what a device got"),
            verb: "unbind",
            question: format!("Take back what a device got through the token for {}?", whom(&token)),
            button: "Take it back",
            consequences: vec![
                "Every certificate of the device that lives is revoked: whoever used the token may have renewed.".into(),
                "The use is free again, and the true device may enrol with its own key, if the token is still open.".into(),
            ],
            fields: vec![
                Field::text("name", "Type the device's name to confirm")
                    .value(&sent.name)
                    .required()
                    .refused(refusal)
                    .with("autocapitalize", "none")
                    .with("autocomplete", "off")
                    .with("spellcheck", "false"),
                Field::text("note", "Note")
                    .value(&sent.note)
                    .hint("For the audit log.")
                    .with("maxlength", "500"),
            ],
            lines: Lines::new(
                "end",
                &format!("muster token unbind {id} {}", quoted(shown)),
                &format!("POST /tokens/{id}/unbind"),
            )
            .with_body(&serde_json::json!({ "name": shown })),
            id: id.to_owned(),
        },
    )
}
