//! `/api/v1/search` and `/api/v1/expiries`

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use muster_api::types as api;
use muster_ca::list::Search;
use muster_ca::operator::Permission;
use schemars::JsonSchema;
use serde::Deserialize;

use super::route::Route;
use super::{Answer, Api, Failure, Query, views};
use crate::gate::Sender;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/search",
        Permission::Read,
        "Devices and certificates by name, serial number or fingerprint.",
        || get(search),
    )
    .asks::<SearchQuery>()
    .gives::<api::Found>(),
    Route::get(
        "/expiries",
        Permission::Read,
        "How many certificates run out on each of the next days.",
        || get(expiries),
    )
    .asks::<ExpiryQuery>()
    .gives::<Vec<api::ExpiryDay>>(),
];

/// The most that a search shows of each noun; a list shows all.
const MOST: usize = 50;
const USUAL: usize = 10;
/// The most days that are looked ahead.
const MOST_DAYS: u16 = 366;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    /// The beginning of a name, a serial number, or the beginning of a fingerprint.
    q: String,
    /// The most of each noun that are told: 1 to 50.
    limit: Option<usize>,
}

async fn search(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<SearchQuery>,
) -> Answer<api::Found> {
    let search = Search::parse(&query.q).ok_or_else(|| {
        Failure::bad("there is nothing to look for: q is a name, a serial number or a fingerprint")
    })?;
    let limit = query.limit.unwrap_or(USUAL).clamp(1, MOST);
    let found = api.ca.search(proof, search, limit).await?;
    let now = api.ca.now();
    Ok(Json(api::Found {
        devices: found
            .devices
            .iter()
            .map(|device| views::device(device, Vec::new()))
            .collect(),
        certificates: found
            .certificates
            .iter()
            .map(|record| views::certificate(record, now))
            .collect(),
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExpiryQuery {
    /// How many days: 1 to 366.
    days: Option<u16>,
}

async fn expiries(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<ExpiryQuery>,
) -> Answer<Vec<api::ExpiryDay>> {
    let days = query.days.unwrap_or(30).clamp(1, MOST_DAYS);
    let found = api.ca.expiries(proof, days).await?;
    Ok(Json(found.iter().map(views::expiry_day).collect()))
}
