//! A certificate with the key that the server made, to download.

use askama::Template;
use axum::extract::{Path, Query};
use http::StatusCode;
use zeroize::Zeroizing;

use crate::files::{self, Handout};
use crate::web::components::{Icon, Lines, When, quoted};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::pages::certificates::view::{self, Broker, Configuration};
use crate::web::visit::{Answer, Visit, html};

#[derive(Template)]
#[template(path = "pages/issue/handout.html")]
struct HandoutPage {
    frame: Frame,
    name: String,
    serial: String,
    until: When,
    far: When,
    password: Zeroizing<String>,
    configuration: Configuration,
    action: String,
    lines: Lines,
}

pub(super) async fn show(visit: Visit, Path(serial): Path<String>, Query(broker): Query<Broker>) -> Answer {
    let number = view::serial(&serial)?;
    let waiting = visit.web().handouts().find(visit.session(), &number, visit.now());
    let Some((handout, until)) = waiting else {
        // Whoever comes back later finds the certificate, and is told about its key there.
        let say = "The key is gone: the server keeps it for ten minutes and only for whoever asked for it.";
        return Ok(visit.go_and_say(&format!("certificates/{number}"), say));
    };
    let name = handout.bundle.name().to_owned();
    let issued = visit.ca().certificate(visit.proof(), &number).await?;
    let profile = &issued.certificate().profile;
    let cli = format!(
        "muster cert issue {} --kind {} --zip --p12 --p12-password-file password --der --k8s --c-header",
        quoted(&name),
        quoted(profile)
    );
    let body = serde_json::json!({
        "name": name, "profile": profile, "formats": ["zip", "p12", "der", "k8s", "h"],
    });
    html(&HandoutPage {
        frame: visit.frame("Issue Certificate"),
        name,
        until: When::long(until),
        far: When::relative(until, visit.now()),
        password: handout.password.clone(),
        configuration: broker.configuration(&handout.bundle),
        action: format!("issue/{number}"),
        lines: Lines::new("handout", &cli, "POST /bundles").with_body(&body),
        serial: number.hex(),
    })
}

pub(super) async fn download(
    visit: Visit,
    Path((serial, form)): Path<(String, String)>,
    Query(broker): Query<Broker>,
) -> Answer {
    let number = view::serial(&serial)?;
    let waiting = visit.web().handouts().find(visit.session(), &number, visit.now());
    let Some((handout, _)) = waiting else {
        return Err(Fault::new(
            StatusCode::GONE,
            "the key is gone: ten minutes have passed, or it was forgotten",
        )
        .fix("issue another certificate for the device"));
    };
    let bundle = broker
        .fill(&handout.bundle)
        .unwrap_or_else(|_| handout.bundle.clone());
    let filled = Handout {
        bundle,
        password: handout.password.clone(),
    };
    let file = filled.file(visit.ca(), &form)?;
    let file = file.ok_or_else(|| Fault::missing("there is no such file"))?;
    Ok(files::attachment(&file))
}

/// Zeroes the key before its time is up.
pub(super) async fn forget(visit: Visit, Path(serial): Path<String>) -> Answer {
    let number = view::serial(&serial)?;
    visit.web().handouts().forget(visit.session(), &number);
    Ok(visit.go_and_say(
        &format!("certificates/{number}"),
        "The server has forgotten the key.",
    ))
}
