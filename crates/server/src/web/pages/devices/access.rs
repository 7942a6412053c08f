//! Where a device may publish, and what it may receive.

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::access::Rules;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use serde::Deserialize;

use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const FORM: Route = Route::get("devices/{name}/access", Permission::Operate, || get(form));
pub(super) const SEND: Route = Route::post("devices/{name}/access", Permission::Operate, || post(send));

#[derive(Template)]
#[template(path = "pages/devices/access.html")]
struct Access {
    frame: Frame,
    name: String,
    own: bool,
    refusal: Option<String>,
    publish: Field,
    subscribe: Field,
    lines: Lines,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sent {
    publish: String,
    subscribe: String,
    /// Present: those of the profile hold again.
    reset: Option<String>,
}

async fn form(visit: Visit, Path(name): Path<String>) -> Answer {
    let name = DeviceName::restored(name);
    let (rules, _) = visit.ca().access_of(visit.proof(), &name).await?;
    let sent = Sent {
        publish: rules.publish.join("\n"),
        subscribe: rules.subscribe.join("\n"),
        reset: None,
    };
    page(&visit, StatusCode::OK, &name, &sent, None).await
}

async fn send(visit: Visit, Path(name): Path<String>, Form(sent): Form<Sent>) -> Answer {
    let name = DeviceName::restored(name);
    let rules = sent.reset.is_none().then(|| Rules {
        publish: filters(&sent.publish),
        subscribe: filters(&sent.subscribe),
    });
    match visit.ca().set_access(visit.proof(), &name, rules).await {
        Ok(()) => {
            let said = format!("{name} has other topic rules. Brokers with an agent take them up at once.");
            Ok(visit.go_and_say(&format!("devices/{name}"), &said))
        }
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            page(&visit, StatusCode::UNPROCESSABLE_ENTITY, &name, &sent, Some(why)).await
        }
    }
}

fn filters(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

async fn page(
    visit: &Visit,
    status: StatusCode,
    name: &DeviceName,
    sent: &Sent,
    refusal: Option<String>,
) -> Answer {
    let (_, own) = visit.ca().access_of(visit.proof(), name).await?;
    let shell = quoted(name.as_str());
    let example = format!("plant/7/{name}/#");
    html_with(
        status,
        &Access {
            frame: visit.frame("Topic rules"),
            own,
            refusal,
            publish: Field::lines("publish", "May publish to")
                .value(&sent.publish)
                .hint("One topic filter a line, such as fleet/site-1/#. Nothing: it may publish nowhere.")
                .verbatim(),
            subscribe: Field::lines("subscribe", "May receive")
                .value(&sent.subscribe)
                .hint("A service that works for the whole fleet gets fleet/#.")
                .verbatim(),
            lines: Lines::new(
                "access",
                &format!(
                    "muster device access {shell} --publish {} --subscribe {}",
                    quoted(&example),
                    quoted(&example)
                ),
                &format!("POST /devices/{name}/access"),
            )
            .with_body(&serde_json::json!({ "publish": [example], "subscribe": [example] })),
            name: name.to_string(),
        },
    )
}
