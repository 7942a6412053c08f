//! Provisioners, as `step` lists them before it makes a token.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use muster_ca::Error;
use muster_ca::profile::Profile;
use muster_ca::provisioner::Provisioner;
use muster_pki::jose::Jwk;
use muster_pki::time::format_go_duration;
use serde::Serialize;

use super::error::Failure;
use crate::Edge;
use crate::answer::json;

/// How many are on a page if nobody says, and at most.
const PAGE: (usize, usize) = (20, 100);
/// The profile whose limits are shown: what a provisioner issues unless a name is registered as a server.
const SHOWN: &str = "client";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    provisioners: Vec<Listed<'a>>,
    next_cursor: String,
}

/// The encrypted key has a route of its own; `step` asks there.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    key: Jwk,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Claims>,
    options: Options,
}

#[derive(Serialize)]
struct Options {}

/// Durations in Go's form: one that `step` cannot read kills the whole list.
#[derive(Serialize)]
struct Claims {
    #[serde(rename = "minTLSCertDuration")]
    min: String,
    #[serde(rename = "maxTLSCertDuration")]
    max: String,
    #[serde(rename = "defaultTLSCertDuration")]
    default: String,
    #[serde(rename = "enableSSHCA")]
    ssh: bool,
    #[serde(rename = "disableRenewal")]
    no_renewal: bool,
    #[serde(rename = "allowRenewalAfterExpiry")]
    late_renewal: bool,
    #[serde(rename = "disableSmallstepExtensions")]
    no_extension: bool,
}

impl Claims {
    fn of(profile: &Profile) -> Self {
        let (min, default, max) = profile.validity();
        Self {
            min: format_go_duration(min),
            max: format_go_duration(max),
            default: format_go_duration(default),
            ssh: false,
            no_renewal: !profile.renewable(),
            late_renewal: profile.renewable() && !profile.grace().is_zero(),
            no_extension: true,
        }
    }
}

/// A page, in the order in which provisioners were added.
pub(super) async fn list(State(edge): State<Edge>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let (from, limit) = page(query.as_deref().unwrap_or_default())?;
    let all = edge.ca().provisioners();
    let claims = || {
        edge.ca()
            .settings()
            .profiles
            .get(SHOWN)
            .ok()
            .map(|profile| Claims::of(profile))
    };
    let shown = all.iter().skip(from).take(limit);
    let provisioners = shown
        .map(|provisioner| listed(provisioner, claims()))
        .collect::<Result<_, _>>()?;
    let next = from.saturating_add(limit);
    let next_cursor = if next < all.len() {
        next.to_string()
    } else {
        String::new()
    };
    Ok(json(
        StatusCode::OK,
        &Page {
            provisioners,
            next_cursor,
        },
    ))
}

fn listed(provisioner: &Provisioner, claims: Option<Claims>) -> Result<Listed<'_>, Failure> {
    let key = serde_json::from_str(&provisioner.jwk).map_err(|why| {
        Error::Internal(format!(
            "the key of provisioner {:?} cannot be read: {why}",
            provisioner.name
        ))
    })?;
    Ok(Listed {
        kind: "JWK",
        name: &provisioner.name,
        key,
        claims,
        options: Options {},
    })
}

/// Where the page begins and how long it is. Cursors and numbers need no unescaping.
fn page(query: &str) -> Result<(usize, usize), Failure> {
    let (mut from, mut limit) = (0, PAGE.0);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "cursor" if !value.is_empty() => {
                from = value
                    .parse()
                    .map_err(|_| Failure::bad("the cursor is none that was given out here"))?;
            }
            "limit" if !value.is_empty() => {
                let wished: i64 = value
                    .parse()
                    .map_err(|_| Failure::bad("limit is not an integer"))?;
                limit = usize::try_from(wished)
                    .ok()
                    .filter(|wished| *wished > 0)
                    .unwrap_or(PAGE.0)
                    .min(PAGE.1);
            }
            _ => {}
        }
    }
    Ok((from, limit))
}

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
}

/// The private key, which only the provisioner's password opens.
pub(super) async fn encrypted_key(
    State(edge): State<Edge>,
    Path(kid): Path<String>,
) -> Result<Response, Failure> {
    let all = edge.ca().provisioners();
    let found = all.iter().find(|provisioner| provisioner.kid == kid);
    let key = found.and_then(|provisioner| provisioner.encrypted_key.as_deref());
    let key = key.ok_or_else(|| Failure::missing("there is no encrypted key of this name"))?;
    Ok(json(StatusCode::OK, &Key { key }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn pages_have_limits() {
        assert_eq!(page("").unwrap(), (0, 20));
        assert_eq!(page("cursor=&limit=100").unwrap(), (0, 100));
        assert_eq!(page("cursor=20&limit=1000").unwrap(), (20, 100));
        assert_eq!(page("limit=-1").unwrap(), (0, 20));
        assert!(page("limit=x").is_err());
        assert!(page("cursor=../..").is_err());
    }
}
