//! Withdraws a token, or takes back what a device got through it.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::Error;
use muster_ca::device::DeviceName;
use muster_ca::list::MAX_LIMIT;
use muster_ca::operator::Permission;
use muster_ca::token::EnrolmentToken;
use serde::Deserialize;

use super::{known, state, whom};
use crate::lists::TokenQuery;
use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html, html_with};

pub(super) const WITHDRAW_FORM: Route =
    Route::get("tokens/{id}/withdraw", Permission::Operate, || get(withdraw_form));
pub(super) const WITHDRAW: Route =
    Route::post("tokens/{id}/withdraw", Permission::Operate, || post(withdraw));
pub(super) const WITHDRAW_MANY: Route =
    Route::post("tokens/-/withdraw", Permission::Operate, || post(withdraw_many));
pub(super) const UNBIND_FORM: Route =
    Route::get("tokens/{id}/unbind", Permission::Operate, || get(unbind_form));
pub(super) const UNBIND: Route = Route::post("tokens/{id}/unbind", Permission::Operate, || post(unbind));

/// So many of several are named.
const NAMED: usize = 12;

#[derive(Template)]
#[template(path = "pages/tokens/end.html")]
struct End {
    frame: Frame,
    id: String,
    /// The ids, if several are meant.
    many: Vec<String>,
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
    let good_for = match token.uses.saturating_sub(token.used) {
        0 => "It is good for no other name any more; that it was shown by others is not told from then on."
            .to_owned(),
        1 => "The 1 name that it is still good for can no longer be enrolled with it.".to_owned(),
        left => format!("The {left} names that it is still good for can no longer be enrolled with it."),
    };
    html_with(
        StatusCode::OK,
        &End {
            frame: visit.frame("Withdraw a token"),
            many: Vec::new(),
            verb: "withdraw",
            question: format!("Withdraw the token for {}?", whom(&token)),
            button: "Withdraw it",
            consequences: vec![
                good_for,
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

/// Shows what withdrawing several would do, and with `sure` does it.
async fn withdraw_many(visit: Visit, Form(sent): Form<Vec<(String, String)>>) -> Answer {
    let all = |wanted: &str| {
        let named = sent.iter().filter(|(name, _)| name == wanted);
        named
            .map(|(_, value)| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let query = all("all").into_iter().find(|query| !query.is_empty());
    let (tokens, more) = match query {
        Some(query) => matching(&visit, &query).await?,
        None => (chosen(&visit, all("id")).await?, false),
    };
    if all("sure").is_empty() {
        return many_page(&visit, &tokens, more);
    }
    let mut done = 0;
    for token in &tokens {
        match visit.ca().withdraw_token(visit.proof(), &token.id).await {
            Ok(()) => done += 1,
            // Somebody else was faster.
            Err(Error::Conflict(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(visit.go_and_say("tokens", &format!("Withdrawn: {}.", counted(done))))
}

fn counted(count: usize) -> String {
    format!("{count} token{}", if count == 1 { "" } else { "s" })
}

/// What was ticked and is open.
async fn chosen(visit: &Visit, ids: Vec<String>) -> Result<Vec<EnrolmentToken>, Fault> {
    let ids: BTreeSet<_> = ids.into_iter().collect();
    if ids.is_empty() || ids.len() > MAX_LIMIT {
        let why = format!("tick 1 to {MAX_LIMIT} tokens first");
        return Err(Fault::new(StatusCode::BAD_REQUEST, &why));
    }
    let mut tokens = Vec::new();
    for id in ids {
        tokens.push(known(visit, &id).await?);
    }
    open_ones(visit, tokens)
}

/// What fits the list's address and is open, as much as one step takes, and whether there may be more.
async fn matching(visit: &Visit, query: &str) -> Result<(Vec<EnrolmentToken>, bool), Fault> {
    let mut list = Filters::parse(query)?.asked::<TokenQuery>(visit.now())?;
    list.paging.limit = MAX_LIMIT;
    let found = visit.ca().tokens(visit.proof(), list).await?;
    let more = found.next.is_some();
    Ok((open_ones(visit, found.items)?, more))
}

fn open_ones(visit: &Visit, mut tokens: Vec<EnrolmentToken>) -> Result<Vec<EnrolmentToken>, Fault> {
    tokens.retain(|token| state(token, visit.now()).1);
    if tokens.is_empty() {
        let why = "none of these is open, so there is nothing to withdraw";
        return Err(Fault::new(StatusCode::CONFLICT, why));
    }
    Ok(tokens)
}

fn many_page(visit: &Visit, tokens: &[EnrolmentToken], more: bool) -> Result<Response, Fault> {
    let left: u64 = tokens
        .iter()
        .map(|token| u64::from(token.uses.saturating_sub(token.used)))
        .sum();
    let named: Vec<_> = tokens.iter().take(NAMED).map(whom).collect();
    let mut consequences = vec![
        format!(
            "They are for {}{}.",
            named.join(", "),
            if tokens.len() > NAMED { " and others" } else { "" }
        ),
        format!("They are good for {left} more names, which can no longer be enrolled with them."),
        "Names that they have bound keep their certificates.".into(),
        "This cannot be undone: make new tokens instead.".into(),
    ];
    if more {
        consequences.push("More fit than one step takes; come back for the rest afterwards.".into());
    }
    let ids: Vec<_> = tokens.iter().map(|token| token.id.clone()).collect();
    let cli = format!("for id in {}; do muster token revoke $id; done", ids.join(" "));
    html(&End {
        frame: visit.frame("Withdraw several tokens"),
        id: "-".into(),
        many: ids,
        verb: "withdraw",
        question: format!("Withdraw {}?", counted(tokens.len())),
        button: "Withdraw them",
        consequences,
        fields: Vec::new(),
        lines: Lines::new("end", &cli, "DELETE /tokens/ID"),
    })
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

async fn take_back(visit: &Visit, id: &str, sent: &Sent) -> Result<(DeviceName, usize), Error> {
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
            many: Vec::new(),
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
                    .verbatim(),
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
