//! `/api/v1/agent`: what the agent beside a broker asks for, hears and says

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::channel::{Channel, Sender as Pipe};
use jiff::Timestamp;
use muster_api::agent as api;
use muster_api::types::Issued;
use muster_ca::broker::agent::{Outcome, Report};
use muster_ca::broker::epoch::Heard;
use muster_ca::operator::Permission;
use muster_ca::{Ca, Proof};
use muster_pki::csr::Csr;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::sleep;

use super::route::{Needs, Route};
use super::{Answer, Api, Body, Failure, Query, views};
use crate::gate::{Holder, Renewing};
use crate::published::{self, Form};

/// How often the log is looked at even if nobody said that it has grown, and how often a silent stream says that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// Messages that wait for a slow agent.
const AHEAD: usize = 1;

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/agent/renew",
        Permission::Read,
        "Renews the certificate that is shown, with another key; one that has expired, by a token that its key signed.",
        || post(renew),
    )
    .needs(Needs::Certificate)
    .takes::<api::Request>(CSR)
    .gives::<Issued>(),
    Route::post(
        "/agent/certificate",
        Permission::Read,
        "Issues the certificate of the agent's broker.",
        || post(certificate),
    )
    .needs(Needs::Certificate)
    .takes::<api::Request>(CSR)
    .gives::<Issued>(),
    Route::post(
        "/agent/canary",
        Permission::Read,
        "Issues a certificate for minutes, for trying whether the broker lets good ones in.",
        || post(canary),
    )
    .needs(Needs::Certificate)
    .takes::<api::Request>(CSR)
    .gives::<Issued>(),
    Route::get(
        "/agent/plan",
        Permission::Read,
        "When the holder of a certificate is to renew it.",
        || get(plan),
    )
    .needs(Needs::Certificate)
    .gives::<api::Plan>(),
    Route::get(
        "/agent/stream",
        Permission::Read,
        "What the broker has to enforce, each time that changes: server-sent events called `epoch`.",
        || get(stream),
    )
    .needs(Needs::Certificate)
    .asks::<From>(),
    Route::get(
        "/time",
        Permission::Read,
        "What the time is, signed over a nonce of 16 to 64 letters and digits, for machines whose clock is wrong.",
        || get(time),
    )
    .needs(Needs::Nothing)
    .asks::<Asked>()
    .gives::<api::Time>(),
    Route::get(
        "/agent/crl/{file}",
        Permission::Read,
        "The newest CRL of one of the CAs that the broker trusts, DER.",
        || get(crl),
    )
    .needs(Needs::Certificate),
    Route::post(
        "/agent/report",
        Permission::Read,
        "What the agent has to say, every two seconds.",
        || post(report),
    )
    .needs(Needs::Certificate)
    .takes::<api::Report>(r#"{"enforced": 0, "sequence": 0, "version": "0.1.0"}"#)
    .gives::<api::Heard>(),
];

const CSR: &str = r#"{"csr": "-----BEGIN CERTIFICATE REQUEST-----\n…"}"#;

/// What the agent has already.
#[derive(Debug, Deserialize, JsonSchema)]
struct From {
    /// The sequence of the last epoch that it has whole.
    after: Option<u64>,
    /// That epoch's number.
    #[serde(default)]
    number: u64,
}

/// A question for the time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Drawn for this question.
    nonce: String,
}

async fn time(State(api): State<Api>, Query(asked): Query<Asked>) -> Answer<api::Time> {
    let beacon = api.ca.beacon(&asked.nonce).await?;
    Ok(Json(api::Time { beacon }))
}

async fn renew(
    State(api): State<Api>,
    Renewing(proof): Renewing,
    Body(request): Body<api::Request>,
) -> Answer<Issued> {
    let csr = Csr::der_from_pem(&request.csr)?;
    let issued = api.ca.rekey(proof, &csr).await?;
    Ok(Json(views::issued(&issued, api.ca.now())?))
}

async fn plan(State(api): State<Api>, Holder(proof): Holder) -> Answer<api::Plan> {
    let plan = api.ca.plan(proof).await?;
    Ok(Json(api::Plan {
        renew_at: plan.renew_at.to_string(),
        renew_from: plan.renew_from.to_string(),
        poll_seconds: plan.poll_after.as_secs().unsigned_abs(),
        now: plan.now.to_string(),
    }))
}

async fn certificate(
    State(api): State<Api>,
    Holder(proof): Holder,
    Body(request): Body<api::Request>,
) -> Answer<Issued> {
    let csr = Csr::der_from_pem(&request.csr)?;
    let issued = api.ca.broker_certificate(proof, &csr).await?;
    Ok(Json(views::issued(&issued, api.ca.now())?))
}

async fn canary(
    State(api): State<Api>,
    Holder(proof): Holder,
    Body(request): Body<api::Request>,
) -> Answer<Issued> {
    let csr = Csr::der_from_pem(&request.csr)?;
    let issued = api.ca.canary(proof, &csr).await?;
    Ok(Json(views::issued(&issued, api.ca.now())?))
}

async fn crl(
    State(api): State<Api>,
    Holder(proof): Holder,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let crl = api.ca.crl_for_agent(proof, &file).await?;
    Ok(published::crl(&api.edge, &crl, Form::Der, &file, &headers))
}

async fn report(
    State(api): State<Api>,
    Holder(proof): Holder,
    Body(said): Body<api::Report>,
) -> Answer<api::Heard> {
    let time = |text: Option<String>| {
        let read = text.map(|text| text.parse::<Timestamp>()).transpose();
        read.map_err(|_| Failure::bad("a time is written as in RFC 3339"))
    };
    let report = Report {
        outcome: said.outcome.map(|outcome| Outcome {
            number: outcome.number,
            sequence: outcome.sequence,
            proven: outcome.proven,
            why: outcome.why,
            steps: outcome
                .steps
                .into_iter()
                .map(|step| (step.name, step.micros))
                .collect(),
        }),
        crl_next_update: time(said.crl_next_update)?,
        certificate_not_after: time(said.certificate_not_after)?,
        sessions: said.sessions,
        alarms: said.alarms,
        denials: said
            .denials
            .into_iter()
            .map(|denial| (denial.device, denial.topic, denial.times))
            .collect(),
        version: said.version,
    };
    let newest = api.ca.hear(proof, report).await?;
    Ok(Json(api::Heard { newest }))
}

/// The first epoch is made before anything is answered, so that a refusal has its status.
async fn stream(
    State(api): State<Api>,
    Holder(proof): Holder,
    Query(from): Query<From>,
) -> Result<Response, Failure> {
    let heard = Heard::until(from.after, from.number);
    let first = api.ca.next_epoch(proof.clone(), &heard).await?;
    let (pipe, body) = Channel::<_, Infallible>::new(AHEAD);
    tokio::spawn(feed(api.ca.clone(), proof, heard, first, pipe));
    let mut response = Response::new(Bytes::new(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Ends when the agent hangs up, is not let in any more, or something fails: it asks again then.
async fn feed(
    ca: Arc<Ca>,
    proof: Proof,
    mut heard: Heard,
    first: Option<(String, Heard)>,
    mut pipe: Pipe<bytes::Bytes, Infallible>,
) {
    let mut epoch = first;
    loop {
        let message = match epoch {
            Some((text, now_heard)) => {
                heard = now_heard;
                format!("event: epoch\ndata: {text}\n\n")
            }
            None => ": here\n\n".into(),
        };
        if pipe.send_data(message.into()).await.is_err() {
            return;
        }
        epoch = match next(&ca, &proof, &heard).await {
            Ok(epoch) => epoch,
            Err(error) => {
                tracing::info!(%error, "a broker's stream ends");
                return;
            }
        };
    }
}

/// The next epoch; none if a second goes by without any.
async fn next(ca: &Ca, proof: &Proof, heard: &Heard) -> Result<Option<(String, Heard)>, muster_ca::Error> {
    let beat = sleep(BEAT);
    tokio::pin!(beat);
    loop {
        // Listening begins before the log is read, so that nothing falls between.
        let news = ca.on_news();
        let found = ca.next_epoch(proof.clone(), heard).await?;
        if found.is_some() {
            return Ok(found);
        }
        tokio::select! {
            () = news => {}
            () = &mut beat => return ca.next_epoch(proof.clone(), heard).await,
        }
    }
}
