//! Why a device does not connect: which one, the diagnosis listener, and who came to it without being known.

use askama::Template;
use axum::extract::Query;
use axum::routing::{get, post};
use http::StatusCode;
use jiff::Timestamp;
use muster_ca::device::DeviceName;
use muster_ca::diagnosis::{Attempt, Cause, Certainty, Diagnosis, Verdict};
use muster_ca::operator::Permission;
use serde::Deserialize;

use crate::web::components::{Badge, Field, Icon, Lines, Mood, When};
use crate::web::event::sentence;
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html_with};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Fleet",
        label: "Why won't it connect?",
        icon: "search",
    }),
    routes: &[
        Route::get("diagnosis", Permission::Read, || get(show)),
        Route::post("diagnosis/on", Permission::Operate, || post(on)),
        Route::post("diagnosis/off", Permission::Operate, || post(off)),
    ],
};

/// For how long a button switches the listener on, in minutes.
const MINUTES: u16 = 10;

#[derive(Template)]
#[template(path = "pages/diagnosis/show.html")]
struct Show {
    frame: Frame,
    operates: bool,
    device: Field,
    refusal: Option<String>,
    address: String,
    until: Option<When>,
    minutes: u16,
    strangers: Vec<Stranger>,
    lines: Lines,
}

struct Stranger {
    at: When,
    address: String,
    name: String,
    what: String,
    fix: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    device: String,
}

async fn show(visit: Visit, Query(asked): Query<Asked>) -> Answer {
    let name = asked.device.trim();
    if name.is_empty() {
        return page(&visit, StatusCode::OK, "", None, None).await;
    }
    let device = DeviceName::restored(name.to_owned());
    match visit.ca().device(visit.proof(), &device).await {
        Ok(device) => Ok(visit.go(&format!("devices/{}#why", device.name))),
        Err(muster_ca::Error::Missing(why)) => {
            page(&visit, StatusCode::NOT_FOUND, name, Some(&why), None).await
        }
        Err(why) => Err(why.into()),
    }
}

async fn on(visit: Visit, Form(asked): Form<Asked>) -> Answer {
    let edge = visit.web().edge().clone();
    match edge.diagnosis().open(visit.ca(), visit.proof(), MINUTES).await {
        Ok(_) => {
            let said = format!(
                "The diagnosis listener is on for {MINUTES} minutes: let the device connect to {}.",
                edge.diagnosis_address()
            );
            Ok(visit.go_and_say(&back(&asked), &said))
        }
        Err(why) => {
            let fault = Fault::from(why);
            let said = fault.in_one_line();
            page(&visit, StatusCode::UNPROCESSABLE_ENTITY, "", None, Some(&said)).await
        }
    }
}

async fn off(visit: Visit, Form(asked): Form<Asked>) -> Answer {
    visit.ca().close_diagnosis(visit.proof()).await?;
    Ok(visit.go_and_say(&back(&asked), "The diagnosis listener is off."))
}

/// The page that the button was on.
fn back(asked: &Asked) -> String {
    match DeviceName::parse(&asked.device) {
        Ok(device) => format!("devices/{device}"),
        Err(_) => "diagnosis".into(),
    }
}

async fn page(
    visit: &Visit,
    status: StatusCode,
    device: &str,
    at_device: Option<&str>,
    refusal: Option<&str>,
) -> Answer {
    let now = visit.now();
    let strangers = visit.ca().strangers(visit.proof()).await?;
    html_with(
        status,
        &Show {
            frame: visit.frame("Why won't it connect?"),
            operates: visit.may(Permission::Operate),
            device: Field::text("device", "Device")
                .value(device)
                .required()
                .refused(at_device)
                .hint("Its name: the common name of its certificate, and its MQTT client id.")
                .verbatim(),
            refusal: refusal.map(sentence),
            address: visit.web().edge().diagnosis_address(),
            until: visit
                .ca()
                .diagnosis_until()
                .map(|until| When::relative(until, now)),
            minutes: MINUTES,
            strangers: strangers
                .into_iter()
                .map(|(attempt, verdict)| stranger(&attempt, verdict, now))
                .collect(),
            lines: Lines::new("lines", "muster doctor listen", "POST /diagnosis")
                .with_body(&serde_json::json!({ "minutes": MINUTES })),
        },
    )
}

fn stranger(attempt: &Attempt, verdict: Option<Verdict>, now: Timestamp) -> Stranger {
    let (what, fix) = match verdict {
        Some(verdict) => (verdict.what, verdict.fix),
        None => (
            "it shows a certificate of this CA for a name that is not registered".into(),
            "register the device".into(),
        ),
    };
    Stranger {
        at: When::relative(attempt.at, now),
        address: attempt.address.to_string(),
        name: attempt.said.clone(),
        what: begun(&what, &attempt.said),
        fix: sentence(&fix),
    }
}

/// The verdict on a device's own page.
#[derive(Template)]
#[template(path = "pages/diagnosis/why.html")]
pub(in crate::web) struct Why {
    base: String,
    device: String,
    operates: bool,
    badge: Badge,
    what: String,
    fix: String,
    command: Option<String>,
    attempts: Vec<Visitor>,
    address: String,
    until: Option<When>,
    lines: Lines,
}

impl askama::filters::HtmlSafe for Why {}

struct Visitor {
    at: When,
    address: String,
    who: &'static str,
    serial: Option<String>,
}

impl Why {
    pub(in crate::web) fn of(visit: &Visit, name: &DeviceName, found: Diagnosis) -> Self {
        let now = visit.now();
        let verdict = found.verdict;
        let badge = if verdict.cause == Cause::Nothing {
            Badge::new(Mood::Good, "Nothing known")
        } else {
            Badge::new(Mood::Bad, "Found")
        };
        Self {
            base: visit.url(""),
            device: name.to_string(),
            operates: visit.may(Permission::Operate),
            badge,
            what: begun(&verdict.what, name.as_str()),
            fix: sentence(&verdict.fix),
            command: verdict.command,
            attempts: found
                .attempts
                .iter()
                .map(|attempt| Visitor {
                    at: When::relative(attempt.at, now),
                    address: attempt.address.to_string(),
                    who: who(attempt.certainty),
                    serial: attempt.paper().map(|paper| paper.serial.hex()),
                })
                .collect(),
            address: visit.web().edge().diagnosis_address(),
            until: found.listening.map(|until| When::relative(until, now)),
            lines: Lines::new(
                "why-lines",
                &format!("muster doctor device {name}"),
                &format!("GET /devices/{name}/diagnosis"),
            ),
        }
    }
}

/// A sentence; names keep their letters.
fn begun(text: &str, name: &str) -> String {
    if !name.is_empty() && text.starts_with(name) {
        text.to_owned()
    } else {
        sentence(text)
    }
}

fn who(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Proved => "it, by its key",
        Certainty::Claimed => "someone claiming to be it",
        Certainty::Address => "probably it, by its address",
        Certainty::Unknown => "unknown",
    }
}
