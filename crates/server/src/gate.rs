//! The gate of `/api/v1`: every route that needs a permission passes here before anything but a request's head is read, and
//! what the sender shows becomes a [`Proof`]. Every method of [`Ca`](muster_ca::Ca) that takes one judges it again.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use muster_ca::Proof;
use muster_ca::enrol::who::{Evidence, Origin};
use muster_ca::operator::Permission;
use zeroize::Zeroizing;

use crate::peer::{self, Peer};
use crate::protocols::rest::{Api, Failure};

const KEY_MISSING: &str = "this needs an API key: send it as 'Authorization: Bearer mk_…'";

/// The sender of a request that [`judge`] let through: a local user, or the holder of an API key.
#[derive(Clone)]
pub(crate) struct Sender(pub(crate) Proof);

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let judged = parts.extensions.get::<Self>().cloned();
        judged.ok_or_else(|| Failure::unproven(KEY_MISSING))
    }
}

/// Lets through who has the permission, whatever else the request holds.
pub(crate) async fn judge(
    State((api, permission)): State<(Api, Permission)>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    let mut proof = Proof {
        evidence: shown(&parts)?,
        origin: origin(&parts),
        dry_run: false,
    };
    api.ca.operator(proof.clone(), permission).await?;
    proof.dry_run = dry_run(&parts)?;
    parts.extensions.insert(Sender(proof));
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn shown(parts: &Parts) -> Result<Evidence, Failure> {
    match parts.extensions.get::<Peer>() {
        Some(Peer::Local { uid, trusted }) => Ok(Evidence::LocalUser {
            uid: *uid,
            trusted: *trusted,
        }),
        Some(Peer::Process { uid }) => Ok(Evidence::LocalUser {
            uid: *uid,
            trusted: true,
        }),
        Some(Peer::Remote { .. }) | None => {
            let key = bearer(parts).ok_or_else(|| Failure::unproven(KEY_MISSING))?;
            Ok(Evidence::ApiKey(Zeroizing::new(key.to_owned())))
        }
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::trim)
}

/// The holder of a certificate, shown in the TLS handshake.
pub(crate) struct Holder(pub(crate) Proof);

impl<S: Sync> FromRequestParts<S> for Holder {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let shown = match parts.extensions.get::<Peer>() {
            Some(Peer::Remote { certificate, .. }) => certificate.clone(),
            Some(Peer::Local { .. } | Peer::Process { .. }) | None => None,
        };
        let certificate = shown.ok_or_else(|| {
            Failure::unproven("this needs the device's certificate: show it in the TLS handshake")
        })?;
        Ok(Self(Proof {
            evidence: Evidence::ClientCertificate(certificate),
            origin: origin(parts),
            dry_run: dry_run(parts)?,
        }))
    }
}

/// The holder of a certificate that is to be renewed. One that has expired cannot be shown in a handshake: its key signs a token.
pub(crate) struct Renewing(pub(crate) Proof);

impl<S: Sync> FromRequestParts<S> for Renewing {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match (Holder::from_request_parts(parts, state).await, bearer(parts)) {
            (Ok(Holder(proof)), _) => Ok(Self(proof)),
            (Err(_), Some(token)) => Ok(Self(Proof {
                evidence: Evidence::SignedByCertificate(token.to_owned()),
                origin: origin(parts),
                dry_run: dry_run(parts)?,
            })),
            (Err(why), None) => Err(why),
        }
    }
}

/// Where a request came from, for the audit log.
pub(crate) struct From(pub(crate) Origin);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(origin(parts)))
    }
}

/// Whether the sender only wants to know what would be done.
pub(crate) struct DryRun(pub(crate) bool);

impl<S: Sync> FromRequestParts<S> for DryRun {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        Ok(Self(dry_run(parts)?))
    }
}

/// What only looks has parameters of its own. What changes something has this one, and a misspelt one must not do it.
fn dry_run(parts: &Parts) -> Result<bool, Failure> {
    match parts.uri.query() {
        _ if parts.method.is_safe() => Ok(false),
        None | Some("" | "dry_run=false") => Ok(false),
        Some("dry_run=true") => Ok(true),
        Some(_) => Err(Failure::bad(
            "a request that changes something has one parameter, dry_run=true",
        )),
    }
}

fn origin(parts: &Parts) -> Origin {
    match parts.extensions.get::<Peer>() {
        Some(Peer::Local { .. }) => Origin {
            via: "socket",
            source: "local".into(),
        },
        Some(Peer::Process { .. }) => Origin {
            via: "command",
            source: "local".into(),
        },
        Some(Peer::Remote { .. }) | None => Origin {
            via: "rest",
            source: peer::address(&parts.extensions).map_or_else(String::new, |address| address.to_string()),
        },
    }
}
