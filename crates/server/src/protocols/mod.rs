//! Protocols: each turns requests into questions to the authority, and its answers and errors into bytes of its own.

mod public;
pub mod rest;
mod step;

use axum::Router;
use axum::extract::DefaultBodyLimit;

use crate::answer::not_found;
use crate::{Edge, health, metrics, shell};

/// The longest body that `/api/v1` takes.
const REST_BODY: usize = 2 << 20;

/// What the CA API listener answers: port 9000.
pub fn api_service(edge: &Edge) -> Router {
    let routes = Router::new()
        .merge(step::router())
        .nest("/1.0", step::router())
        .merge(rest(edge, ""))
        .merge(health::liveness())
        .merge(health::readiness())
        .merge(metrics::router());
    shell::around(routes, edge)
}

/// What the public listener answers: port 9080.
pub fn public_service(edge: &Edge) -> Router {
    shell::around(public::router().merge(health::liveness()), edge)
}

/// What the socket in the data directory answers, and the command line when it runs the server's routes itself.
pub fn local_service(edge: &Edge) -> Router {
    let routes = rest(edge, "")
        .merge(health::liveness())
        .merge(health::readiness())
        .merge(metrics::router());
    shell::around(routes, edge)
}

/// `/api/v1` below a path, for every listener that serves operators. What is unknown there is told to a program, whatever the
/// listener tells a browser.
pub(crate) fn rest(edge: &Edge, below: &str) -> Router<Edge> {
    let routes = rest::router(edge).layer(DefaultBodyLimit::max(REST_BODY));
    Router::new().nest(
        &format!("{below}/api/v1"),
        routes.fallback(not_found).with_state(()),
    )
}
