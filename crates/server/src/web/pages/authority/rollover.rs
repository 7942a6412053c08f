//! The steps of a roll-over that a running server can take.

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use muster_ca::Error;
use muster_ca::authority::Generation;
use muster_ca::operator::Permission;

use crate::web::components::{Icon, Lines};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html};

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
    consequences: &'static [&'static str],
    lines: Lines,
}

/// A step that cannot be taken is told here already.
async fn form(visit: Visit, Path((authority, step)): Path<(String, String)>) -> Answer {
    let step = Step::parse(&step)?;
    let generation = step.take(&visit, visit.rehearsal(), &authority).await?;
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
    };
    let cli = format!("muster ca rollover {} --authority {authority}", step.word());
    let api = format!("POST /authorities/{authority}/rollover/{}", step.word());
    html(&Rollover {
        frame: visit.frame("The next issuing CA"),
        step: step.word(),
        question,
        button,
        consequences,
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
