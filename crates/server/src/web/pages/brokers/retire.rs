//! Takes a broker out of service.

use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use muster_ca::device::DeviceName;
use serde::Deserialize;

use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html_with};

#[derive(Template)]
#[template(path = "pages/brokers/retire.html")]
struct Retire {
    frame: Frame,
    name: String,
    note: Field,
    confirm: Field,
    lines: Lines,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Sent {
    confirm: String,
    note: String,
}

pub(super) async fn form(visit: Visit, Path(name): Path<String>) -> Answer {
    let name = DeviceName::restored(name);
    visit.ca().retire_broker(visit.rehearsal(), &name, "").await?;
    page(&visit, StatusCode::OK, &name, &Sent::default(), None)
}

pub(super) async fn send(visit: Visit, Path(name): Path<String>, Form(sent): Form<Sent>) -> Answer {
    let name = DeviceName::restored(name);
    let again = StatusCode::UNPROCESSABLE_ENTITY;
    if sent.confirm.trim() != name.as_str() {
        return page(
            &visit,
            again,
            &name,
            &sent,
            Some("this is not its name; nothing was changed"),
        );
    }
    match visit
        .ca()
        .retire_broker(visit.proof(), &name, sent.note.trim())
        .await
    {
        Ok(_) => Ok(visit.go_and_say(
            "brokers",
            &format!("{name} is retired: no revocation waits for it any more."),
        )),
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            page(&visit, again, &name, &sent, Some(&why))
        }
    }
}

fn page(visit: &Visit, status: StatusCode, name: &DeviceName, sent: &Sent, refusal: Option<&str>) -> Answer {
    html_with(
        status,
        &Retire {
            frame: visit.frame("Retire a broker"),
            note: Field::text("note", "Note")
                .value(&sent.note)
                .hint("For the audit log.")
                .with("maxlength", "500"),
            confirm: Field::text("confirm", "Type the broker's name to confirm")
                .value(&sent.confirm)
                .required()
                .refused(refusal)
                .verbatim(),
            lines: Lines::new(
                "retire",
                &format!("muster broker retire {}", quoted(name.as_str())),
                &format!("POST /brokers/{name}/retire"),
            )
            .with_body(&serde_json::json!({ "note": "" })),
            name: name.to_string(),
        },
    )
}
