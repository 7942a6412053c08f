//! The same done to several devices at once: first what it would do, in numbers; then, with the count typed, doing it.

use askama::Template;
use axum::routing::post;
use http::StatusCode;
use muster_ca::device::DeviceName;
use muster_ca::list::MAX_LIMIT;
use muster_ca::many::Batch;
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;

use super::super::revoke::many::{self, Done, WAITING};
use super::act::{self, Act};
use crate::lists::DeviceQuery;
use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const SEND: Route = Route::post("devices/-/selected", Permission::Operate, || post(send));

/// As many as one step takes.
const MOST: usize = 1000;
/// As many pages of the list are looked through for one step.
const PAGES: usize = 20;

#[derive(Template)]
#[template(path = "pages/devices/selected.html")]
struct Selected {
    frame: Frame,
    act: &'static Act,
    names: Vec<String>,
    consequences: Vec<String>,
    reason: Option<Field>,
    note: Field,
    count: Field,
    /// Whether a second operator has to agree.
    second: bool,
    lines: Lines,
}

/// A form whose names come more than once.
struct Sent(Vec<(String, String)>);

impl Sent {
    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.trim())
    }

    fn names(&self) -> Result<Vec<DeviceName>, Fault> {
        let named = self.0.iter().filter(|(known, _)| known == "name");
        let names: Result<std::collections::BTreeSet<_>, _> =
            named.map(|(_, value)| DeviceName::parse(value)).collect();
        let names = names.map_err(muster_ca::Error::from)?;
        if names.is_empty() || names.len() > MOST {
            let why = format!("tick 1 to {MOST} devices first");
            return Err(Fault::new(StatusCode::BAD_REQUEST, &why));
        }
        Ok(names.into_iter().collect())
    }
}

async fn send(visit: Visit, Form(sent): Form<Vec<(String, String)>>) -> Answer {
    let sent = Sent(sent);
    let act = Act::of_many(sent.get("act").unwrap_or_default())?;
    let (names, more) = match sent.get("all") {
        None | Some("") => (sent.names()?, false),
        Some(query) => matching(&visit, act, query).await?,
    };
    let certificates = rehearse(&visit, act, &names).await?;
    let Some(count) = sent.get("count") else {
        return page(&visit, act, &names, (certificates, more), &sent, None);
    };
    if count.parse() != Ok(names.len()) {
        let why = format!("{} devices are chosen, so nothing was done", names.len());
        return page(&visit, act, &names, (certificates, more), &sent, Some(&why));
    }
    let words = (
        sent.get("reason").unwrap_or("unspecified"),
        sent.get("note").unwrap_or_default(),
    );
    let reason = Reason::parse(words.0)?;
    if let Some(batch) = act.batch(&names) {
        return match many::act(&visit, &batch, reason, words.1).await? {
            Done::Waits(say) => Ok(visit.go_and_say(WAITING, &say)),
            Done::Revoked(say) => Ok(visit.go_and_say("devices", &say)),
        };
    }
    let mut refused = Vec::new();
    for name in &names {
        if let Err(why) = act.run(&visit, visit.proof(), name, words).await {
            refused.push(format!("{name}: {}", Fault::from(why).message));
        }
    }
    let done = names.len() - refused.len();
    if refused.is_empty() {
        let devices = if done == 1 { "device" } else { "devices" };
        let say = format!("{}: {done} {devices}. No broker has confirmed it yet.", act.label);
        return Ok(visit.go_and_say("devices", &say));
    }
    // Each stands for itself, so those that could be done are done.
    let why = format!("done to {done} of {}; not to {}", names.len(), refused.join("; "));
    Err(Fault::new(StatusCode::CONFLICT, &why))
}

/// What fits the list's address and to which it can be done, as much as one step takes, and whether there may be more.
async fn matching(visit: &Visit, act: &Act, query: &str) -> Result<(Vec<DeviceName>, bool), Fault> {
    let mut list = Filters::parse(query)?.asked::<DeviceQuery>(visit.now())?;
    list.paging.limit = MAX_LIMIT;
    let mut names = Vec::new();
    for _ in 0..PAGES {
        let found = visit.ca().devices(visit.proof(), list.clone()).await?;
        let fits = found
            .items
            .into_iter()
            .filter(|one| act.from.contains(&one.state));
        names.extend(fits.map(|one| one.name).filter(|name| !name.is_own()));
        list.paging.cursor = found.next;
        if names.len() > MOST || list.paging.cursor.is_none() {
            break;
        }
    }
    let more = names.len() > MOST || list.paging.cursor.is_some();
    names.truncate(MOST);
    if names.is_empty() {
        let why = "this can be done to nothing that fits";
        return Err(Fault::new(StatusCode::CONFLICT, why));
    }
    Ok((names, more))
}

/// How many certificates it would touch. One device to which it cannot be done is told before anything is.
async fn rehearse(visit: &Visit, act: &Act, names: &[DeviceName]) -> Result<usize, Fault> {
    let mut certificates = 0;
    for name in names {
        let done = act.run(visit, visit.rehearsal(), name, ("unspecified", ""));
        certificates += done.await?;
    }
    Ok(certificates)
}

fn page(
    visit: &Visit,
    act: &'static Act,
    names: &[DeviceName],
    (certificates, more): (usize, bool),
    sent: &Sent,
    refusal: Option<&str>,
) -> Answer {
    let status = match refusal {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let second = act.danger && visit.web().settings().asks_for_second(names.len());
    let mut consequences = act.consequences(names.len(), certificates);
    if more {
        let rest = "More fit than one step takes; come back for the rest afterwards.";
        consequences.push(rest.into());
    }
    html_with(
        status,
        &Selected {
            frame: visit.frame(&format!("{} several devices", act.label)),
            act,
            consequences,
            reason: (act.verb == "revoke").then(|| act::reason(sent.get("reason").unwrap_or_default())),
            note: act::note(sent.get("note").unwrap_or_default()),
            count: Field::text("count", "Type how many devices that are")
                .required()
                .refused(refusal)
                .with("inputmode", "numeric")
                .with("autocomplete", "off"),
            second,
            lines: lines(act, names, second),
            names: names.iter().map(ToString::to_string).collect(),
        },
    )
}

/// One call for those that may need a second operator, one for each of the others.
///
/// A command takes one at a time, so it is no way round a second operator.
fn lines(act: &Act, names: &[DeviceName], second: bool) -> Lines {
    let all: Vec<_> = names.iter().map(|name| quoted(name.as_str())).collect();
    let cli = format!(
        "for name in {}; do muster device {} $name --yes; done",
        all.join(" "),
        act.verb
    );
    let (call, sent) = match act.batch(names) {
        Some(batch) => (
            "POST /revocations".to_owned(),
            serde_json::json!({
                "devices": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "retire": matches!(batch, Batch::Retiring(_)),
                "reason": "cessation-of-operation",
                "count": names.len(),
            }),
        ),
        None => (
            format!("POST /devices/NAME/{}", act.verb),
            serde_json::json!({ "note": "" }),
        ),
    };
    let lines = if second {
        Lines::call("selected", &call)
    } else {
        Lines::new("selected", &cli, &call)
    };
    lines.with_body(&sent)
}
