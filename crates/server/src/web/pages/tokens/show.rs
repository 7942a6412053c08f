//! One enrolment token: how far it is used, and what can be done about it.

use askama::Template;
use axum::extract::Path;
use axum::routing::get;
use muster_ca::operator::Permission;

use super::{Row, known};
use crate::web::components::{Icon, Lines, quoted};
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html};

pub(super) const SHOW: Route = Route::get("tokens/{id}", Permission::Read, || get(show));

#[derive(Template)]
#[template(path = "pages/tokens/show.html")]
struct Show {
    frame: Frame,
    may_operate: bool,
    row: Row,
    refused: Vec<Refused>,
    device: Option<String>,
    lines: Lines,
}

/// Somebody showed it with another key once it was used.
struct Refused {
    name: String,
    /// Whether there is a device of this name.
    known: bool,
    place: String,
}

async fn show(visit: Visit, Path(id): Path<String>) -> Answer {
    let token = known(&visit, &id).await?;
    let mut refusals = visit.ca().token_refusals(visit.proof()).await?;
    refusals.retain(|refusal| refusal.token == id);
    let mut refused = Vec::new();
    for refusal in &refusals {
        refused.push(Refused {
            name: refusal.name.to_string(),
            known: visit.ca().device(visit.proof(), &refusal.name).await.is_ok(),
            place: refusal.place(),
        });
    }
    html(&Show {
        frame: visit.frame("Enrolment token"),
        may_operate: visit.may(Permission::Operate),
        row: Row::of(&token, &refusals, visit.now()),
        refused,
        device: token.device.map(|device| device.to_string()),
        lines: Lines::new(
            "token",
            &format!("muster token list --search {}", quoted(&id)),
            &format!("GET /tokens/{id}"),
        ),
    })
}
