//! `/api/v1/brokers`, and whether what was done to a device is in force there

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use muster_api::types as api;
use muster_ca::access;
use muster_ca::broker::agent::StandingState;
use muster_ca::broker::{Broker, BrokerWish, Program};
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use muster_pki::name::San;
use zeroize::Zeroizing;

use super::route::Route;
use super::{Answer, Api, Body, Failure, done, export, views};
use crate::gate::Sender;
use crate::lists::BrokerQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/brokers",
        Permission::Read,
        "Brokers, and whether each enforces what it has to.",
        || get(export::list::<BrokerQuery>),
    )
    .asks::<BrokerQuery>()
    .lists::<api::Broker>(),
    Route::post(
        "/brokers",
        Permission::Administer,
        "Registers a broker; its agent joins with the answer.",
        || post(add),
    )
    .takes::<api::AddBroker>(
        r#"{"name": "mqtt.example.com", "program": "mosquitto", "profile": "server", "sans": ["10.0.0.5"]}"#,
    )
    .gives::<api::JoinBroker>(),
    Route::post(
        "/brokers/{name}/join",
        Permission::Administer,
        "Lets a broker's agent join again, with another key.",
        || post(join),
    )
    .gives::<api::JoinBroker>(),
    Route::post(
        "/brokers/{name}/retire",
        Permission::Administer,
        "Takes a broker out of service: nothing waits for it any more.",
        || post(retire),
    )
    .takes::<api::ActRequest>(r#"{"note": "replaced by hub-2"}"#)
    .gives::<api::Done>(),
    Route::get(
        "/devices/{name}/proof",
        Permission::Read,
        "Which brokers enforce the last change of a device.",
        || get(proof),
    )
    .gives::<api::DeviceProof>(),
    Route::get(
        "/devices/{name}/access",
        Permission::Read,
        "Where a device may publish, and what it may receive.",
        || get(access_of),
    )
    .gives::<api::DeviceAccess>(),
    Route::post(
        "/devices/{name}/access",
        Permission::Operate,
        "Gives a device topic rules of its own, in place of its profile's.",
        || post(set_access),
    )
    .takes::<api::SetAccess>(r#"{"publish": ["plant/7/#"], "subscribe": ["plant/7/commands/#"]}"#)
    .gives::<api::Done>(),
    Route::delete(
        "/devices/{name}/access",
        Permission::Operate,
        "Takes a device's own topic rules away: it follows its profile's again.",
        || axum::routing::delete(drop_access),
    )
    .gives::<api::Done>(),
];

async fn add(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::AddBroker>,
) -> Answer<api::JoinBroker> {
    let program = Program::parse(&request.program).ok_or_else(|| {
        let words: Vec<_> = Program::ALL.iter().map(|(_, word)| *word).collect();
        Failure::bad(format!(
            "{:?} is no broker: choose one of {}",
            request.program,
            words.join(", ")
        ))
    })?;
    let sans = request.sans.iter().map(|text| San::parse(text));
    let wish = BrokerWish {
        name: DeviceName::parse(&request.name)?,
        program,
        profile: request.profile,
        sans: sans.collect::<Result<_, _>>()?,
    };
    let dry_run = proof.dry_run;
    let (broker, secret) = api.ca.add_broker(proof, wish).await?;
    invitation(&api, &broker, &secret, dry_run)
}

async fn join(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::JoinBroker> {
    let dry_run = proof.dry_run;
    let (broker, secret) = api.ca.join_broker(proof, &DeviceName::restored(name)).await?;
    invitation(&api, &broker, &secret, dry_run)
}

fn invitation(
    api: &Api,
    broker: &Broker,
    secret: &Zeroizing<String>,
    dry_run: bool,
) -> Answer<api::JoinBroker> {
    Ok(Json(api::JoinBroker {
        broker: broker.name.to_string(),
        program: broker.program.as_str().into(),
        fingerprint: api.edge.fingerprint()?,
        // What was not recorded opens nothing.
        token: if dry_run {
            String::new()
        } else {
            secret.to_string()
        },
    }))
}

async fn retire(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(request): Body<api::ActRequest>,
) -> Answer<api::Done> {
    api.ca
        .retire_broker(proof, &DeviceName::restored(name.clone()), &request.note)
        .await?;
    Ok(done(name, "retired"))
}

async fn proof(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
) -> Answer<api::DeviceProof> {
    let all = api
        .ca
        .proof_of(sender, &DeviceName::restored(name.clone()))
        .await?;
    Ok(Json(api::DeviceProof {
        device: name,
        confirmed: !all.is_empty() && all.iter().all(|one| one.state == StandingState::Proven),
        brokers: all
            .into_iter()
            .map(|one| api::BrokerProof {
                micros: (one.state == StandingState::Proven)
                    .then_some(one.broker.enforced)
                    .flatten()
                    .map(|enforced| enforced.micros),
                name: one.broker.name.to_string(),
                state: one.state.as_str().into(),
                heard: one.heard.map(views::time),
            })
            .collect(),
    }))
}

async fn access_of(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::DeviceAccess> {
    let (rules, own) = api.ca.access_of(proof, &DeviceName::restored(name)).await?;
    Ok(Json(api::DeviceAccess {
        own,
        publish: rules.publish,
        subscribe: rules.subscribe,
    }))
}

async fn set_access(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
    Body(rules): Body<api::SetAccess>,
) -> Answer<api::Done> {
    let rules = access::Rules {
        publish: rules.publish,
        subscribe: rules.subscribe,
    };
    let device = DeviceName::restored(name.clone());
    api.ca.set_access(proof, &device, Some(rules)).await?;
    Ok(done(name, "changed"))
}

async fn drop_access(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Done> {
    let device = DeviceName::restored(name.clone());
    api.ca.set_access(proof, &device, None).await?;
    Ok(done(name, "changed"))
}
