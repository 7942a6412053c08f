//! `/api/v1/certificates` and `/api/v1/enrol`

use axum::Json;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::certificate::Serial;
use muster_ca::enrol::who::Evidence;
use muster_ca::operator::Permission;
use muster_ca::{Ask, Proof, Target, Wish};
use muster_pki::crl::Reason;
use muster_pki::csr::Csr;
use muster_pki::name::San;
use muster_pki::time::parse_duration;
use zeroize::Zeroizing;

use super::route::{Needs, Route};
use super::{Answer, Api, Body, Failure, STRANGERS_BODY, export, views};
use crate::gate::{self, DryRun, Sender};
use crate::lists::CertificateQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/certificates", Permission::Read, "Certificates.", || get(export::list::<CertificateQuery>))
        .asks::<CertificateQuery>()
        .lists::<api::Certificate>(),
    Route::post("/certificates", Permission::Operate, "Issues a certificate for a key that its owner made.", || post(issue))
        .takes::<api::IssueRequest>(r#"{"name": "site-001", "profile": "client", "validity": "30d", "csr": "-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n"}"#)
        .gives::<api::Issued>(),
    Route::get("/certificates/{serial}", Permission::Read, "A certificate with its chain.", || get(show))
        .gives::<api::Issued>(),
    Route::post("/certificates/{serial}/revoke", Permission::Operate, "Revokes a certificate for good.", || post(revoke))
        .takes::<api::ActRequest>(r#"{"reason": "superseded", "note": "replaced by hand"}"#)
        .gives::<api::Revocation>(),
    Route::post("/enrol", Permission::Read, "Gives a device its first certificate.", || post(enrol).layer(DefaultBodyLimit::max(STRANGERS_BODY)))
        .needs(Needs::Token)
        .takes::<api::EnrolRequest>(r#"{"token": "mt_…", "csr": "-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n"}"#)
        .gives::<api::Issued>(),
    Route::post("/enrol/confirm", Permission::Read, "Says that the device has its certificate: the token does not give it again.", || post(confirm))
        .needs(Needs::Certificate)
        .gives::<api::Certificate>(),
];

async fn issue(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::IssueRequest>,
) -> Answer<api::Issued> {
    let now = api.ca.now();
    let wish = Wish {
        reuse: request.reuse,
        ..wish(
            request.name,
            request.profile,
            &request.sans,
            request.validity.as_deref(),
            now,
        )?
    };
    let csr = Csr::der_from_pem(&request.csr)?;
    let issued = api.ca.enrol(Ask { proof, csr, wish }).await?;
    Ok(Json(views::issued(&issued, now)?))
}

/// What somebody wishes for, from the words of a request.
pub(super) fn wish(
    name: Option<String>,
    profile: Option<String>,
    sans: &[String],
    validity: Option<&str>,
    now: Timestamp,
) -> Result<Wish, Failure> {
    let life = validity.map(parse_duration).transpose()?;
    let not_after = life.map(|life| now.checked_add(life)).transpose();
    Ok(Wish {
        name,
        profile,
        sans: sans
            .iter()
            .map(|text| San::parse(text))
            .collect::<Result<_, _>>()?,
        not_after: not_after.map_err(|_| Failure::bad("the validity is too long"))?,
        ..Wish::default()
    })
}

async fn enrol(
    State(api): State<Api>,
    gate::From(origin): gate::From,
    DryRun(dry_run): DryRun,
    Body(request): Body<api::EnrolRequest>,
) -> Answer<api::Issued> {
    let evidence = Evidence::EnrolmentToken(Zeroizing::new(request.token));
    let csr = Csr::der_from_pem(&request.csr)?;
    let ask = Ask {
        proof: Proof {
            evidence,
            origin,
            dry_run,
        },
        csr,
        wish: Wish::default(),
    };
    let issued = api.ca.enrol(ask).await?;
    Ok(Json(views::issued(&issued, api.ca.now())?))
}

/// A device has its certificate, and the enrolment token need not give it again.
async fn confirm(State(api): State<Api>, gate::Holder(proof): gate::Holder) -> Answer<api::Certificate> {
    let certificate = api.ca.confirm(proof).await?;
    Ok(Json(views::certificate(&certificate, api.ca.now())))
}

async fn show(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(serial): Path<String>,
) -> Answer<api::Issued> {
    let issued = api.ca.certificate(proof, &read_serial(&serial)?).await?;
    Ok(Json(views::issued(&issued, api.ca.now())?))
}

async fn revoke(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(serial): Path<String>,
    Body(request): Body<api::ActRequest>,
) -> Answer<api::Revocation> {
    let reason = Reason::parse(request.reason.as_deref().unwrap_or("unspecified"))?;
    let serial = read_serial(&serial)?;
    let done = api
        .ca
        .revoke(proof, Target::Certificate(serial), reason, &request.note)
        .await?;
    Ok(Json(revocation(&done)))
}

pub(super) fn revocation(done: &muster_ca::Revocation) -> api::Revocation {
    api::Revocation {
        device: done.device.to_string(),
        serials: done.serials.iter().map(Serial::hex).collect(),
        at: views::time(done.at),
        confirmed: false,
        brokers: Vec::new(),
    }
}

pub(super) fn read_serial(text: &str) -> Result<Serial, Failure> {
    Serial::from_hex(text)
        .ok_or_else(|| Failure::bad(format!("{text:?} is no serial number: give it in hexadecimal")))
}
