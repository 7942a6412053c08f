//! What every request passes, whatever its protocol: a name for the log, a limit on its time, a count, JSON if it fails, and what
//! keeps a browser from doing more with the answer than showing it.

use std::any::Any;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::{Instant, timeout};
use tower_http::catch_panic::CatchPanicLayer;

use crate::Edge;
use crate::answer::{Told, not_found, problem, wrong_method};
use crate::peer::Forwarded;

/// How long a request may take, its body included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest request id that is taken from a client, in bytes.
const MAX_ID: usize = 128;
/// The longest text of a framework's own error that is repeated, in bytes.
const MAX_TEXT: usize = 4096;

/// Programs read it; a browser shows it and loads nothing for it.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SMALLSTEP_ID: HeaderName = HeaderName::from_static("x-smallstep-id");

/// Puts the shell around a listener's routes.
pub(crate) fn around(routes: Router<Edge>, edge: &Edge) -> Router {
    let routes = routes
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(edge.clone());
    around_all(routes.layer(from_fn(in_time)), edge, NOTHING)
}

/// Lets no request take too long, and none end by a defect without an answer: what stands around it can put the [`Told`] of
/// either into its own form.
pub(crate) fn bounded<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(in_time))
}

/// Puts the shell around routes that are bounded and have an answer of their own for unknown paths. `policy` says what a
/// browser may do with an answer (CSP).
pub(crate) fn around_all(routes: Router, edge: &Edge, policy: HeaderValue) -> Router {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state((edge.clone(), policy), shell))
}

async fn shell(
    State((edge, policy)): State<(Edge, HeaderValue)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    Forwarded::note(&mut request, edge.settings());
    let mut response = next.run(request).await;
    let status = response.status();
    if (status.is_client_error() || status.is_server_error()) && !is_told(&response) {
        response = as_json(response).await;
    }
    response.headers_mut().insert(REQUEST_ID, id.clone());
    protect(response.headers_mut(), policy);
    let took = started.elapsed();
    let path = route.as_ref().map_or("none", MatchedPath::as_str);
    tracing::debug!(%method, path, status = status.as_u16(), took_us = took.as_micros(), ?id, "answered");
    edge.metrics().answered(&method, route, status, took);
    response
}

/// What is said already, such as how long an answer may be kept, stays as it is.
fn protect(headers: &mut HeaderMap, policy: HeaderValue) {
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

async fn in_time(request: Request, next: Next) -> Response {
    let answered = timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answered.unwrap_or_else(|_| too_slow().into_response())
}

fn too_slow() -> Told {
    let limit = REQUEST_TIMEOUT.as_secs();
    Told {
        status: StatusCode::REQUEST_TIMEOUT,
        message: format!("the request took longer than {limit} s, so nobody waits for it any more"),
        fix: Some(
            "look whether it was done before you send it again; if it stays slow, ask for less at once"
                .into(),
        ),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the payload over")]
fn panicked(payload: Box<dyn Any + Send>) -> http::Response<Body> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    tracing::error!(text, "a request ran into a defect");
    let told = Told {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: "something is wrong inside Muster; its log says what".into(),
        fix: Some("look whether it was done before you send it again".into()),
    };
    told.into_response()
}

/// `step` cannot print an error that is not JSON, and the framework's own ones are plain text.
async fn as_json(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let reason = if text.is_empty() {
        parts.status.canonical_reason().unwrap_or("error")
    } else {
        &text
    };
    let mut answer = problem(parts.status, reason);
    for (name, value) in &parts.headers {
        if ![CONTENT_TYPE, CONTENT_LENGTH].contains(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// Whether the body says what is wrong: JSON, or a page of the GUI.
fn is_told(response: &Response<Body>) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    is_json(response) || media_type.is_some_and(|text| text.starts_with(b"text/html"))
}

fn is_json(response: &Response<Body>) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    media_type.is_some_and(|text| {
        text.starts_with(b"application/json") || text.starts_with(b"application/problem+json")
    })
}

/// The client's, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(REQUEST_ID).or_else(|| headers.get(SMALLSTEP_ID));
    let fits = |id: &&HeaderValue| {
        (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    sent.filter(fits).cloned().unwrap_or_else(new_id)
}

/// The form of a UUID version 4 (RFC 9562, section 5.4). Names a request in logs and protects nothing, so that a counter
/// spread by keyed hashing will do.
fn new_id() -> HeaderValue {
    static KEYS: LazyLock<(RandomState, RandomState)> =
        LazyLock::new(|| (RandomState::new(), RandomState::new()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let spread = |keys: &RandomState| {
        let mut hasher = keys.build_hasher();
        hasher.write_u64(count);
        hasher.finish()
    };
    let (high, low) = (spread(&KEYS.0), spread(&KEYS.1));
    let text = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    );
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_clients_id_is_kept_if_it_is_one() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, text.parse().unwrap());
            request_id(&headers)
        };
        assert_eq!(with("abc-1"), "abc-1");
        assert_ne!(with("a b"), "a b");
        assert_ne!(with(&"x".repeat(129)), &"x".repeat(129));
    }

    #[test]
    fn a_new_id_has_the_form_of_a_uuid() {
        let id = new_id();
        let text = id.to_str().unwrap();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
        assert_ne!(new_id(), id);
    }

    #[tokio::test]
    async fn a_defect_is_a_500_in_json_that_tells_nothing() {
        async fn broken() -> Response {
            // As a panic does, but that nothing is printed.
            std::panic::resume_unwind(Box::new("a secret"))
        }
        let routes: Router = bounded(Router::new().route("/", axum::routing::get(broken)));
        let request = Request::new(Body::empty());
        let response = tower::ServiceExt::oneshot(routes, request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(is_json(&response));
        // A page says it in its own form.
        let told = response.extensions().get::<Told>().unwrap().clone();
        assert!(told.message.contains("its log says what") && told.fix.is_some());
        let body = to_bytes(response.into_body(), MAX_TEXT).await.unwrap();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains(&told.message) && !body.contains("secret"), "{body}");
    }
}
