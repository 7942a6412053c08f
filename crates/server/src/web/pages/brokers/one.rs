//! One broker: how it stands, what is wrong there, and what it refused.

use askama::Template;
use axum::extract::Path;
use muster_ca::broker::agent::{Standing, StandingState};
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;

use crate::web::components::{Badge, Icon, Lines, Mood, When, quoted, thousands};
use crate::web::event::sentence;
use crate::web::frame::Frame;
use crate::web::history::History;
use crate::web::proofs::{badge, took};
use crate::web::visit::{Answer, Visit, html};

#[derive(Template)]
#[template(path = "pages/brokers/one.html")]
struct One {
    frame: Frame,
    administers: bool,
    serving: bool,
    name: String,
    program: &'static str,
    names: String,
    state: Badge,
    mood: Mood,
    words: String,
    wrong: Vec<String>,
    epoch: Option<(u64, When, String)>,
    heard: Option<When>,
    certificate: Option<When>,
    crl: Option<When>,
    sessions: Option<String>,
    version: Option<String>,
    created: When,
    denials: Vec<(String, String, String, When)>,
    /// Newest first; `None` for those who may not read the audit log.
    history: Option<History>,
    lines: Lines,
}

pub(super) async fn show(visit: Visit, Path(name): Path<String>) -> Answer {
    let name = DeviceName::restored(name);
    let standing = visit.ca().broker_standing(visit.proof(), &name).await?;
    let history = History::of(&visit, &name).await?;
    let now = visit.now();
    let report = standing.report.clone().unwrap_or_default();
    let broker = &standing.broker;
    let (mood, words) = verdict(&standing);
    html(&One {
        frame: visit.frame(name.as_str()),
        administers: visit.may(Permission::Administer),
        serving: broker.retired.is_none(),
        name: name.to_string(),
        program: broker.program.as_str(),
        names: broker
            .sans
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        state: badge(standing.state),
        mood,
        words,
        wrong: standing.wrong().iter().map(|words| sentence(words)).collect(),
        epoch: broker.enforced.map(|enforced| {
            (
                enforced.number,
                When::relative(enforced.at, now),
                took(enforced.micros),
            )
        }),
        heard: standing.heard.map(|at| When::relative(at, now)),
        certificate: report.certificate_not_after.map(|at| When::relative(at, now)),
        crl: standing.crl_until().map(|at| When::relative(at, now)),
        sessions: report.sessions.map(thousands),
        version: (!report.version.is_empty()).then_some(report.version),
        created: When::date(broker.created),
        denials: standing
            .denied
            .into_iter()
            .map(|one| {
                let last = When::relative(one.last, now);
                (one.device, one.topic, thousands(one.times), last)
            })
            .collect(),
        history,
        lines: Lines::new(
            "broker",
            &format!("muster broker list --search {} --json", quoted(name.as_str())),
            &format!("GET /brokers?q={name}"),
        ),
    })
}

/// What its state means.
fn verdict(standing: &Standing) -> (Mood, String) {
    let alarmed = !standing.wrong().is_empty();
    match standing.state {
        StandingState::Proven if alarmed => (Mood::Warning, "What is decided is in force here; something else needs somebody.".into()),
        StandingState::Proven => (
            Mood::Good,
            "Everything that was decided until now is in force here: a revoked canary was refused, and a good one let in.".into(),
        ),
        StandingState::Unconfirmed => (
            Mood::Warning,
            "Something that was decided is not proved to be in force here yet.".into(),
        ),
        StandingState::Silent => (
            Mood::Bad,
            "Its agent does not speak, so nobody knows what is in force here. The broker goes on with what it has until its CRL runs out.".into(),
        ),
        StandingState::Waiting => (
            Mood::Quiet,
            "Its agent has not joined yet. Start it beside the broker with the join file.".into(),
        ),
        StandingState::Retired => (
            Mood::Quiet,
            "It is out of service: no revocation waits for it.".into(),
        ),
    }
}
