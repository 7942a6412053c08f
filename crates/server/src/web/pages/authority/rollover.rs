//! The steps of a roll-over that a running server can take.

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::Error;
use muster_ca::authority::Generation;
use muster_ca::operator::Permission;
use serde::Deserialize;

use crate::web::components::{Field, Icon, Lines};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const FORM: Route = Route::get("ca/rollover/{authority}/{step}", Permission::Administer, || {
    get(form)
});
pub(super) const SEND: Route = Route::post("ca/rollover/{authority}/{step}", Permission::Administer, || {
    post(send)
});

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Activate,
    Finish,
    /// Somebody else has the key of the one before.
    Revoke,
}

impl Step {
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "activate" => Ok(Self::Activate),
            "finish" => Ok(Self::Finish),
            "revoke" => Ok(Self::Revoke),
            _ => Err(Fault::missing("a roll-over has no such step here")),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Finish => "finish",
            Self::Revoke => "revoke",
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
            Self::Revoke => visit.ca().revoke_rollover(proof, authority).await,
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
    consequences: &'static [&'static str],
    /// The authority's name, where devices are shut out.
    confirm: Option<Field>,
    lines: Lines,
}

#[derive(Deserialize, Default)]
struct Sent {
    #[serde(default)]
    confirm: String,
}

/// A step that cannot be taken is told here already.
async fn form(visit: Visit, Path((authority, step)): Path<(String, String)>) -> Answer {
    page(&visit, Step::parse(&step)?, authority, None).await
}

async fn page(visit: &Visit, step: Step, authority: String, refusal: Option<&str>) -> Answer {
    let generation = step.take(visit, visit.rehearsal(), &authority).await?;
    let name = generation.parsed()?.common_name().unwrap_or_default();
    let (question, button, consequences): (_, _, &[_]) = match step {
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
        Step::Revoke => (
            format!("Has somebody else the key of {name}?"),
            "Retire it at once",
            &[
                "Every certificate that it issued is refused from now on, wherever a broker has an agent; the sessions of those devices end.",
                "Each of these devices needs a certificate of the next issuing CA: re-arm it, then enrol it again.",
                "Brokers without an agent need the new ca.crt from you. Devices that check a broker go by the root alone and are not told.",
                "This cannot be undone.",
            ],
        ),
    };
    let confirm = Field::text("confirm", "Type the authority's name to confirm")
        .required()
        .refused(refusal)
        .hint(&authority)
        .with("autocomplete", "off")
        .with("autocapitalize", "none")
        .with("spellcheck", "false");
    let status = match refusal {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let cli = format!("muster ca rollover {} --authority {authority}", step.word());
    let api = format!("POST /authorities/{authority}/rollover/{}", step.word());
    let page = Rollover {
        frame: visit.frame("The next issuing CA"),
        step: step.word(),
        question,
        button,
        consequences,
        confirm: (step == Step::Revoke).then_some(confirm),
        lines: Lines::new("rollover", &cli, &api),
        authority,
    };
    html_with(status, &page)
}

async fn send(
    visit: Visit,
    Path((authority, step)): Path<(String, String)>,
    Form(sent): Form<Sent>,
) -> Answer {
    let step = Step::parse(&step)?;
    if step == Step::Revoke && sent.confirm.trim() != authority {
        let why = format!("this is not {authority}, so nothing was done");
        return page(&visit, step, authority, Some(&why)).await;
    }
    let done = step.take(&visit, visit.proof(), &authority).await?;
    let name = done.parsed()?.common_name().unwrap_or_default();
    let said = match step {
        Step::Activate => format!("{name} issues now."),
        Step::Finish => format!("{name} is retired."),
        Step::Revoke => format!("{name} is retired. No broker has confirmed it yet."),
    };
    Ok(visit.go_and_say("ca", &said))
}
