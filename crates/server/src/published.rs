//! What relying parties fetch: CRLs and authority certificates, with what caches need to know.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, ETAG, EXPIRES, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use muster_ca::authority::DEFAULT;
use muster_ca::ports::Crl;

use crate::Edge;
use crate::answer::{PEM, problem, with_type};

/// How long a cache may keep a CRL without asking, in seconds: a revocation should not hide behind it for long, and
/// asking again costs little, thanks to the entity tag.
const CRL_MAX_AGE: i64 = 300;
/// How long a cache may keep an authority's certificate without asking, in seconds.
const CERTIFICATE_MAX_AGE: i64 = 3600;

const PKIX_CRL: HeaderValue = HeaderValue::from_static("application/pkix-crl");
const PKIX_CERT: HeaderValue = HeaderValue::from_static("application/pkix-cert");

/// How the bytes are dressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Der,
    Pem,
}

/// A CRL, or `304 Not Modified` if the asker has it.
pub(crate) fn crl(edge: &Edge, crl: &Arc<Crl>, form: Form, file: &str, headers: &HeaderMap) -> Response {
    let (media_type, tag, extension) = match form {
        Form::Der => (PKIX_CRL, "d", "crl"),
        Form::Pem => (PEM, "p", "pem"),
    };
    let entity = format!("\"{}-{}-{}{tag}\"", crl.authority, crl.generation, crl.number);
    let left = crl.next_update.as_second() - edge.ca().now().as_second();
    let caching = Caching {
        entity,
        max_age: left.clamp(0, CRL_MAX_AGE),
    };
    if caching.is_known(headers) {
        return caching.dress(not_modified());
    }
    let body = match form {
        Form::Der => Bytes::from_owner(Der(crl.clone())),
        Form::Pem => match edge.crl_pem(crl) {
            Ok(pem) => pem,
            Err(error) => return broken(&error),
        },
    };
    let mut response = caching.dress(with_type(StatusCode::OK, media_type, body));
    put(&mut response, LAST_MODIFIED, &http_date(crl.this_update));
    put(&mut response, EXPIRES, &http_date(crl.next_update));
    put(
        &mut response,
        CONTENT_DISPOSITION,
        &format!("attachment; filename=\"{file}.{extension}\""),
    );
    response
}

/// An authority's certificate, or `304 Not Modified` if the asker has it.
pub(crate) fn certificate(der: &[u8], form: Form, headers: &HeaderMap) -> Response {
    let tag = if form == Form::Pem { "p" } else { "d" };
    let fingerprint = muster_pki::key::sha256(der);
    let short: String = fingerprint[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let caching = Caching {
        entity: format!("\"{short}{tag}\""),
        max_age: CERTIFICATE_MAX_AGE,
    };
    if caching.is_known(headers) {
        return caching.dress(not_modified());
    }
    match form {
        Form::Der => caching.dress(with_type(StatusCode::OK, PKIX_CERT, Bytes::copy_from_slice(der))),
        Form::Pem => match pem_of([der]) {
            Ok(pem) => caching.dress(with_type(StatusCode::OK, PEM, pem.into())),
            Err(error) => broken(&error),
        },
    }
}

/// Certificates one after the other, PEM.
pub(crate) fn pem_of<'a>(
    certificates: impl IntoIterator<Item = &'a [u8]>,
) -> Result<String, muster_pki::Error> {
    certificates
        .into_iter()
        .map(|der| muster_pki::pem::encode(muster_pki::pem::CERTIFICATE, der))
        .collect()
}

/// What a defect of ours gets.
pub(crate) fn broken(error: &muster_pki::Error) -> Response {
    tracing::error!(%error, "an answer could not be made");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "something is wrong inside Muster; its log says what",
    )
}

/// Shares a list's bytes with every answer that sends them.
struct Der(Arc<Crl>);

impl AsRef<[u8]> for Der {
    fn as_ref(&self) -> &[u8] {
        &self.0.der
    }
}

struct Caching {
    entity: String,
    max_age: i64,
}

impl Caching {
    /// RFC 9110, section 13.1.2; a weak tag of ours compares as the strong one.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let sent = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut tags = sent.flat_map(|value| value.split(',')).map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.entity)
    }

    fn dress(&self, mut response: Response) -> Response {
        put(&mut response, ETAG, &self.entity);
        put(
            &mut response,
            CACHE_CONTROL,
            &format!("public, max-age={}", self.max_age),
        );
        response
    }
}

fn not_modified() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// RFC 9110, section 5.6.7.
fn http_date(at: Timestamp) -> String {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .unwrap_or_default()
}

/// The list of the default authority's issuing CA that issues, as `step` serves it: PEM if the query has a `pem` key.
pub(crate) fn active_crl(edge: &Edge, query: Option<&str>, headers: &HeaderMap) -> Response {
    let authorities = edge.ca().authorities();
    let default = authorities.iter().find(|authority| authority.name == DEFAULT);
    let active = default.and_then(|authority| authority.active().ok());
    let Some(list) = active.and_then(|generation| edge.ca().crl(DEFAULT, generation.number)) else {
        return problem(StatusCode::NOT_FOUND, "there is no CRL yet");
    };
    let pem = query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("pem")));
    crl(
        edge,
        &list,
        if pem { Form::Pem } else { Form::Der },
        "crl",
        headers,
    )
}
