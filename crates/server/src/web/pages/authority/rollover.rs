//! The steps of a roll-over that a running server can take.

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::Error;
use muster_ca::authority::Generation;
use muster_ca::many::Batch;
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;
use serde::Deserialize;

use super::super::revoke::many::{self, Done, WAITING};
use crate::web::components::{Field, Icon, Lines};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html, html_with};

pub(super) const FORM: Route = Route::get("ca/rollover/{authority}/{step}", Permission::Administer, || {
    get(form)
});
pub(super) const SEND: Route = Route::post("ca/rollover/{authority}/{step}", Permission::Administer, || {
    post(send)
});
pub(super) const REVOKE_FORM: Route =
    Route::get("ca/rollover/{authority}/revoke", Permission::Administer, || {
        get(revoke_form)
    });
pub(super) const REVOKE: Route =
    Route::post("ca/rollover/{authority}/revoke", Permission::Administer, || {
        post(revoke)
    });

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Activate,
    Finish,
}

impl Step {
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "activate" => Ok(Self::Activate),
            "finish" => Ok(Self::Finish),
            _ => Err(Fault::missing("a roll-over has no such step here")),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Finish => "finish",
        }
    }

    async fn take(
        self,
        visit: &Visit,
        proof: muster_ca::Proof,
        authority: &str,
    ) -> Result<Generation, Error> {
        match self {
            Self::Activate => visit.ca().activate_rollover(proof, authority).await,
            Self::Finish => visit.ca().finish_rollover(proof, authority).await,
        }
    }
}

#[derive(Template)]
#[template(path = "pages/authority/rollover.html")]
struct Rollover {
    frame: Frame,
    authority: String,
    step: &'static str,
    question: String,
    button: &'static str,
    consequences: Vec<String>,
    /// What is typed where devices are shut out: the authority's name, and of many their count.
    confirm: Vec<Field>,
    /// Whether a second operator has to agree.
    second: bool,
    lines: Lines,
}

/// A step that cannot be taken is told here already.
async fn form(visit: Visit, Path((authority, step)): Path<(String, String)>) -> Answer {
    let step = Step::parse(&step)?;
    let generation = step.take(&visit, visit.rehearsal(), &authority).await?;
    let name = generation.parsed()?.common_name().unwrap_or_default();
    let (question, button, consequences): (_, _, &[&str]) = match step {
        Step::Activate => (
            format!("Let {name} issue?"),
            "Let it issue",
            &[
                "Every certificate from now on comes from it. A broker that does not have it yet refuses those who show one: give every broker the new ca.crt and the lists first.",
                "The one before issues nothing any more and makes its revocation list until its last certificate has ended.",
                "What was issued stays valid.",
            ],
        ),
        Step::Finish => (
            format!("Retire {name}?"),
            "Retire it",
            &[
                "Nothing of it lives any more. It makes no revocation list from now on.",
                "This cannot be undone.",
            ],
        ),
    };
    let cli = format!("muster ca rollover {} --authority {authority}", step.word());
    let api = format!("POST /authorities/{authority}/rollover/{}", step.word());
    html(&Rollover {
        frame: visit.frame("The next issuing CA"),
        step: step.word(),
        question,
        button,
        consequences: consequences.iter().map(|line| (*line).to_owned()).collect(),
        confirm: Vec::new(),
        second: false,
        lines: Lines::new("rollover", &cli, &api),
        authority,
    })
}

async fn send(visit: Visit, Path((authority, step)): Path<(String, String)>) -> Answer {
    let step = Step::parse(&step)?;
    let done = step.take(&visit, visit.proof(), &authority).await?;
    let name = done.parsed()?.common_name().unwrap_or_default();
    let said = match step {
        Step::Activate => format!("{name} issues now."),
        Step::Finish => format!("{name} is retired."),
    };
    Ok(visit.go_and_say("ca", &said))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sent {
    confirm: String,
    count: String,
}

async fn revoke_form(visit: Visit, Path(authority): Path<String>) -> Answer {
    let batch = visit.ca().issuing_batch(visit.rehearsal(), &authority).await?;
    revoke_page(&visit, &authority, &batch, &Sent::default(), None)
}

/// Somebody else has the key of the one before: it goes with everything that it has issued, as many do at once.
async fn revoke(visit: Visit, Path(authority): Path<String>, Form(sent): Form<Sent>) -> Answer {
    let batch = visit.ca().issuing_batch(visit.proof(), &authority).await?;
    let count = batch.len();
    let refused = if sent.confirm.trim() != authority {
        Some(("confirm", format!("this is not {authority}, so nothing was done")))
    } else if visit.web().settings().asks_for_count(count) && sent.count.trim() != count.to_string() {
        Some(("count", format!("they are {count}, so nothing was done")))
    } else {
        None
    };
    if refused.is_some() {
        return revoke_page(&visit, &authority, &batch, &sent, refused);
    }
    match many::act(&visit, &batch, Reason::CaCompromise, "").await? {
        Done::Waits(say) => Ok(visit.go_and_say(WAITING, &say)),
        Done::Revoked(say) => Ok(visit.go_and_say("ca", &say)),
    }
}

fn revoke_page(
    visit: &Visit,
    authority: &str,
    batch: &Batch,
    sent: &Sent,
    refused: Option<(&str, String)>,
) -> Answer {
    let (settings, count) = (visit.web().settings(), batch.len());
    let why = |field: &str| {
        let refused = refused.as_ref().filter(|(at, _)| *at == field);
        refused.map(|(_, why)| why.as_str())
    };
    let plain = |field: Field| field.required().verbatim();
    let name = Field::text("confirm", "Type the authority's name to confirm")
        .value(&sent.confirm)
        .hint(authority)
        .refused(why("confirm"));
    let mut confirm = vec![plain(name)];
    if settings.asks_for_count(count) {
        let field = Field::text("count", "Type how many certificates those are")
            .value(&sent.count)
            .hint(&format!("They are {count}"))
            .with("inputmode", "numeric")
            .refused(why("count"));
        confirm.push(plain(field));
    }
    let second = settings.asks_for_second(count);
    let body = serde_json::json!({ "issuing_of": authority, "reason": "ca-compromise", "count": count });
    let lines = if second {
        Lines::call("rollover", "POST /revocations")
    } else {
        let cli = format!("muster ca rollover revoke --authority {authority} --count {count}");
        Lines::new("rollover", &cli, "POST /revocations")
    };
    let status = match refused {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let page = Rollover {
        frame: visit.frame("The next issuing CA"),
        step: "revoke",
        question: format!("Has somebody else the key of the issuing CA of {authority} that is retiring?"),
        button: if second {
            "Ask to retire it"
        } else {
            "Retire it at once"
        },
        consequences: many::of_issuing(count),
        confirm,
        second,
        lines: lines.with_body(&body),
        authority: authority.to_owned(),
    };
    html_with(status, &page)
}
