//! `/api/v1/status`

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use muster_api::types as api;
use muster_ca::authority::{ROOT, Stage};
use muster_ca::operator::Permission;

use super::{Answer, Api, views};
use crate::gate::Sender;

/// From when on a to-do asks for the next issuing CA.
const ROLLOVER_NOTICE: SignedDuration = SignedDuration::from_hours(400 * 24);
/// From when on a to-do asks for a root's next CRL: whoever keeps the recovery secret has to be found.
const ROOT_CRL_NOTICE: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(super) async fn status(State(api): State<Api>, Sender(proof): Sender) -> Answer<api::Status> {
    api.ca.operator(proof, Permission::Read).await?;
    let readiness = api.ca.readiness().await;
    let counts = api.ca.counts().await?;
    let due = api.ca.first_renewal_due().await?;
    let crls = api
        .ca
        .crls()
        .iter()
        .map(|crl| views::crl(crl, false))
        .collect::<Result<_, _>>()?;
    Ok(Json(api::Status {
        version: env!("CARGO_PKG_VERSION").into(),
        ready: readiness.problems.is_empty(),
        problems: readiness.problems,
        todos: todos(&api)?,
        certificates: api::Counts {
            active: counts.active,
            expiring: counts.expiring,
            expired: counts.expired,
            revoked: counts.revoked,
        },
        devices: counts.devices,
        authorities: api
            .ca
            .authorities()
            .iter()
            .map(views::authority)
            .collect::<Result<_, _>>()?,
        crls,
        first_crl_ends: api
            .ca
            .first_crl_to_expire()
            .map(|crl| views::time(crl.next_update)),
        first_renewal_due: due.map(views::time),
    }))
}

fn todos(api: &Api) -> Result<Vec<String>, super::Failure> {
    let mut todos = (api.edge.todos())();
    if api.ca.settings().public_url.is_none() {
        todos.push(
            "certificates carry no CRL pointer: set public_url in muster.toml to where port 9080 is reached, such as \
             http://ca.example.org:9080"
                .into(),
        );
    }
    for authority in api.ca.authorities() {
        for generation in authority
            .issuing()
            .filter(|generation| generation.stage == Stage::Active)
        {
            let end = generation.parsed()?.not_after();
            if end - ROLLOVER_NOTICE <= api.ca.now() {
                todos.push(format!(
                    "the issuing CA {} {} ends on {} and cuts certificates short: muster ca rollover start",
                    authority.name,
                    generation.number,
                    views::time(end)
                ));
            }
        }
        match api.ca.crl(&authority.name, ROOT) {
            None => todos.push(format!(
                "the root of {} has no CRL here; HAProxy asks for one",
                authority.name
            )),
            Some(crl) if crl.next_update - ROOT_CRL_NOTICE <= api.ca.now() => todos.push(format!(
                "the CRL of the root of {} runs out on {}: muster ca root-crl",
                authority.name,
                views::time(crl.next_update)
            )),
            Some(_) => {}
        }
    }
    Ok(todos)
}
