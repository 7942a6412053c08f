//! `/api/v1/tokens`

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::Error;
use muster_ca::device::DeviceName;
use muster_ca::list::TokenList;
use muster_ca::operator::Permission;
use muster_ca::registry::TokenWish;
use muster_ca::token::EnrolmentToken;
use muster_pki::time::parse_duration;

use super::certificates::revocation;
use super::route::Route;
use super::{Answer, Api, Body, Failure, done, export, views};
use crate::gate::Sender;
use crate::lists::TokenQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/tokens", Permission::Read, "Enrolment tokens.", || {
        get(export::list::<TokenQuery>)
    })
    .asks::<TokenQuery>()
    .lists::<api::Token>(),
    Route::post(
        "/tokens",
        Permission::Operate,
        "Makes an enrolment token for one device, or for a wave of devices.",
        || post(create),
    )
    .takes::<api::CreateToken>(r#"{"device": "site-001", "lifetime": "24h"}"#)
    .gives::<api::NewToken>(),
    Route::post(
        "/tokens/many",
        Permission::Operate,
        "Makes an enrolment token for each of many devices.",
        || post(create_many),
    )
    .takes::<api::CreateTokens>(
        r#"{"devices": ["site-001", "site-002"], "wave": "spring", "lifetime": "7d"}"#,
    )
    .gives::<Vec<api::NewToken>>(),
    Route::post(
        "/devices/{name}/recover",
        Permission::Operate,
        "Makes a recovery code: an enrolment token with which a device gets a certificate for another key, once, within 24 hours.",
        || post(recover),
    )
    .gives::<api::NewToken>(),
    Route::get("/tokens/{id}", Permission::Read, "An enrolment token.", || {
        get(show)
    })
    .gives::<api::Token>(),
    Route::delete(
        "/tokens/{id}",
        Permission::Operate,
        "Withdraws an enrolment token; names that it has bound stay.",
        || delete(withdraw),
    )
    .gives::<api::Done>(),
    Route::post(
        "/tokens/{id}/unbind",
        Permission::Operate,
        "Takes back what a name got through a token: revokes its certificates and frees the use.",
        || post(unbind),
    )
    .takes::<api::Unbind>(r#"{"name": "site-001", "note": "another device used it"}"#)
    .gives::<api::Revocation>(),
];

async fn create(
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
    let (dry_run, now) = (proof.dry_run, api.ca.now());
    let (token, secret) = api.ca.create_token(proof.clone(), wish).await?;
    Ok(Json(api::NewToken {
        notes: api.edge.notes(proof, &token).await?,
        ..new_token(&api, &token, &secret, dry_run, now)?
    }))
}

fn new_token(
    api: &Api,
    token: &EnrolmentToken,
    secret: &str,
    dry_run: bool,
    now: Timestamp,
) -> Result<api::NewToken, Failure> {
    let view = views::token(token, &[], now);
    if dry_run {
        // What was not recorded opens nothing.
        let (secret, code) = Default::default();
        return Ok(api::NewToken {
            token: view,
            secret,
            code,
            notes: Vec::new(),
        });
    }
    Ok(api::NewToken {
        token: view,
        secret: secret.to_owned(),
        code: api.edge.code(token, secret)?.to_string(),
        notes: Vec::new(),
    })
}

async fn create_many(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::CreateTokens>,
) -> Answer<Vec<api::NewToken>> {
    let names = request.devices.iter().map(|name| DeviceName::parse(name));
    let wish = TokenWish {
        device: None,
        wave: request.wave,
        uses: 1,
        profile: request.profile,
        lifetime: parse_duration(&request.lifetime)?,
    };
    let (dry_run, now) = (proof.dry_run, api.ca.now());
    let made = api
        .ca
        .create_tokens(proof, names.collect::<Result<_, _>>()?, wish)
        .await?;
    let made = made
        .iter()
        .map(|(token, secret)| new_token(&api, token, secret, dry_run, now));
    Ok(Json(made.collect::<Result<_, _>>()?))
}

async fn recover(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::NewToken> {
    let (dry_run, now) = (proof.dry_run, api.ca.now());
    let (token, secret) = api.ca.recover(proof.clone(), &DeviceName::parse(&name)?).await?;
    Ok(Json(api::NewToken {
        notes: api.edge.notes(proof, &token).await?,
        ..new_token(&api, &token, &secret, dry_run, now)?
    }))
}

async fn show(State(api): State<Api>, Sender(proof): Sender, Path(id): Path<String>) -> Answer<api::Token> {
    let list = TokenList {
        id: Some(id.clone()),
        ..TokenList::default()
    };
    let refusals = api.ca.token_refusals(proof.clone()).await?;
    let found = api.ca.tokens(proof, list).await?;
    let token = found.items.first();
    let token = token.ok_or_else(|| {
        Error::Missing(format!(
            "there is no token {id:?}; see which there are with: muster token list"
        ))
    })?;
    Ok(Json(views::token(token, &refusals, api.ca.now())))
}

async fn withdraw(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(id): Path<String>,
) -> Answer<api::Done> {
    api.ca.withdraw_token(proof, &id).await?;
    Ok(done(id, "withdrawn"))
}

async fn unbind(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(id): Path<String>,
    Body(request): Body<api::Unbind>,
) -> Answer<api::Revocation> {
    let name = DeviceName::parse(&request.name)?;
    let done = api.ca.unbind(proof, &id, &name, &request.note).await?;
    Ok(Json(revocation(&done)))
}
