//! `/api/v1/revocations`: many certificates at once, and the second operator who may have to agree.

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::Error;
use muster_ca::certificate::Serial;
use muster_ca::many::Many;
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;

use super::certificates::read_serial;
use super::route::Route;
use super::{Answer, Api, Body, Failure, views};
use crate::gate::Sender;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/revocations", Permission::Read, "The revocation that waits for a second operator, if there is one.", || get(waiting))
        .gives::<Vec<api::WaitingRevocation>>(),
    Route::post("/revocations", Permission::Operate, "Revokes many certificates at once, or asks a second operator to agree.", || post(revoke))
        .takes::<api::RevokeMany>(r#"{"serials": ["0123456789abcdef"], "reason": "cessation-of-operation", "note": "the site is closed", "count": 1}"#)
        .gives::<api::RevokedMany>(),
    Route::post("/revocations/{verdict}", Permission::Operate, "Agrees to the revocation that waits, or rejects it.", || post(judge))
        .takes::<api::JudgeRevocation>(r#"{"at": "2030-06-01T12:00:00Z"}"#)
        .gives::<api::RevokedMany>(),
];

async fn waiting(State(api): State<Api>, Sender(proof): Sender) -> Answer<Vec<api::WaitingRevocation>> {
    let waiting = api.ca.waiting_revocation(proof).await?;
    let view = |one: muster_ca::many::WaitingRevocation| api::WaitingRevocation {
        by: one.by,
        at: one.at.to_string(),
        until: views::time(one.until),
        reason: one.reason.to_string(),
        note: one.note,
        serials: one.serials.iter().map(Serial::hex).collect(),
    };
    Ok(Json(waiting.into_iter().map(view).collect()))
}

async fn revoke(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::RevokeMany>,
) -> Answer<api::RevokedMany> {
    api.ca.operator(proof.clone(), Permission::Operate).await?;
    let reason = Reason::parse(&request.reason)?;
    let serials = request.serials.iter().map(|text| read_serial(text));
    let mut serials = serials.collect::<Result<Vec<_>, _>>()?;
    serials.sort_unstable();
    serials.dedup();
    let count = serials.len();
    if api.edge.settings().asks_for_count(count) && request.count != Some(count) {
        return Err(Failure::bad(format!(
            "these are {count} different certificates, and revoking so many at once needs their number: send count"
        )));
    }
    if api.edge.settings().asks_for_second(count) {
        api.ca
            .ask_to_revoke(proof, &serials, reason, &request.note)
            .await?;
        return Ok(Json(api::RevokedMany {
            waiting: true,
            ..api::RevokedMany::default()
        }));
    }
    let done = api.ca.revoke_many(proof, &serials, reason, &request.note).await?;
    Ok(Json(view(&done)))
}

async fn judge(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(verdict): Path<String>,
    Body(request): Body<api::JudgeRevocation>,
) -> Answer<api::RevokedMany> {
    api.ca.operator(proof.clone(), Permission::Operate).await?;
    let at: Timestamp = request
        .at
        .parse()
        .map_err(|_| Failure::bad("at is a time, as GET /revocations says it"))?;
    match verdict.as_str() {
        "agree" => Ok(Json(view(&api.ca.agree_to_revoke(proof, at).await?))),
        "reject" => {
            api.ca.reject_revocation(proof, at).await?;
            Ok(Json(api::RevokedMany::default()))
        }
        other => Err(Error::Missing(format!("{other:?} is no verdict: agree or reject")).into()),
    }
}

fn view(done: &Many) -> api::RevokedMany {
    api::RevokedMany {
        revoked: done.revoked.iter().map(Serial::hex).collect(),
        before: done.before,
        waiting: false,
    }
}
