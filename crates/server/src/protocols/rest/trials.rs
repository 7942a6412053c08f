//! `/api/v1/trials`: certificates with which an operator tries a broker

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::post;
use muster_api::agent::Request;
use muster_api::types as api;
use muster_ca::broker::trial::Trial;
use muster_ca::certificate::Serial;
use muster_ca::operator::Permission;
use muster_pki::cert::Certificate;
use muster_pki::pem;

use super::route::Route;
use super::{Answer, Api, Body, Failure, done};
use crate::gate::Sender;
use crate::published::pem_of;

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/trials",
        Permission::Administer,
        "Certificates that live for minutes, to try a broker with.",
        || post(make),
    )
    .takes::<Request>(
        r#"{"csr": "-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n"}"#,
    )
    .gives::<api::Trials>(),
    Route::post(
        "/trials/{serial}/revoke",
        Permission::Administer,
        "Revokes the one that a broker is tried with.",
        || post(revoke),
    )
    .gives::<api::Done>(),
];

async fn make(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<Request>,
) -> Answer<api::Trials> {
    let csr = pem::decode(pem::CSR, &request.csr)?;
    let all = api.ca.trial(proof, &csr).await?;
    let first = all.first().map(|(_, issued)| issued);
    let first = first.ok_or_else(|| muster_ca::Error::Internal("nothing was issued".into()))?;
    let (issuing, root) = (
        Certificate::from_der(first.issuing())?.to_pem()?,
        pem_of(first.roots())?,
    );
    let each = all.iter().map(|(trial, issued)| {
        let word = Trial::ALL.iter().find(|(one, _)| one == trial);
        Ok(api::Trial {
            what: word.map_or("", |(_, word)| *word).to_owned(),
            serial: issued.certificate().serial.hex(),
            pem: pem::encode(pem::CERTIFICATE, &issued.certificate().der)?,
        })
    });
    Ok(Json(api::Trials {
        certificates: each.collect::<Result<_, muster_pki::Error>>()?,
        issuing,
        root,
    }))
}

async fn revoke(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(serial): Path<String>,
) -> Answer<api::Done> {
    let parsed = Serial::from_hex(&serial);
    let parsed = parsed.ok_or_else(|| Failure::bad(format!("{serial:?} is no serial number")))?;
    api.ca.revoke_trial(proof, &parsed).await?;
    Ok(done(serial, "revoked"))
}
