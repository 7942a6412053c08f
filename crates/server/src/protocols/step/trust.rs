//! Roots and issuing CAs: what clients put into their trust stores.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use muster_ca::authority::{Authority, DEFAULT, Generation, INTERNAL, Stage, line};
use muster_pki::{key::sha256, pem};
use serde::Serialize;

use super::error::Failure;
use crate::Edge;
use crate::answer::{PEM, json, with_type};
use crate::published::pem_of;

#[derive(Serialize)]
struct Root {
    ca: String,
}

#[derive(Serialize)]
struct Certificates {
    crts: Vec<String>,
}

/// A root by its fingerprint: how `step ca bootstrap` begins, and how everybody gets the root that a token names.
pub(super) async fn root(
    State(edge): State<Edge>,
    Path(fingerprint): Path<String>,
) -> Result<Response, Failure> {
    let wanted = fingerprint.replace('-', "").to_ascii_lowercase();
    let authorities = edge.ca().authorities();
    let mut roots = authorities.iter().filter_map(|authority| authority.root().ok());
    let found = roots.find(|root| muster_pki::hex(&sha256(&root.certificate)) == wanted);
    let root = found.ok_or_else(|| {
        let shown: String = wanted.chars().take(64).collect();
        Failure::missing(format!("no root certificate here has the fingerprint {shown}"))
    })?;
    Ok(json(
        StatusCode::OK,
        &Root {
            ca: pem::encode(pem::CERTIFICATE, &root.certificate)?,
        },
    ))
}

/// The default authority's root, which vouches for this address, then those that follow it. 201, since other clients than `step` compare.
pub(super) async fn roots(State(edge): State<Edge>) -> Result<Response, Failure> {
    listed(&own_roots(&edge))
}

pub(super) async fn roots_pem(State(edge): State<Edge>) -> Result<Response, Failure> {
    as_pem(&own_roots(&edge))
}

/// The roots of every authority that a fleet may trust.
pub(super) async fn federation(State(edge): State<Edge>) -> Result<Response, Failure> {
    let mut authorities = edge.ca().authorities();
    authorities.retain(|authority| authority.name != INTERNAL);
    authorities.sort_by_key(|authority| authority.name != DEFAULT);
    listed(&roots_of(&authorities))
}

pub(super) async fn intermediates(State(edge): State<Edge>) -> Result<Response, Failure> {
    listed(&issuing_of(&edge)?)
}

pub(super) async fn intermediates_pem(State(edge): State<Edge>) -> Result<Response, Failure> {
    as_pem(&issuing_of(&edge)?)
}

fn own_roots(edge: &Edge) -> Vec<Generation> {
    roots_of(line(&edge.ca().authorities(), DEFAULT))
}

fn roots_of<'a>(authorities: impl IntoIterator<Item = &'a Authority>) -> Vec<Generation> {
    let roots = authorities
        .into_iter()
        .filter_map(|authority| authority.root().ok());
    roots.cloned().collect()
}

/// The default authority's issuing CAs, the one that issues first.
fn issuing_of(edge: &Edge) -> Result<Vec<Generation>, Failure> {
    let authorities = edge.ca().authorities();
    let default = authorities.iter().find(|authority| authority.name == DEFAULT);
    let mut issuing: Vec<_> = default
        .into_iter()
        .flat_map(Authority::issuing)
        .cloned()
        .collect();
    issuing.sort_by_key(|generation| generation.stage != Stage::Active);
    if issuing.is_empty() {
        return Err(Failure::not_implemented("there is no issuing CA"));
    }
    Ok(issuing)
}

fn listed(generations: &[Generation]) -> Result<Response, Failure> {
    let crts = generations
        .iter()
        .map(|generation| pem::encode(pem::CERTIFICATE, &generation.certificate));
    Ok(json(
        StatusCode::CREATED,
        &Certificates {
            crts: crts.collect::<Result<_, _>>()?,
        },
    ))
}

fn as_pem(generations: &[Generation]) -> Result<Response, Failure> {
    let text = pem_of(
        generations
            .iter()
            .map(|generation| generation.certificate.as_slice()),
    )?;
    Ok(with_type(StatusCode::OK, PEM, text.into()))
}
