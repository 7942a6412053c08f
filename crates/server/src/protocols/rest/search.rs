//! `/api/v1/search` and `/api/v1/expiries`

use axum::Json;
use axum::extract::State;
use muster_api::types as api;
use muster_ca::list::Search;
use serde::Deserialize;

use super::{Answer, Api, Failure, Query, views};
use crate::gate::Sender;

/// The most that a search shows of each noun; a list shows all.
const MOST: usize = 50;
const USUAL: usize = 10;
/// The most days that are looked ahead.
const MOST_DAYS: u16 = 366;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    q: String,
    limit: Option<usize>,
}

pub(super) async fn search(
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpiryQuery {
    days: Option<u16>,
}

pub(super) async fn expiries(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<ExpiryQuery>,
) -> Answer<Vec<api::ExpiryDay>> {
    let days = query.days.unwrap_or(30).clamp(1, MOST_DAYS);
    let found = api.ca.expiries(proof, days).await?;
    Ok(Json(found.iter().map(views::expiry_day).collect()))
}
