//! One device: how it is in one line, what can be done about it, its certificates, what was done to it.

use askama::Template;
use axum::extract::Path;
use axum::routing::get;
use muster_ca::access::Rules;
use muster_ca::certificate::Certificate;
use muster_ca::device::{Device, DeviceName, State};
use muster_ca::list::{CertificateList, Paging};
use muster_ca::operator::Permission;

use super::super::diagnosis::Why;
use super::act::Act;
use crate::web::components::{Badge, Icon, Lines, When};
use crate::web::frame::Frame;
use crate::web::health::{Health, revoked_since};
use crate::web::history::History;
use crate::web::pages::certificates::view;
use crate::web::proofs::Proofs;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html};

pub(super) const SHOW: Route = Route::get("devices/{name}", Permission::Read, || get(show));

/// How many certificates are shown; the list of all certificates has the others.
const SHOWN: usize = 10;

struct Paper {
    serial: String,
    grouped: String,
    badge: Badge,
    issued: When,
    until: When,
    how: String,
    /// The enrolment token that it was asked for with.
    token: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/devices/show.html")]
struct Show {
    frame: Frame,
    may_operate: bool,
    device: Device,
    health: Health,
    date: Option<(&'static str, When)>,
    since: Option<When>,
    acts: Vec<&'static Act>,
    /// Tokens that somebody showed for it with another key: the id, and from where.
    refused: Vec<(String, String)>,
    papers: Vec<Paper>,
    more: bool,
    proofs: Proofs,
    why: Why,
    access: (Rules, bool),
    /// Newest first; `None` for those who may not read the audit log.
    history: Option<History>,
    created: When,
    lines: Lines,
}

async fn show(visit: Visit, Path(name): Path<String>) -> Answer {
    let name = DeviceName::restored(name);
    let (ca, now) = (visit.ca(), visit.now());
    let device = ca.device(visit.proof(), &name).await?;
    let living = ca.certificates_of(visit.proof(), &name, now).await?;
    let list = CertificateList {
        device: Some(name.clone()),
        descending: true,
        now,
        paging: Paging {
            cursor: None,
            limit: SHOWN,
        },
        ..CertificateList::default()
    };
    let newest = ca.certificates(visit.proof(), list).await?;
    let health = Health::of(visit.ca(), &device, &living, now);
    let shut_out = !matches!(device.state, State::New | State::Active);
    let since = newest.items.iter().filter_map(revoked_since).max();
    let standings = ca.proof_of(visit.proof(), &name).await?;
    let diagnosis = ca.diagnose(visit.proof(), &name).await?;
    let mut refusals = ca.token_refusals(visit.proof()).await?;
    refusals.retain(|refusal| refusal.name == name);
    let plain = format!("muster device show {name}");
    let own = DeviceName::parse(name.as_str()).is_err();
    html(&Show {
        frame: visit.frame(name.as_str()),
        may_operate: visit.may(Permission::Operate) && !own,
        date: health.date(now),
        proofs: Proofs::of(&visit.url(""), &standings, since.filter(|_| shut_out), now),
        why: Why::of(&visit, &name, diagnosis),
        access: ca.access_of(visit.proof(), &name).await?,
        since: since.filter(|_| shut_out).map(When::long),
        acts: Act::of(device.state).collect(),
        refused: refusals
            .iter()
            .map(|refusal| (refusal.token.clone(), refusal.place()))
            .collect(),
        more: newest.next.is_some(),
        papers: newest.items.iter().map(|one| paper(one, now)).collect(),
        history: History::of(&visit, &name).await?,
        created: When::date(device.created),
        lines: Lines::new("device", &plain, &format!("GET /devices/{name}")),
        health,
        device,
    })
}

fn paper(certificate: &Certificate, now: jiff::Timestamp) -> Paper {
    Paper {
        serial: certificate.serial.hex(),
        grouped: view::grouped(&certificate.serial),
        badge: view::status(certificate, now),
        issued: When::relative(certificate.issued(), now),
        until: When::relative(certificate.not_after, now),
        how: how(&certificate.how),
        token: certificate.enrolment_token().map(str::to_owned),
    }
}

/// How a certificate was asked for, for people.
fn how(word: &str) -> String {
    match word.split_once(':') {
        Some(("token", _)) => "enrolment token".into(),
        Some(("step", provisioner)) => format!("step, with the provisioner {provisioner}"),
        Some(("renewal", _)) => "renewed by the device".into(),
        _ => match word {
            "operator" => "by an operator".into(),
            "listener" => "by Muster itself".into(),
            other => other.to_owned(),
        },
    }
}
