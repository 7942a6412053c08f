//! Adds a broker, or lets its agent join again: what the agent joins with is shown this once.

use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use muster_api::agent::Join;
use muster_ca::broker::{Broker, BrokerWish, Program};
use muster_ca::device::DeviceName;
use muster_pki::name::San;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::words;
use crate::web::components::{Copied, Field, Icon, Lines};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html, html_with};

#[derive(Template)]
#[template(path = "pages/brokers/add.html")]
struct Add {
    frame: Frame,
    name: Field,
    program: Field,
    profile: Field,
    sans: Field,
    lines: Lines,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    name: String,
    program: String,
    profile: String,
    sans: String,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            name: String::new(),
            program: Program::Mosquitto.as_str().into(),
            profile: "server".into(),
            sans: String::new(),
        }
    }
}

pub(super) async fn form(visit: Visit) -> Answer {
    page(&visit, StatusCode::OK, &Sent::default(), None)
}

pub(super) async fn send(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    let made = match wish(&sent) {
        Ok(wish) => visit.ca().add_broker(visit.proof(), wish).await,
        Err(why) => Err(why),
    };
    match made {
        Ok((broker, secret)) => joining(&visit, &broker, &secret),
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            page(&visit, StatusCode::UNPROCESSABLE_ENTITY, &sent, Some(&why))
        }
    }
}

fn wish(sent: &Sent) -> Result<BrokerWish, muster_ca::Error> {
    let bad = || muster_ca::Error::Bad(format!("{:?} is no program that has an agent", sent.program));
    let sans = sent
        .sans
        .split([',', ' ', '\n', '\r'])
        .filter(|san| !san.is_empty());
    Ok(BrokerWish {
        name: DeviceName::parse(sent.name.trim())?,
        program: Program::parse(&sent.program).ok_or_else(bad)?,
        profile: sent.profile.clone(),
        sans: sans.map(San::parse).collect::<Result<_, _>>()?,
    })
}

pub(super) async fn again(visit: Visit, Path(name): Path<String>) -> Answer {
    let name = DeviceName::restored(name);
    let (broker, secret) = visit.ca().join_broker(visit.proof(), &name).await?;
    joining(&visit, &broker, &secret)
}

fn page(visit: &Visit, status: StatusCode, sent: &Sent, refusal: Option<&str>) -> Answer {
    let programs = Program::ALL.map(|(program, id)| (id.to_owned(), words(program).to_owned()));
    let kinds = [
        ("server", "server: devices connect to it"),
        ("broker", "broker: it connects to other brokers, too"),
    ];
    let example =
        serde_json::json!({ "name": "mqtt.example.org", "program": "mosquitto", "sans": ["10.0.0.5"] });
    html_with(
        status,
        &Add {
            frame: visit.frame("Add a broker"),
            name: Field::text("name", "Name")
                .value(&sent.name)
                .required()
                .refused(refusal)
                .hint("Under which devices reach it, such as mqtt.example.org.")
                .verbatim()
                .with("maxlength", "50"),
            program: Field::choice("program", "Program", programs.into())
                .value(&sent.program)
                .required(),
            profile: Field::choice(
                "profile",
                "Kind",
                kinds.map(|(id, words)| (id.to_owned(), words.to_owned())).into(),
            )
            .value(&sent.profile)
            .required(),
            sans: Field::text("sans", "More names and addresses")
                .value(&sent.sans)
                .hint("Every other name and address that devices use, with commas between.")
                .verbatim(),
            lines: Lines::new(
                "add",
                "muster broker add mqtt.example.org --program mosquitto --san 10.0.0.5",
                "POST /brokers",
            )
            .with_body(&example),
        },
    )
}

#[derive(Template)]
#[template(path = "pages/brokers/joining.html")]
struct Joining {
    frame: Frame,
    name: String,
    join: Copied,
    run: Copied,
}

fn joining(visit: &Visit, broker: &Broker, secret: &Zeroizing<String>) -> Answer {
    let name = broker.name.to_string();
    let join = Join {
        broker: name.clone(),
        program: broker.program.as_str().into(),
        url: visit.web().settings().ca_url.clone(),
        fingerprint: visit.web().edge().fingerprint()?,
        token: secret.to_string(),
    };
    let text = serde_json::to_string(&join).map_err(|why| muster_ca::Error::Internal(why.to_string()))?;
    html(&Joining {
        frame: visit.frame("What the agent joins with"),
        join: Copied::new("join", &text, "Copy what belongs in the file"),
        run: Copied::new(
            "run",
            &format!("muster broker run {name} --join {name}.join"),
            "Copy the line",
        ),
        name,
    })
}
