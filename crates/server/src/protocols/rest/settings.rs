//! `/api/v1/authorities`, `…/profiles` and `…/provisioners`

use axum::Json;
use axum::extract::{Path, State};
use muster_api::types as api;
use muster_ca::Proof;
use muster_ca::operator::Permission;
use muster_ca::provisioner::Provisioner;
use muster_ca::registry::ProvisionerWish;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Api, Body, Failure, Query, views};
use crate::gate::Sender;

pub(super) async fn authorities(
    State(api): State<Api>,
    Sender(proof): Sender,
) -> Answer<Vec<api::Authority>> {
    read(&api, proof).await?;
    Ok(Json(
        api.ca
            .authorities()
            .iter()
            .map(views::authority)
            .collect::<Result<_, _>>()?,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrlQuery {
    generation: Option<u32>,
}

/// Made fresh: one generation's list, or what a broker needs: the active issuing CA's, those of the others that are not
/// retired, and the root's, one after the other. What is told beside the text is about the first.
pub(super) async fn crl(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Query(query): Query<CrlQuery>,
) -> Answer<api::Crl> {
    read(&api, proof).await?;
    let lists = match query.generation {
        None => api.ca.fresh_crls(&name).await?,
        only => vec![api.ca.fresh_crl(&name, only).await?],
    };
    let mut lists = lists.iter().map(|list| views::crl(list, true));
    let first = lists.next();
    let mut answer = first.ok_or_else(|| Failure::bad("there is no list"))??;
    for list in lists {
        answer.pem.push_str(&list?.pem);
    }
    Ok(Json(answer))
}

pub(super) async fn rollover(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path((name, step)): Path<(String, String)>,
) -> Answer<api::Generation> {
    let generation = match step.as_str() {
        "activate" => api.ca.activate_rollover(proof, &name).await?,
        "finish" => api.ca.finish_rollover(proof, &name).await?,
        other => return Err(muster_ca::Error::Missing(format!("a roll-over has no step {other:?}")).into()),
    };
    Ok(Json(views::generation(&generation)?))
}

pub(super) async fn profiles(State(api): State<Api>, Sender(proof): Sender) -> Answer<Vec<api::Profile>> {
    read(&api, proof).await?;
    Ok(Json(api.ca.profiles().map(views::profile).collect()))
}

pub(super) async fn provisioners(
    State(api): State<Api>,
    Sender(proof): Sender,
) -> Answer<Vec<api::Provisioner>> {
    read(&api, proof).await?;
    Ok(Json(api.ca.provisioners().iter().map(provisioner).collect()))
}

pub(super) async fn add_provisioner(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::AddProvisioner>,
) -> Answer<api::Provisioner> {
    let password = zeroize::Zeroizing::new(request.password);
    let wish = ProvisionerWish {
        name: request.name,
        profiles: request.profiles,
        names: request.names,
        may_replace: request.may_replace,
    };
    let added = api.ca.add_provisioner(proof, wish, &password).await?;
    Ok(Json(provisioner(&added)))
}

pub(super) async fn remove_provisioner(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<serde_json::Value> {
    api.ca.remove_provisioner(proof, &name).await?;
    Ok(Json(json!({ "name": name, "status": "removed" })))
}

/// What is public by nature is still told to operators only: a list is a map for an attacker.
async fn read(api: &Api, proof: Proof) -> Result<(), Failure> {
    api.ca.operator(proof, Permission::Read).await?;
    Ok(())
}

fn provisioner(record: &Provisioner) -> api::Provisioner {
    api::Provisioner {
        name: record.name.clone(),
        kid: record.kid.clone(),
        profiles: record.profiles.clone(),
        names: record.names.clone(),
        may_replace: record.may_replace,
        created: views::time(record.created),
    }
}
