//! Whether the server lives, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use muster_ca::Ca;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::Edge;
use crate::answer::json;

/// How long an answer is given again: a probe writes to the disk and signs, and anybody may ask.
const KEEP: Duration = Duration::from_secs(1);
/// A probe that takes longer than this has failed.
const LIMIT: Duration = Duration::from_secs(5);

/// What stands in the way of issuing, as it was found last.
#[derive(Default)]
pub(crate) struct Probe(Mutex<Option<(Instant, Arc<[String]>)>>);

impl Probe {
    /// What stands in the way now; empty if nothing does. However many ask, one looks.
    pub(crate) async fn problems(&self, ca: &Ca) -> Arc<[String]> {
        let mut last = self.0.lock().await;
        if let Some((at, problems)) = &*last
            && at.elapsed() < KEEP
        {
            return problems.clone();
        }
        let problems: Arc<[String]> = match timeout(LIMIT, ca.readiness()).await {
            Ok(readiness) => readiness.problems.into(),
            Err(_) => Arc::new([format!(
                "the store or the key did not answer within {} s",
                LIMIT.as_secs()
            )]),
        };
        *last = Some((Instant::now(), problems.clone()));
        problems
    }
}

/// `/healthz`: the process answers.
pub(crate) fn liveness() -> Router<Edge> {
    Router::new().route("/healthz", get(healthz))
}

/// `/readyz`: it can issue, and its lists are fresh.
pub(crate) fn readiness() -> Router<Edge> {
    Router::new().route("/readyz", get(readyz))
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
}

/// Reads as every other error, and lists what stands in the way.
#[derive(Serialize)]
struct NotReady<'a> {
    status: u16,
    message: String,
    problems: &'a [String],
}

async fn healthz() -> Response {
    json(StatusCode::OK, &Ready { status: "ok" })
}

async fn readyz(State(edge): State<Edge>) -> Response {
    verdict(&edge).await
}

/// 200 and `{"status":"ok"}`, or 503 and the problems.
pub(crate) async fn verdict(edge: &Edge) -> Response {
    let problems = edge.probe().problems(edge.ca()).await;
    if problems.is_empty() {
        return json(StatusCode::OK, &Ready { status: "ok" });
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let message = format!("not ready: {}", problems.join("; "));
    json(
        status,
        &NotReady {
            status: status.as_u16(),
            message,
            problems: &problems,
        },
    )
}
