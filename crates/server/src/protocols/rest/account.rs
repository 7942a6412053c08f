//! `/api/v1/account`: what operators do with what they log in with themselves.

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use jiff::SignedDuration;
use muster_api::types as api;
use muster_ca::Error;
use muster_ca::operator::Permission;
use muster_ca::password;
use zeroize::Zeroizing;

use super::route::Route;
use super::{Answer, Api, Body, Failure, done, views};
use crate::gate::Sender;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/account", Permission::Read, "Who asks, and its sessions in the GUI.", || get(show))
        .gives::<api::Account>(),
    Route::post("/account/password", Permission::Read, "Changes your own password; your sessions end.", || post(change_password))
        .takes::<api::ChangePassword>(r#"{"current": "correct horse battery", "password": "correct horse battery staple"}"#)
        .gives::<api::Done>(),
    Route::get("/account/code", Permission::Read, "A new secret for an app that makes one-time codes.", || get(new_secret))
        .gives::<api::CodeSecret>(),
    Route::post("/account/code", Permission::Read, "From now on logging in asks for a one-time code.", || post(set_code))
        .takes::<api::SetCode>(r#"{"current": "correct horse battery", "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "code": "123456"}"#)
        .gives::<api::Done>(),
    Route::post("/account/code/remove", Permission::Read, "Logging in asks for no one-time code any more.", || post(remove_code))
        .takes::<api::RemoveCode>(r#"{"current": "correct horse battery"}"#)
        .gives::<api::Done>(),
    Route::delete("/account/sessions/{id}", Permission::Read, "Ends one of your sessions in the GUI.", || delete(end_session))
        .gives::<api::Done>(),
];

async fn show(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::Account> {
    let (operator, sessions) = api.ca.own_account(proof).await?;
    let sessions = sessions.into_iter().map(|session| api::Session {
        id: session.id,
        began: views::time(session.began),
        used: views::time(session.used),
        source: session.source,
    });
    Ok(Json(api::Account {
        operator: views::operator(&operator),
        sessions: sessions.collect(),
    }))
}

async fn change_password(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::ChangePassword>,
) -> Answer<api::Done> {
    let current = Zeroizing::new(request.current);
    let new = Zeroizing::new(request.password);
    let name = api.ca.operator(proof.clone(), Permission::Read).await?.name();
    let change = move |ca: std::sync::Arc<muster_ca::Ca>| async move {
        ca.change_own_password(proof, &current, &new).await
    };
    told(api.edge.proving_again(&name, change).await)?;
    Ok(done(name, "changed"))
}

async fn new_secret(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::CodeSecret> {
    let name = api.ca.operator(proof, Permission::Read).await?.name();
    let secret = api.ca.new_totp_secret();
    Ok(Json(api::CodeSecret {
        secret: password::secret_text(&secret),
        url: password::secret_url(&name, &secret),
    }))
}

async fn set_code(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::SetCode>,
) -> Answer<api::Done> {
    let factor = (password::read_secret(&request.secret)?, request.code);
    set_factor(&api, proof, request.current, Some(factor)).await
}

async fn remove_code(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::RemoveCode>,
) -> Answer<api::Done> {
    set_factor(&api, proof, request.current, None).await
}

async fn set_factor(
    api: &Api,
    proof: muster_ca::Proof,
    current: String,
    factor: Option<(Vec<u8>, String)>,
) -> Answer<api::Done> {
    let current = Zeroizing::new(current);
    let name = api.ca.operator(proof.clone(), Permission::Read).await?.name();
    let set = move |ca: std::sync::Arc<muster_ca::Ca>| async move {
        ca.set_own_second_factor(proof, &current, factor).await
    };
    told(api.edge.proving_again(&name, set).await)?;
    Ok(done(name, "changed"))
}

fn told(done: Result<Result<(), Error>, SignedDuration>) -> Result<(), Failure> {
    match done {
        Ok(done) => Ok(done?),
        Err(wait) => Err(Failure::too_often(wait)),
    }
}

async fn end_session(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(id): Path<String>,
) -> Answer<api::Done> {
    api.ca.end_own_session(proof, &id).await?;
    Ok(done(id, "ended"))
}
