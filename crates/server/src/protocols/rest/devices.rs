//! `/api/v1/devices`

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::Target;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;

use super::certificates::revocation;
use super::route::Route;
use super::{Answer, Api, Body, Failure, export, views};
use crate::gate::Sender;
use crate::lists::DeviceQuery;

pub(super) const ROUTES: &[Route] = &[
    Route::get("/devices", Permission::Read, "Devices.", || {
        get(export::list::<DeviceQuery>)
    })
    .asks::<DeviceQuery>()
    .lists::<api::Device>(),
    Route::post("/devices", Permission::Operate, "Records a device.", || {
        post(create)
    })
    .takes::<api::CreateDevice>(r#"{"name": "site-001", "profile": "client", "note": "on the roof"}"#)
    .gives::<api::Device>(),
    Route::get(
        "/devices/{name}",
        Permission::Read,
        "A device with its certificates.",
        || get(show),
    )
    .gives::<api::Device>(),
    Route::post(
        "/devices/{name}/{act}",
        Permission::Operate,
        "Shuts a device out or lets it in again.",
        || post(act),
    )
    .takes::<api::ActRequest>(r#"{"note": "stolen"}"#)
    .gives::<api::Revocation>(),
];

async fn create(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::CreateDevice>,
) -> Answer<api::Device> {
    let name = DeviceName::parse(&request.name)?;
    let device = api
        .ca
        .create_device(proof, name, &request.profile, &request.note)
        .await?;
    Ok(Json(views::device(&device, Vec::new())))
}

async fn show(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path(name): Path<String>,
) -> Answer<api::Device> {
    let name = DeviceName::restored(name);
    let device = api.ca.device(proof.clone(), &name).await?;
    let certificates = api
        .ca
        .certificates_of(proof, &name, Timestamp::UNIX_EPOCH)
        .await?;
    let now = api.ca.now();
    let certificates = certificates
        .iter()
        .map(|record| views::certificate(record, now))
        .collect();
    Ok(Json(views::device(&device, certificates)))
}

/// `revoke`, `suspend`, `resume`, `retire`, `rearm`: one act on one device.
async fn act(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path((name, act)): Path<(String, String)>,
    Body(request): Body<api::ActRequest>,
) -> Answer<api::Revocation> {
    let name = DeviceName::parse(&name)?;
    let note = &request.note;
    if act != "revoke" && request.reason.is_some() {
        return Err(Failure::bad(format!(
            "only revoke has a reason; for {act} put words into the note"
        )));
    }
    let done = match act.as_str() {
        "revoke" => {
            let reason = Reason::parse(request.reason.as_deref().unwrap_or("unspecified"))?;
            api.ca.revoke(proof, Target::Device(name), reason, note).await?
        }
        "suspend" => api.ca.suspend(proof, &name, note).await?,
        "resume" => api.ca.resume(proof, &name, note).await?,
        "retire" => api.ca.retire(proof, &name, note).await?,
        "rearm" => {
            let device = api.ca.rearm(proof, &name, note).await?;
            return Ok(Json(api::Revocation {
                device: device.name.to_string(),
                serials: Vec::new(),
                at: views::time(api.ca.now()),
                confirmed: true,
                brokers: Vec::new(),
            }));
        }
        other => return Err(muster_ca::Error::Missing(format!("a device cannot {other:?}")).into()),
    };
    Ok(Json(revocation(&done)))
}
