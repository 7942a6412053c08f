//! One certificate: what it is, in plain words, its files, and what can be done about it.

use askama::Template;
use axum::extract::{Path, Query};
use muster_ca::Issued;
use muster_ca::audit::Entry;
use muster_ca::certificate::{Certificate, Status};
use muster_ca::list::{AuditList, Paging};
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;
use muster_pki::explain::{self, CertificateFacts, Explained};

use super::view::{self, Broker, Configuration};
use crate::files;
use crate::web::components::{Badge, Icon, Lines, When};
use crate::web::fault::Fault;
use crate::web::frame::Frame;
use crate::web::needs_of;
use crate::web::visit::{Answer, Visit, html};

#[derive(Template)]
#[template(path = "pages/certificates/show.html")]
struct CertificatePage {
    frame: Frame,
    name: String,
    status: Badge,
    verdict: String,
    serial: String,
    grouped: String,
    decimal: String,
    from: When,
    until: When,
    far: When,
    profile: String,
    how: String,
    facts: CertificateFacts,
    /// From the one that issued it up to the root.
    chain: Vec<CertificateFacts>,
    revoked: Option<(When, String)>,
    revocable: bool,
    issuable: bool,
    /// What happened to it, newest first; `None` for those who may not read the audit log.
    history: Option<Vec<Act>>,
    /// Whether there is a page with the whole log.
    audit: bool,
    configuration: Configuration,
    action: String,
    lines: Lines,
}

/// An entry of the audit log.
struct Act {
    what: String,
    who: String,
    when: When,
}

/// So many entries about the device are looked at, and so many of them are shown.
const LOOKED_AT: usize = 50;
const SHOWN: usize = 8;

pub(super) async fn show(visit: Visit, Path(serial): Path<String>, Query(broker): Query<Broker>) -> Answer {
    let number = view::serial(&serial)?;
    let issued = visit.ca().certificate(visit.proof(), &number).await?;
    let certificate = issued.certificate();
    let now = visit.now();
    let facts = facts(&visit, &certificate.der)?;
    let chain = [issued.issuing(), issued.root()].map(|der| self::facts(&visit, der));
    let chain = chain.into_iter().collect::<Result<Vec<_>, _>>()?;
    let bundle = files::bundle(&issued)?;
    let path = format!("certificates/{number}");
    html(&CertificatePage {
        frame: visit.frame(&certificate.device.to_string()),
        name: certificate.device.to_string(),
        status: view::status(certificate, now),
        verdict: verdict(&visit, &issued),
        grouped: view::grouped(&number),
        decimal: number.decimal(),
        from: When::long(certificate.not_before),
        until: When::long(certificate.not_after),
        far: When::relative(certificate.not_after, now),
        profile: certificate.profile.clone(),
        how: how(&certificate.how),
        facts,
        chain,
        revoked: revoked(certificate),
        revocable: view::may_be_revoked(certificate) && visit.may(Permission::Operate),
        issuable: visit.may(Permission::Operate),
        history: history(&visit, certificate).await?,
        audit: needs_of("audit").is_some(),
        configuration: broker.configuration(&bundle),
        lines: Lines::new(
            "certificate",
            &format!("muster cert show {number}"),
            &format!("GET /{path}"),
        ),
        action: path,
        serial: number.hex(),
    })
}

pub(super) async fn download(
    visit: Visit,
    Path((serial, form)): Path<(String, String)>,
    Query(broker): Query<Broker>,
) -> Answer {
    let number = view::serial(&serial)?;
    let issued = visit.ca().certificate(visit.proof(), &number).await?;
    let bundle = files::bundle(&issued)?;
    let bundle = broker.fill(&bundle).unwrap_or(bundle);
    let file = files::file(&bundle, &form, visit.now())?;
    let file = file.ok_or_else(|| Fault::missing("there is no such file of a certificate"))?;
    Ok(files::attachment(&file))
}

/// What is about this certificate, or about its device as a whole.
async fn history(visit: &Visit, certificate: &Certificate) -> Result<Option<Vec<Act>>, Fault> {
    if !visit.may(Permission::ReadAudit) {
        return Ok(None);
    }
    let device = certificate.device.to_string();
    let list = AuditList {
        subject: Some(device.clone()),
        paging: Paging {
            cursor: None,
            limit: LOOKED_AT,
        },
        ..AuditList::default()
    };
    let serial = certificate.serial.hex();
    let mut entries = visit.ca().audit(visit.proof(), list).await?.items;
    entries
        .retain(|one| one.subject == device || one.subject.contains(&serial) || one.detail.contains(&serial));
    let act = |one: &Entry| Act {
        what: crate::web::event::words(&one.action),
        who: format!("{} by {}", one.actor, one.via),
        when: When::relative(one.at, visit.now()),
    };
    Ok(Some(entries.iter().take(SHOWN).map(act).collect()))
}

fn facts(visit: &Visit, der: &[u8]) -> Result<CertificateFacts, Fault> {
    let found = explain::inspect(der, visit.now());
    let first = found.ok().and_then(|all| all.into_iter().next());
    if let Some(Explained::Certificate(facts)) = first {
        return Ok(*facts);
    }
    Err(muster_ca::Error::Internal("a recorded certificate cannot be read".into()).into())
}

/// One sentence that says how it stands.
fn verdict(visit: &Visit, issued: &Issued) -> String {
    let certificate = issued.certificate();
    let (name, now) = (&certificate.device, visit.now());
    let may = view::may_by_profile(visit, &certificate.profile);
    let end = certificate.not_after.strftime("%-d %b %Y");
    match certificate.status {
        Status::Revoked {
            reason: Reason::CertificateHold,
            ..
        } => format!(
            "On hold: {name} is suspended, and brokers that have the newest CRL do not let it in until it is resumed."
        ),
        Status::Revoked { .. } => {
            format!("Revoked for good: brokers that have the newest CRL do not let {name} in with it.")
        }
        Status::Active if now > certificate.not_after => {
            format!("Expired: it ended on {end}, and nobody lets {name} in with it.")
        }
        Status::Active if now < certificate.not_before => {
            format!("Not valid yet: it begins later. Then it lets {name} {may}.")
        }
        Status::Active => format!("In force: it lets {name} {may}, until {end}."),
    }
}

fn revoked(certificate: &Certificate) -> Option<(When, String)> {
    match certificate.status {
        Status::Revoked { at, reason } => Some((When::long(at), reason.to_string())),
        Status::Active => None,
    }
}

/// How it was asked for, in words.
fn how(word: &str) -> String {
    match word.split_once(':') {
        Some(("step", provisioner)) => format!("with step, by the provisioner {provisioner}"),
        Some(("token", token)) => format!("with the enrolment token {token}"),
        Some(("renewal", _)) => "renewed by the device itself".to_owned(),
        _ if word == "operator" => "by an operator".to_owned(),
        _ if word == "listener" => "by Muster, for its own HTTPS".to_owned(),
        _ => word.to_owned(),
    }
}
