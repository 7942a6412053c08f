//! Why a device does not connect, and the diagnosis listener

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use muster_api::types as api;
use muster_ca::device::DeviceName;
use muster_ca::diagnosis::{Attempt, Certainty, Verdict};
use muster_ca::operator::Permission;

use super::route::Route;
use super::{Answer, Api, Body, done, views};
use crate::gate::Sender;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/devices/{name}/diagnosis",
        Permission::Read,
        "Why a device does not connect, as far as is known.",
        || get(diagnose),
    )
    .gives::<api::Diagnosis>(),
    Route::get(
        "/diagnosis",
        Permission::Read,
        "The diagnosis listener, and who came to it and is no device.",
        || get(show),
    )
    .gives::<api::DiagnosisListener>(),
    Route::post(
        "/diagnosis",
        Permission::Operate,
        "Switches the diagnosis listener on for some minutes.",
        || post(open),
    )
    .takes::<api::OpenDiagnosis>(r#"{"minutes": 10}"#)
    .gives::<api::DiagnosisListener>(),
    Route::delete(
        "/diagnosis",
        Permission::Operate,
        "Switches the diagnosis listener off.",
        || axum::routing::delete(close),
    )
    .gives::<api::Done>(),
];

async fn diagnose(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Diagnosis> {
    let found = api
        .ca
        .diagnose(proof, &DeviceName::restored(name.clone()))
        .await?;
    Ok(Json(api::Diagnosis {
        device: name,
        verdict: verdict(found.verdict),
        attempts: found.attempts.into_iter().map(|one| attempt(one, None)).collect(),
        listening_until: found.listening.map(views::time),
    }))
}

async fn show(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::DiagnosisListener> {
    let strangers = api.ca.strangers(proof).await?;
    Ok(Json(api::DiagnosisListener {
        address: api.edge.diagnosis_address(),
        until: api.ca.diagnosis_until().map(views::time),
        strangers: strangers
            .into_iter()
            .map(|(one, verdict)| attempt(one, verdict))
            .collect(),
    }))
}

async fn open(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::OpenDiagnosis>,
) -> Answer<api::DiagnosisListener> {
    let door = api.edge.diagnosis();
    let until = door.open(&api.ca, proof, request.minutes).await?;
    Ok(Json(api::DiagnosisListener {
        address: api.edge.diagnosis_address(),
        until: Some(views::time(until)),
        strangers: Vec::new(),
    }))
}

async fn close(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::Done> {
    api.ca.close_diagnosis(proof).await?;
    Ok(done("diagnosis listener".into(), "off"))
}

fn verdict(verdict: Verdict) -> api::Verdict {
    api::Verdict {
        cause: verdict.cause.as_str().into(),
        what: verdict.what,
        fix: verdict.fix,
        command: verdict.command,
    }
}

fn attempt(attempt: Attempt, found: Option<Verdict>) -> api::Attempt {
    let certainty = match attempt.certainty {
        Certainty::Proved => "proved",
        Certainty::Claimed => "claimed",
        Certainty::Address => "address",
        Certainty::Unknown => "unknown",
    };
    api::Attempt {
        at: views::time(attempt.at),
        address: attempt.address.to_string(),
        serial: attempt.paper().map(|paper| paper.serial.hex()),
        name: attempt.said,
        certainty: certainty.into(),
        client_id: attempt.client_id,
        server_name: attempt.server_name,
        verdict: found.map(verdict),
    }
}
