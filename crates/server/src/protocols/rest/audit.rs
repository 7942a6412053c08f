//! `/api/v1/audit`

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use muster_api::types as api;
use muster_ca::list::AuditList;
use muster_ca::operator::Permission;

use super::route::Route;
use super::{Answer, Api, Failure, Query, export, views};
use crate::gate::Sender;
use crate::lists::AuditQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/audit",
        Permission::ReadAudit,
        "Audit entries, newest first.",
        || get(list),
    )
    .asks::<AuditQuery>()
    .lists::<api::AuditEntry>(),
    Route::get(
        "/audit/verify",
        Permission::ReadAudit,
        "Walks the whole audit log and says whether it is intact.",
        || get(verify),
    )
    .gives::<api::AuditVerdict>(),
];

async fn list(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<AuditQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let list = query.list()?;
    let first = list.paging.clone();
    let page = move |paging| {
        let (ca, proof, list) = (api.ca.clone(), proof.clone(), list.clone());
        async move {
            let found = ca.audit(proof, AuditList { paging, ..list }).await?;
            Ok(found.map(views::entry))
        }
    };
    export::answer(query.format.as_deref(), &headers, "audit", first, page).await
}

async fn verify(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::AuditVerdict> {
    let verdict = api.ca.verify_audit(proof).await?;
    Ok(Json(api::AuditVerdict {
        intact: verdict.broken_at.is_none(),
        entries: verdict.entries,
        broken_at: verdict.broken_at,
        head: views::hex(&verdict.head),
    }))
}
