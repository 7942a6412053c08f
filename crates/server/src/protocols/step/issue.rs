//! `/sign`, `/renew` and `/rekey`: a certificate for a proof.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_ca::enrol::who::{Evidence, Proof};
use muster_ca::{Ask, Issued, Wish};
use muster_pki::pem;
use serde::Serialize;

use super::body::{Bounded, Fields};
use super::error::Failure;
use super::{Client, times};
use crate::Edge;
use crate::answer::json;

/// One-time token and request for a certificate. The busiest route there is.
pub(super) async fn sign(
    State(edge): State<Edge>,
    client: Client,
    body: Bounded,
) -> Result<Response, Failure> {
    let fields = Fields::read(&body.0)?;
    let csr = fields.csr()?;
    if fields.ott.is_empty() {
        return Err(Failure::bad("missing ott"));
    }
    let (not_before, not_after) = times::read(&fields.not_before, &fields.not_after, edge.ca().now())?;
    let wish = Wish {
        not_before,
        not_after,
        ..Wish::default()
    };
    let proof = Proof {
        evidence: Evidence::OneTimeToken(fields.ott.into_owned()),
        origin: client.origin,
        dry_run: false,
    };
    let issued = edge.ca().enrol(Ask { proof, csr, wish }).await?;
    answer(&edge, &issued)
}

/// A certificate for the same certificate, shown in the handshake or, if it has expired, by a token that its key signed.
pub(super) async fn renew(State(edge): State<Edge>, client: Client) -> Result<Response, Failure> {
    let evidence = match (client.certificate, client.bearer) {
        (Some(certificate), _) => Evidence::ClientCertificate(certificate),
        (None, Some(token)) => Evidence::SignedByCertificate(token),
        (None, None) => return Err(Failure::bad("missing client certificate")),
    };
    let issued = edge
        .ca()
        .renew(Proof {
            evidence,
            origin: client.origin,
            dry_run: false,
        })
        .await?;
    answer(&edge, &issued)
}

/// The same for another key.
pub(super) async fn rekey(
    State(edge): State<Edge>,
    client: Client,
    body: Bounded,
) -> Result<Response, Failure> {
    let Some(certificate) = client.certificate else {
        return Err(Failure::bad("missing client certificate"));
    };
    let csr = Fields::read(&body.0)?.csr()?;
    let proof = Proof {
        evidence: Evidence::ClientCertificate(certificate),
        origin: client.origin,
        dry_run: false,
    };
    let issued = edge.ca().rekey(proof, &csr).await?;
    answer(&edge, &issued)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    crt: &'a str,
    ca: &'a str,
    /// Leaf first, without the root.
    cert_chain: [&'a str; 2],
    tls_options: TlsOptions,
}

/// What step-ca suggests for servers that use the certificate; versions are numbers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsOptions {
    cipher_suites: [&'static str; 2],
    min_version: f32,
    max_version: f32,
    renegotiation: bool,
}

const TLS_OPTIONS: TlsOptions = TlsOptions {
    cipher_suites: [
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ],
    min_version: 1.2,
    max_version: 1.3,
    renegotiation: false,
};

fn answer(edge: &Edge, issued: &Issued) -> Result<Response, Failure> {
    let leaf = pem::encode(pem::CERTIFICATE, &issued.certificate().der)?;
    let issuing = edge.issuing_pem(issued.issuing())?;
    let answer = Answer {
        crt: &leaf,
        ca: &issuing,
        cert_chain: [&leaf, &issuing],
        tls_options: TLS_OPTIONS,
    };
    Ok(json(StatusCode::CREATED, &answer))
}
