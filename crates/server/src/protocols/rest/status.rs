//! `/api/v1/status`

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use muster_api::types as api;
use muster_ca::operator::Permission;

use super::route::Route;
use super::{Answer, Api, views};
use crate::gate::Sender;

pub(super) const ROUTES: &[Route] = &[Route::get(
    "/status",
    Permission::Read,
    "Whether everything is all right, until when, and what needs you.",
    || get(status),
)
.gives::<api::Status>()];

async fn status(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::Status> {
    let standing = api.ca.standing(proof).await?;
    let todos = api.edge.todos(standing.todos).await?;
    let counts = standing.counts;
    let readiness = api.ca.readiness().await;
    let due = api.ca.first_renewal_due().await?;
    let crls = api
        .ca
        .crls()
        .iter()
        .map(|crl| views::crl(crl, false))
        .collect::<Result<_, _>>()?;
    Ok(Json(api::Status {
        version: env!("CARGO_PKG_VERSION").into(),
        ready: readiness.problems.is_empty(),
        problems: readiness.problems,
        todos: todos.iter().map(ToString::to_string).collect(),
        works_until: standing.first_end.map(|end| api::End {
            at: views::time(end.at),
            what: end.what,
            by_itself: end.by_itself,
        }),
        looked_until: standing.looked_until.map(views::time),
        certificates: api::Counts {
            active: counts.active,
            expiring: counts.expiring,
            expired: counts.expired,
            revoked: counts.revoked,
        },
        devices: counts.all_devices(),
        devices_by: counts.devices.iter().map(views::device_count).collect(),
        authorities: api
            .ca
            .authorities()
            .iter()
            .map(views::authority)
            .collect::<Result<_, _>>()?,
        crls,
        first_crl_ends: api
            .ca
            .first_crl_to_expire()
            .map(|crl| views::time(crl.next_update)),
        first_renewal_due: due.map(views::time),
    }))
}
