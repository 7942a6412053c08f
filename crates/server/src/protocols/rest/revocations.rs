//! `/api/v1/revocations`: many certificates or devices at once, and the second operator who may have to agree.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::authority::Generation;
use muster_ca::certificate::Serial;
use muster_ca::device::DeviceName;
use muster_ca::many::{Batch, Many};
use muster_ca::operator::Permission;
use muster_ca::{Error, Proof};
use muster_pki::crl::Reason;

use super::certificates::read_serial;
use super::route::Route;
use super::{Answer, Api, Body, Failure, views};
use crate::gate::Sender;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/revocations", Permission::Read, "The revocation that waits for a second operator, if there is one.", || get(waiting))
        .gives::<Vec<api::WaitingRevocation>>(),
    Route::post("/revocations", Permission::Operate, "Revokes many certificates or devices at once, or an issuing CA whose key somebody else has, or asks a second operator to agree.", || post(revoke))
        .takes::<api::RevokeMany>(r#"{"serials": ["0123456789abcdef"], "reason": "cessation-of-operation", "note": "the site is closed", "count": 1}"#)
        .gives::<api::RevokedMany>(),
    Route::post("/revocations/{verdict}", Permission::Operate, "Agrees to the revocation that waits, or rejects it.", || post(judge))
        .takes::<api::JudgeRevocation>(r#"{"at": "2030-06-01T12:00:00Z"}"#)
        .gives::<api::RevokedMany>(),
];

async fn waiting(State(api): State<Api>, Sender(proof): Sender) -> Answer<Vec<api::WaitingRevocation>> {
    let waiting = api.ca.waiting_revocation(proof).await?;
    let view = |one: muster_ca::many::WaitingRevocation| {
        let retire = matches!(one.batch, Batch::Retiring(_));
        let count = one.batch.len();
        let (serials, devices, issuing_of) = match one.batch {
            Batch::Certificates(serials) => (serials.iter().map(Serial::hex).collect(), Vec::new(), None),
            Batch::Devices(names) | Batch::Retiring(names) => {
                (Vec::new(), names.iter().map(ToString::to_string).collect(), None)
            }
            Batch::Issuing { authority, .. } => (Vec::new(), Vec::new(), Some(authority)),
        };
        api::WaitingRevocation {
            by: one.by,
            at: one.at.to_string(),
            until: views::time(one.until),
            reason: one.reason.to_string(),
            note: one.note,
            serials,
            devices,
            issuing_of,
            count,
            retire,
        }
    };
    Ok(Json(waiting.into_iter().map(view).collect()))
}

async fn revoke(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::RevokeMany>,
) -> Answer<api::RevokedMany> {
    let reason = Reason::parse(&request.reason)?;
    let batch = match &request.issuing_of {
        Some(authority) => issuing(&api, proof.clone(), authority, &request).await?,
        None => batch(&request)?,
    };
    let count = batch.len();
    if api.edge.settings().asks_for_count(count) && request.count != Some(count) {
        return Err(Failure::bad(format!(
            "these are {count}, each counted once, and revoking so many at once needs their number; send it as count, on the \
             command line: --count {count}"
        )));
    }
    if api.edge.settings().asks_for_second(count) {
        api.ca.ask_to_revoke(proof, &batch, reason, &request.note).await?;
        return Ok(Json(api::RevokedMany {
            waiting: true,
            ..api::RevokedMany::default()
        }));
    }
    let done = api.ca.revoke_many(proof, &batch, reason, &request.note).await?;
    Ok(Json(view(&done)?))
}

async fn issuing(
    api: &Api,
    proof: Proof,
    authority: &str,
    request: &api::RevokeMany,
) -> Result<Batch, Failure> {
    if !request.serials.is_empty() || !request.devices.is_empty() || request.retire {
        return Err(Failure::bad(
            "an issuing CA is revoked alone: give issuing_of and nothing beside it",
        ));
    }
    Ok(api.ca.issuing_batch(proof, authority).await?)
}

/// What is named, each once.
fn batch(request: &api::RevokeMany) -> Result<Batch, Failure> {
    if request.serials.is_empty() == request.devices.is_empty() {
        return Err(Failure::bad(
            "give serials, devices or issuing_of, and one of them alone",
        ));
    }
    if request.devices.is_empty() {
        if request.retire {
            return Err(Failure::bad("only devices are retired"));
        }
        let serials = request.serials.iter().map(|text| read_serial(text));
        let serials: BTreeSet<_> = serials.collect::<Result<_, _>>()?;
        return Ok(Batch::Certificates(serials.into_iter().collect()));
    }
    let names = request.devices.iter().map(|name| DeviceName::parse(name));
    let names: BTreeSet<_> = names.collect::<Result<_, _>>()?;
    let names = names.into_iter().collect();
    Ok(if request.retire {
        Batch::Retiring(names)
    } else {
        Batch::Devices(names)
    })
}

async fn judge(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(verdict): Path<String>,
    Body(request): Body<api::JudgeRevocation>,
) -> Answer<api::RevokedMany> {
    let at: Timestamp = request
        .at
        .parse()
        .map_err(|_| Failure::bad("at is a time, as GET /revocations says it"))?;
    match verdict.as_str() {
        "agree" => Ok(Json(view(&api.ca.agree_to_revoke(proof, at).await?)?)),
        "reject" => {
            api.ca.reject_revocation(proof, at).await?;
            Ok(Json(api::RevokedMany::default()))
        }
        other => Err(Error::Missing(format!("{other:?} is no verdict: agree or reject")).into()),
    }
}

fn view(done: &Many) -> Result<api::RevokedMany, Failure> {
    let name = |issuing: &Generation| Ok::<_, Failure>(issuing.parsed()?.common_name().unwrap_or_default());
    Ok(api::RevokedMany {
        revoked: done.revoked.iter().map(Serial::hex).collect(),
        devices: done.devices,
        before: done.before,
        issuing: done.issuing.as_ref().map(name).transpose()?,
        waiting: false,
    })
}
