//! `/api/v1/bundles`: certificates whose key the server makes and hands out once; and certificates as files.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_api::types as api;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use muster_ca::{Ask, Error};
use muster_pki::bundle::Use;
use muster_pki::csr::Csr;
use muster_pki::snippet::{Facts, MQTTS_PORT};

use super::certificates::{read_serial, wish};
use super::route::Route;
use super::{Answer, Api, Body, Failure, views};
use crate::files::{self, Handout};
use crate::gate::Sender;

/// More files than there are formats make no sense.
const MOST: usize = 16;

pub(super) const ROUTES: &[Route] = &[
    Route::post("/bundles", Permission::Operate, "Issues a certificate with a key that the server makes, hands out once and does not keep.", || post(make))
        .takes::<api::BundleRequest>(r#"{"name": "site-001", "profile": "client", "validity": "30d", "formats": ["zip", "p12"], "broker": "mqtt.example.org"}"#)
        .gives::<api::Bundle>(),
    Route::get("/certificates/{serial}/{format}", Permission::Read, "A certificate as a file, without its key.", || get(file))
        .sends_file(),
];

async fn make(
    State(api): State<Api>,
    Sender(proof): Sender,
    Body(request): Body<api::BundleRequest>,
) -> Answer<api::Bundle> {
    let name = DeviceName::parse(&request.name)?;
    let formats = match request.formats {
        none if none.is_empty() => vec!["zip".to_owned()],
        some if some.len() > MOST => return Err(Failure::bad(format!("at most {MOST} formats"))),
        some => some,
    };
    if let Some(unknown) = formats
        .iter()
        .find(|format| !files::FORMATS.contains(&format.as_str()))
    {
        return Err(Failure::bad(format!(
            "{unknown:?} is no format: {}",
            files::FORMATS.join(", ")
        )));
    }
    let port = request.port.unwrap_or(MQTTS_PORT);
    if let Some(host) = &request.broker {
        // Before a certificate is issued for nothing.
        let facts = Facts::new(name.as_str(), Use::Client).and_then(|facts| facts.with_broker(host, port));
        facts.map_err(|why| Failure::bad(why.to_string()))?;
    }
    let now = api.ca.now();
    let profile = request.profile.unwrap_or_else(|| "client".into());
    let key = files::new_key(&api.edge, files::usual_key(&api.ca, &profile)?).await?;
    let wish = wish(
        Some(name.to_string()),
        Some(profile),
        &request.sans,
        request.validity.as_deref(),
        now,
    )?;
    let csr = Csr::build(name.as_str(), &[], &key)?;
    let dry_run = proof.dry_run;
    let issued = api.ca.enrol(Ask { proof, csr, wish }).await?;
    if dry_run {
        return Ok(Json(api::Bundle {
            issued: views::issued(&issued, now)?,
            files: Vec::new(),
            password: None,
        }));
    }
    let mut handout = Handout::new(&api.ca, &issued, &key)?;
    if let Some(host) = &request.broker {
        handout.bundle = handout.bundle.for_broker(host, port).map_err(files::broken)?;
    }
    let mut files = Vec::new();
    for format in &formats {
        let file = handout.file(&api.ca, format)?;
        files.extend(file.map(|file| api::BundleFile {
            content: STANDARD.encode(&*file.bytes),
            name: file.name,
        }));
    }
    let password = formats
        .iter()
        .any(|format| format == "p12")
        .then(|| handout.password.to_string());
    Ok(Json(api::Bundle {
        issued: views::issued(&issued, now)?,
        files,
        password,
    }))
}

async fn file(
    State(api): State<Api>,
    Sender(proof): Sender,
    Path((serial, format)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let issued = api.ca.certificate(proof, &read_serial(&serial)?).await?;
    let file = files::file(&files::bundle(&issued)?, &format, api.ca.now())?;
    let missing = || {
        Error::Missing(format!(
            "there is no file {format:?} of a certificate without its key"
        ))
    };
    Ok(files::attachment(&file.ok_or_else(missing)?))
}
