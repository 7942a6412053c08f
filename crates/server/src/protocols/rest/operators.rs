//! `/api/v1/operators`

use axum::Json;
use axum::extract::{Path, State};
use muster_api::types as api;
use muster_ca::operator::{Operator, Role};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Answer, Api, Body, Failure, views};
use crate::gate::Sender;

pub(super) async fn list(State(api): State<Api>, Sender(proof): Sender) -> Answer<Vec<api::Operator>> {
    let operators = api.ca.operators(proof).await?;
    Ok(Json(operators.iter().map(view).collect()))
}

pub(super) async fn add(
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
            ..view(&record)
        }));
    }
    let (record, key) = api.ca.add_operator(proof.clone(), &request.name, role).await?;
    Ok(Json(api::Operator {
        key: told(key),
        ..view(&record)
    }))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<serde_json::Value> {
    api.ca.remove_operator(proof, &name).await?;
    Ok(Json(json!({ "name": name, "status": "removed" })))
}

pub(super) async fn invite(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<serde_json::Value> {
    let dry_run = proof.dry_run;
    let secret = api.ca.invite(proof, &name).await?;
    let invitation = (!dry_run).then(|| invitation(&name, &secret));
    Ok(Json(json!({ "name": name, "invitation": invitation })))
}

pub(super) async fn change_role(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(request): Body<api::ChangeRole>,
) -> Answer<serde_json::Value> {
    let role = role(&request.role)?;
    api.ca.change_role(proof, &name, role).await?;
    Ok(Json(json!({ "name": name, "role": role.as_str() })))
}

pub(super) async fn renew_key(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<serde_json::Value> {
    let dry_run = proof.dry_run;
    let key = api.ca.renew_api_key(proof, &name).await?;
    let key = (!dry_run).then(|| key.to_string());
    Ok(Json(json!({ "name": name, "key": key })))
}

pub(super) async fn revoke_key(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<serde_json::Value> {
    api.ca.revoke_api_key(proof, &name).await?;
    Ok(Json(json!({ "name": name, "status": "revoked" })))
}

pub(super) async fn set_password(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(request): Body<api::SetPassword>,
) -> Answer<serde_json::Value> {
    let (password, whose) = (Zeroizing::new(request.password), name.clone());
    api.edge
        .hashing(move |ca| async move { ca.set_password(proof, &whose, &password).await })
        .await?;
    Ok(Json(json!({ "name": name, "status": "changed" })))
}

fn role(word: &str) -> Result<Role, Failure> {
    Role::parse(word)
        .ok_or_else(|| Failure::bad(format!("{word:?} is no role: admin, operator, viewer or auditor")))
}

fn invitation(name: &str, secret: &str) -> String {
    format!("invitation/{name}/{secret}")
}

fn view(record: &Operator) -> api::Operator {
    let login = record.login.as_ref();
    api::Operator {
        name: record.name.clone(),
        role: record.role.as_str().into(),
        created: views::time(record.created),
        logs_in: login.is_some(),
        second_factor: login.is_some_and(|login| login.totp.is_some()),
        has_key: record.key.is_some(),
        key: None,
        invitation: None,
    }
}
