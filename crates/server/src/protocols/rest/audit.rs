//! `/api/v1/audit`

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use muster_api::types as api;
use muster_ca::operator::Permission;
use schemars::JsonSchema;
use serde::Deserialize;

use super::route::Route;
use super::{Answer, Api, Failure, Query, export, views};
use crate::gate::Sender;
use crate::lists::AuditQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/audit",
        Permission::ReadAudit,
        "Audit entries, newest first.",
        || get(export::list::<AuditQuery>),
    )
    .asks::<AuditQuery>()
    .lists::<api::AuditEntry>(),
    Route::get(
        "/audit/verify",
        Permission::ReadAudit,
        "Walks a stretch of the audit log, from its beginning or from where one ended, and says whether it is intact.",
        || get(verify),
    )
    .asks::<VerifyQuery>()
    .gives::<api::AuditVerdict>(),
];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VerifyQuery {
    /// Where the stretch before ended: the number of entries and the head, with a dot between.
    behind: Option<String>,
}

/// Walks a stretch of the chain.
async fn verify(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<VerifyQuery>,
) -> Answer<api::AuditVerdict> {
    let behind = query.behind.as_deref().map(place).transpose()?;
    let verdict = api.ca.verify_audit(proof, behind).await?;
    let head = views::hex(&verdict.head);
    Ok(Json(api::AuditVerdict {
        next: verdict.more.then(|| format!("{}.{head}", verdict.entries)),
        intact: verdict.broken_at.is_none(),
        entries: verdict.entries,
        broken_at: verdict.broken_at,
        head,
    }))
}

fn place(text: &str) -> Result<(u64, [u8; 32]), Failure> {
    let read = || {
        let (entries, head) = text.split_once('.')?;
        let octets = (0..head.len()).step_by(2).map(|at| {
            let digits = head.get(at..at + 2)?;
            u8::from_str_radix(digits, 16).ok()
        });
        let hash: Vec<u8> = octets.take(33).collect::<Option<_>>()?;
        Some((entries.parse().ok()?, hash.try_into().ok()?))
    };
    read().ok_or_else(|| Failure::bad("behind: give what the answer before called next"))
}
