//! `/api/v1/operators`

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use muster_api::types as api;
use muster_ca::operator::{Permission, Role};
use zeroize::Zeroizing;

use super::route::Route;
use super::{Answer, Api, Body, Failure, done, export, views};
use crate::gate::Sender;
use crate::lists::OperatorQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/operators",
        Permission::Administer,
        "Operators: persons and programs.",
        || get(export::list::<OperatorQuery>),
    )
    .asks::<OperatorQuery>()
    .lists::<api::Operator>(),
    Route::post(
        "/operators",
        Permission::Administer,
        "Adds an operator. Its API key or its invitation is told once.",
        || post(add),
    )
    .takes::<api::AddOperator>(r#"{"name": "bob", "role": "viewer", "person": true}"#)
    .gives::<api::Operator>(),
    Route::delete(
        "/operators/{name}",
        Permission::Administer,
        "Removes an operator; its API key and its sessions end.",
        || delete(remove),
    )
    .gives::<api::Done>(),
    Route::post(
        "/operators/{name}/invitation",
        Permission::Administer,
        "Invites an operator to choose a password anew.",
        || post(invite),
    )
    .gives::<api::Invitation>(),
    Route::post(
        "/operators/{name}/key",
        Permission::Administer,
        "Makes a new API key; the one before is refused from now on.",
        || post(renew_key),
    )
    .gives::<api::NewKey>(),
    Route::delete(
        "/operators/{name}/key",
        Permission::Administer,
        "Takes an operator's API key away.",
        || delete(revoke_key),
    )
    .gives::<api::Done>(),
    Route::post(
        "/operators/{name}/password",
        Permission::Administer,
        "Sets the password of an operator, which loses its second factor and its sessions.",
        || post(set_password),
    )
    .takes::<api::SetPassword>(r#"{"password": "correct horse battery staple"}"#)
    .gives::<api::Done>(),
    Route::post(
        "/operators/{name}/role",
        Permission::Administer,
        "Changes what an operator may do.",
        || post(change_role),
    )
    .takes::<api::ChangeRole>(r#"{"role": "operator"}"#)
    .gives::<api::Done>(),
];

async fn add(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::AddOperator>,
) -> Answer<api::Operator> {
    let role = role(&request.role)?;
    // What was not recorded opens nothing.
    let told = |secret: Zeroizing<String>| (!proof.dry_run).then(|| secret.to_string());
    if request.person {
        let (record, secret) = api.ca.add_person(proof.clone(), &request.name, role).await?;
        let invitation = told(secret).map(|secret| invitation(&record.name, &secret));
        return Ok(Json(api::Operator {
            invitation,
            ..views::operator(&record)
        }));
    }
    let (record, key) = api.ca.add_operator(proof.clone(), &request.name, role).await?;
    Ok(Json(api::Operator {
        key: told(key),
        ..views::operator(&record)
    }))
}

async fn remove(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Done> {
    api.ca.remove_operator(proof, &name).await?;
    Ok(done(name, "removed"))
}

async fn invite(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Invitation> {
    let dry_run = proof.dry_run;
    let secret = api.ca.invite(proof, &name).await?;
    let invitation = (!dry_run).then(|| invitation(&name, &secret));
    Ok(Json(api::Invitation { name, invitation }))
}

async fn change_role(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(request): Body<api::ChangeRole>,
) -> Answer<api::Done> {
    let role = role(&request.role)?;
    api.ca.change_role(proof, &name, role).await?;
    Ok(done(name, "changed"))
}

async fn renew_key(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::NewKey> {
    let dry_run = proof.dry_run;
    let key = api.ca.renew_api_key(proof, &name).await?;
    let key = (!dry_run).then(|| key.to_string());
    Ok(Json(api::NewKey { name, key }))
}

async fn revoke_key(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Done> {
    api.ca.revoke_api_key(proof, &name).await?;
    Ok(done(name, "revoked"))
}

async fn set_password(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(request): Body<api::SetPassword>,
) -> Answer<api::Done> {
    let (password, whose) = (Zeroizing::new(request.password), name.clone());
    api.edge
        .hashing(move |ca| async move { ca.set_password(proof, &whose, &password).await })
        .await?;
    Ok(done(name, "changed"))
}

fn role(word: &str) -> Result<Role, Failure> {
    Role::parse(word)
        .ok_or_else(|| Failure::bad(format!("{word:?} is no role: admin, operator, viewer or auditor")))
}

fn invitation(name: &str, secret: &str) -> String {
    format!("invitation/{name}/{secret}")
}
