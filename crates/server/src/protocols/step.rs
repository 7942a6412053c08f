//! The protocol of `step` and step-ca, so that an unmodified `step` works.
//!
//! Where we differ on purpose, an unmodified `step` does not notice: errors say their reason, the encrypted key is not in
//! the list of provisioners, `health` means something, and what was never issued cannot be revoked.

mod body;
mod error;
mod issue;
mod provisioners;
mod revoke;
mod times;
mod trust;

use axum::Router;
use axum::extract::{FromRequestParts, RawQuery, State};
use axum::response::Response;
use axum::routing::{any, get, post};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use muster_ca::enrol::who::Origin;
use serde::Serialize;

use crate::answer::{json, not_found};
use crate::health::verdict;
use crate::peer::{self, Peer};
use crate::protocols::step::error::Failure;
use crate::{Edge, published};

/// The routes, for `/` and for `/1.0`.
pub(super) fn router() -> Router<Edge> {
    Router::new()
        .route("/version", get(version))
        .route("/health", get(health))
        .route("/root/{fingerprint}", get(trust::root))
        .route("/roots", get(trust::roots))
        .route("/roots.pem", get(trust::roots_pem))
        .route("/intermediates", get(trust::intermediates))
        .route("/intermediates.pem", get(trust::intermediates_pem))
        .route("/federation", get(trust::federation))
        .route("/provisioners", get(provisioners::list))
        .route(
            "/provisioners/{kid}/encrypted-key",
            get(provisioners::encrypted_key),
        )
        .route("/sign", post(issue::sign))
        .route("/renew", post(issue::renew))
        .route("/re-sign", post(issue::renew))
        .route("/rekey", post(issue::rekey))
        .route("/revoke", post(revoke::revoke))
        .route("/crl", get(crl))
        .route("/sign-ssh", post(no_ssh))
        .route("/ssh/{*rest}", any(ssh))
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

async fn version() -> Response {
    json(
        StatusCode::OK,
        &Version {
            version: env!("CARGO_PKG_VERSION"),
        },
    )
}

async fn health(State(edge): State<Edge>) -> Response {
    verdict(&edge).await
}

async fn crl(State(edge): State<Edge>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    published::active_crl(&edge, query.as_deref(), &headers)
}

async fn ssh(method: http::Method) -> Response {
    // What step-ca answers with SSH switched off: nothing to list, nothing that could be done.
    if method == http::Method::POST {
        no_ssh().await
    } else {
        not_found().await
    }
}

async fn no_ssh() -> Response {
    Failure::not_implemented("this authority does not issue SSH certificates").into()
}

/// What the transport knows of the client.
struct Client {
    origin: Origin,
    certificate: Option<Vec<u8>>,
    bearer: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let header = parts
            .headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = header
            .and_then(|text| text.split_once(' '))
            .filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let bearer = bearer.map(|(_, token)| token.trim().to_owned());
        let address = peer::address(&parts.extensions);
        let source = address.map_or_else(String::new, |address| address.to_string());
        let certificate = match parts.extensions.remove::<Peer>() {
            Some(Peer::Remote { certificate, .. }) => certificate,
            Some(Peer::Local { .. } | Peer::Process { .. }) | None => None,
        };
        Ok(Self {
            origin: Origin { via: "step", source },
            certificate,
            bearer,
        })
    }
}
