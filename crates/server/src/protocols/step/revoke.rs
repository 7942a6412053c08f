//! `/revoke`: by one-time token, or by the certificate itself.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_ca::Target;
use muster_ca::certificate::Serial;
use muster_ca::enrol::who::{Evidence, Proof};
use muster_pki::crl::Reason;
use serde::Serialize;

use super::Client;
use super::body::{Bounded, Fields};
use super::error::Failure;
use crate::Edge;
use crate::answer::json;

#[derive(Serialize)]
struct Done {
    status: &'static str,
}

pub(super) async fn revoke(
    State(edge): State<Edge>,
    client: Client,
    body: Bounded,
) -> Result<Response, Failure> {
    let fields = Fields::read(&body.0)?;
    if fields.serial.is_empty() {
        return Err(Failure::bad("missing serial"));
    }
    let serial = Serial::from_go_integer(&fields.serial)
        .ok_or_else(|| Failure::bad("'serial' is not a serial number"))?;
    let reason = u8::try_from(fields.reason_code).ok().and_then(Reason::from_code);
    let reason =
        reason.ok_or_else(|| Failure::bad("reasonCode is out of bounds: RFC 5280 has 0 to 6, 9 and 10"))?;
    if !fields.passive {
        return Err(Failure::not_implemented(
            "only passive revocation is there: put \"passive\": true",
        ));
    }
    let evidence = match (fields.ott.is_empty(), client.certificate) {
        (false, _) => Evidence::OneTimeToken(fields.ott.into_owned()),
        (true, Some(certificate)) => Evidence::ClientCertificate(certificate),
        (true, None) => return Err(Failure::bad("missing ott or client certificate")),
    };
    let proof = Proof {
        evidence,
        origin: client.origin,
        dry_run: false,
    };
    let done = edge
        .ca()
        .revoke(proof, Target::Certificate(serial), reason, &fields.reason)
        .await;
    done.map_err(Failure::revoking)?;
    Ok(json(StatusCode::OK, &Done { status: "ok" }))
}
