//! A certificate with the key that the server made, to download.

use askama::Template;
use axum::extract::{Path, Query};
use http::StatusCode;
use muster_pki::bundle::File;
use muster_pki::p12::SEED_LEN;
use zeroize::Zeroizing;

use crate::web::components::{Icon, Lines, When};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::handout::Handout;
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
    let cli = format!("muster cert issue {name} --zip --p12 --der --k8s --c-header");
    html(&HandoutPage {
        frame: visit.frame("Issue Certificate"),
        name,
        until: When::long(until),
        far: When::relative(until, visit.now()),
        password: handout.password.clone(),
        configuration: broker.configuration(&handout.bundle),
        action: format!("issue/{number}"),
        lines: Lines::new("handout", &cli, "POST /certificates"),
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
    let file = match form.as_str() {
        "p12" => p12(&visit, &handout)?,
        form => {
            let bundle = broker
                .fill(&handout.bundle)
                .unwrap_or_else(|_| handout.bundle.clone());
            view::file(&bundle, form, visit.now())?
        }
    };
    let file = file.ok_or_else(|| Fault::missing("there is no such file"))?;
    Ok(view::attachment(&file))
}

fn p12(visit: &Visit, handout: &Handout) -> Result<Option<File>, Fault> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    visit.ca().draw(&mut *seed);
    Ok(handout.bundle.p12(&handout.password, &seed)?)
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
