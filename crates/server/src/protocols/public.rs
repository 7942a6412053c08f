//! The public listener: what verifiers fetch without a secret, over plain HTTP, since it is signed itself.

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use muster_ca::authority::{Authority, DEFAULT, Generation, INTERNAL};
use muster_ca::file_stem;

use crate::Edge;
use crate::answer::{PEM, not_found, problem, with_type};
use crate::published::{self, Form};

/// The routes.
pub(super) fn router() -> Router<Edge> {
    Router::new()
        .route("/crl", get(active_crl))
        .route("/1.0/crl", get(active_crl))
        .route("/crl/{file}", get(crl))
        .route("/ca/{file}", get(certificate))
        .route("/roots.pem", get(roots))
}

/// As `step` has it: the list of the issuing CA that issues.
async fn active_crl(State(edge): State<Edge>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    published::active_crl(&edge, query.as_deref(), &headers)
}

async fn crl(State(edge): State<Edge>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some((stem, form)) = split(&file, "crl") else {
        return not_found().await;
    };
    let found = edge
        .ca()
        .crls()
        .into_iter()
        .find(|crl| file_stem(&crl.authority, crl.generation) == stem);
    match found {
        Some(crl) => published::crl(&edge, &crl, form, stem, &headers),
        None => problem(StatusCode::NOT_FOUND, "there is no such CRL here"),
    }
}

async fn certificate(State(edge): State<Edge>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some((stem, form)) = split(&file, "crt") else {
        return not_found().await;
    };
    let authorities = edge.ca().authorities();
    let mut all = authorities
        .iter()
        .flat_map(|authority| authority.generations.iter().map(move |g| (authority, g)));
    let is_it = |(authority, generation): &(&Authority, &Generation)| {
        file_stem(&authority.name, generation.number) == stem
    };
    match all.find(is_it) {
        Some((_, generation)) => published::certificate(&generation.certificate, form, &headers),
        None => problem(StatusCode::NOT_FOUND, "there is no such authority here"),
    }
}

/// Every root that a fleet may trust, the default one first; agents' and operators' is none of them.
async fn roots(State(edge): State<Edge>) -> Response {
    let mut authorities = edge.ca().authorities();
    authorities.retain(|authority| authority.name != INTERNAL);
    authorities.sort_by_key(|authority| authority.name != DEFAULT);
    let roots = authorities.iter().filter_map(|authority| authority.root().ok());
    match published::pem_of(roots.map(|root| root.certificate.as_slice())) {
        Ok(pem) => with_type(StatusCode::OK, PEM, pem.into()),
        Err(error) => published::broken(&error),
    }
}

/// `default-1.crl` is DER, `default-1.pem` the same as text.
fn split<'a>(file: &'a str, der: &str) -> Option<(&'a str, Form)> {
    let (stem, extension) = file.rsplit_once('.')?;
    match extension {
        "pem" => Some((stem, Form::Pem)),
        other => (other == der).then_some((stem, Form::Der)),
    }
}
