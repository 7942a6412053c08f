//! `/api/v1/tokens`

use axum::Json;
use axum::extract::{Path, State};
use muster_api::types as api;
use muster_ca::device::DeviceName;
use muster_ca::registry::TokenWish;
use muster_pki::time::parse_duration;
use serde::Deserialize;
use serde_json::json;

use super::certificates::revocation;
use super::{Answer, Api, Body, Query, views};
use crate::gate::Sender;

pub(super) async fn create(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::CreateToken>,
) -> Answer<api::NewToken> {
    let wish = TokenWish {
        device: request.device.as_deref().map(DeviceName::parse).transpose()?,
        wave: request.wave,
        uses: request.uses,
        profile: request.profile,
        lifetime: parse_duration(&request.lifetime)?,
    };
    let dry_run = proof.dry_run;
    let (token, secret) = api.ca.create_token(proof, wish).await?;
    Ok(Json(api::NewToken {
        token: views::token(&token, api.ca.now()),
        // What was not recorded opens nothing.
        secret: if dry_run {
            String::new()
        } else {
            secret.to_string()
        },
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<ListQuery>,
) -> Answer<api::Page<api::Token>> {
    let limit = query.limit.unwrap_or(100).clamp(1, 1000);
    let tokens = api.ca.tokens(proof, query.after.as_deref(), limit).await?;
    let next = (tokens.len() == limit)
        .then(|| tokens.last().map(|token| token.id.clone()))
        .flatten();
    let now = api.ca.now();
    Ok(Json(api::Page {
        items: tokens.iter().map(|token| views::token(token, now)).collect(),
        next,
    }))
}

pub(super) async fn withdraw(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(id): Path<String>,
) -> Answer<serde_json::Value> {
    api.ca.withdraw_token(proof, &id).await?;
    Ok(Json(json!({ "id": id, "status": "withdrawn" })))
}

pub(super) async fn unbind(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(id): Path<String>,
    Body(request): Body<api::Unbind>,
) -> Answer<api::Revocation> {
    let name = DeviceName::parse(&request.name)?;
    let done = api.ca.unbind(proof, &id, &name, &request.note).await?;
    Ok(Json(revocation(&done)))
}
