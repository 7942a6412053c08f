//! `/api/v1/authorities`, `…/profiles` and `…/provisioners`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use muster_api::types as api;
use muster_ca::operator::Permission;
use muster_ca::ports::Crl;
use muster_ca::registry::ProvisionerWish;
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::route::Route;
use super::{Answer, Api, Body, Failure, Query, done, export, views};
use crate::Configured;
use crate::gate::Sender;
use crate::lists::{ProfileQuery, ProvisionerQuery};

pub(super) const ROUTES: &[Route] = &[
    Route::get("/authorities", Permission::Read, "The authorities with their certificates.", || get(authorities))
        .gives::<Vec<api::Authority>>(),
    Route::get("/authorities/{name}/crl", Permission::Read, "The revocation lists that a broker needs, as they are published.", || get(crl))
        .asks::<CrlQuery>()
        .gives::<api::Crl>(),
    Route::post("/authorities/{name}/crl", Permission::Operate, "The same lists, made fresh.", || post(fresh_crl))
        .takes::<api::FreshCrl>(r#"{"generation": 1}"#)
        .gives::<api::Crl>(),
    Route::post("/authorities/{name}/rollover/{step}", Permission::Administer, "The next step of a roll-over to a new issuing CA.", || post(rollover))
        .gives::<api::Generation>(),
    Route::get("/profiles", Permission::Read, "The rules of what may be issued.", || get(export::list::<ProfileQuery>))
        .asks::<ProfileQuery>()
        .lists::<api::Profile>(),
    Route::get("/provisioners", Permission::Read, "How requesters prove their right.", || get(export::list::<ProvisionerQuery>))
        .asks::<ProvisionerQuery>()
        .lists::<api::Provisioner>(),
    Route::post("/provisioners", Permission::Administer, "Adds a provisioner.", || post(add_provisioner))
        .takes::<api::AddProvisioner>(r#"{"name": "site-makers", "password": "m9Q2vXw7TbKc4RzN8sLpYh", "profiles": ["client"], "names": ["site-*"]}"#)
        .gives::<api::Provisioner>(),
    Route::delete("/provisioners/{name}", Permission::Administer, "Removes a provisioner; its tokens are refused from now on.", || delete(remove_provisioner))
        .gives::<api::Done>(),
    Route::get("/settings", Permission::Read, "What is configured, and from where.", || get(configured))
        .gives::<Vec<api::Setting>>(),
];

async fn authorities(State(api): State<Api>) -> Answer<Vec<api::Authority>> {
    Ok(Json(
        api.ca
            .authorities()
            .iter()
            .map(views::authority)
            .collect::<Result<_, _>>()?,
    ))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrlQuery {
    /// Only the list of this generation; 0 is the root's.
    generation: Option<u32>,
}

/// One generation's list, or what a broker needs: the active issuing CA's, those of the others that are not retired, and the
/// root's, one after the other. What is told beside the text is about the first.
async fn crl(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<CrlQuery>,
) -> Answer<api::Crl> {
    lists(&api.ca.published_crls(&name, query.generation)?)
}

/// The same, made anew.
async fn fresh_crl(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(request): Body<api::FreshCrl>,
) -> Answer<api::Crl> {
    lists(&api.ca.fresh_crls(proof, &name, request.generation).await?)
}

fn lists(all: &[Arc<Crl>]) -> Answer<api::Crl> {
    let mut lists = all.iter().map(|list| views::crl(list, true));
    let first = lists.next();
    let mut answer = first.ok_or_else(|| Failure::bad("there is no list"))??;
    for list in lists {
        answer.pem.push_str(&list?.pem);
    }
    Ok(Json(answer))
}

async fn rollover(
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

async fn add_provisioner(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::AddProvisioner>,
) -> Answer<api::Provisioner> {
    let made = request.password.is_none();
    let password = request
        .password
        .map_or_else(|| api.ca.new_password(), Zeroizing::new);
    let told = made && !proof.dry_run;
    let wish = ProvisionerWish {
        name: request.name,
        profiles: request.profiles,
        names: request.names,
        may_replace: request.may_replace,
    };
    let added = api.ca.add_provisioner(proof, wish, &password).await?;
    Ok(Json(api::Provisioner {
        password: told.then(|| password.to_string()),
        ..views::provisioner(&added)
    }))
}

async fn remove_provisioner(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Done> {
    api.ca.remove_provisioner(proof, &name).await?;
    Ok(done(name, "removed"))
}

async fn configured(State(api): State<Api>) -> Answer<Vec<api::Setting>> {
    let setting = |one: &Configured| api::Setting {
        key: one.key.to_owned(),
        value: one.value.clone(),
        origin: one.origin.clone(),
    };
    Ok(Json(api.edge.settings().configured.iter().map(setting).collect()))
}
