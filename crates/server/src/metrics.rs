//! Counters for Prometheus. No secret and no device's name is ever a label.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::Edge;
use crate::answer::with_type;

const TEXT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// From what a kept answer takes to the longest that a request may take, in seconds.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// What is counted while requests run.
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    issued: Counter,
    renewed: Counter,
    revoked: Counter,
    refused: Family<RefusalLabels, Counter>,
    connections: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            issued: Counter::default(),
            renewed: Counter::default(),
            revoked: Counter::default(),
            refused: Family::default(),
            connections: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Counts one answered request. `route` is the pattern that matched, never the path that was sent.
    pub(crate) fn answered(
        &self,
        method: &Method,
        route: Option<MatchedPath>,
        status: StatusCode,
        took: Duration,
    ) {
        if let Some(deed) = route.as_ref().and_then(|route| Deed::of(method, route.as_str())) {
            self.count_deed(deed, status);
        }
        let route = Route(route);
        self.durations
            .get_or_create(&RouteLabels { route: route.clone() })
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels {
                route,
                status: class_of(status),
            })
            .inc();
    }

    fn count_deed(&self, deed: Deed, status: StatusCode) {
        if status.is_client_error() || status.is_server_error() {
            self.refused
                .get_or_create(&RefusalLabels {
                    class: refusal(status),
                })
                .inc();
            return;
        }
        match deed {
            Deed::Issue => self.issued.inc(),
            Deed::Renew => self.renewed.inc(),
            Deed::Revoke => self.revoked.inc(),
        };
    }

    /// Counts a connection until the guard goes.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
}

/// One open connection.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a route does to certificates, whatever its protocol.
#[derive(Clone, Copy)]
enum Deed {
    Issue,
    Renew,
    Revoke,
}

impl Deed {
    fn of(method: &Method, route: &str) -> Option<Self> {
        if *method != Method::POST {
            return None;
        }
        Some(match route.strip_prefix("/1.0").unwrap_or(route) {
            "/sign" | "/api/v1/certificates" | "/api/v1/enrol" => Self::Issue,
            "/renew" | "/re-sign" | "/rekey" => Self::Renew,
            "/revoke" | "/api/v1/certificates/{serial}/revoke" => Self::Revoke,
            _ => return None,
        })
    }
}

fn refusal(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unproven",
        403 => "forbidden",
        404 => "missing",
        409 => "conflict",
        400..=499 => "malformed",
        503 => "unavailable",
        _ => "internal",
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabels {
    authority: String,
    generation: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

/// The pattern of a route; sharing it costs no allocation. Unknown paths are one route.
#[derive(Clone, Debug)]
struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// `/metrics`.
pub(crate) fn router() -> Router<Edge> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(edge): State<Edge>) -> Response {
    let mut registry = Registry::default();
    register_running(&mut registry, edge.metrics());
    register_lists(&mut registry, &edge);
    match edge.ca().counts().await {
        Ok(counts) => register_counts(&mut registry, &counts),
        // What runs in memory is worth most when the store is in trouble.
        Err(error) => tracing::warn!(%error, "the store gave no counts"),
    }
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        tracing::error!("the metrics could not be written");
    }
    with_type(StatusCode::OK, TEXT, Bytes::from(text))
}

fn register_running(registry: &mut Registry, metrics: &Metrics) {
    let Metrics {
        requests,
        durations,
        issued,
        renewed,
        revoked,
        refused,
        connections,
    } = metrics;
    registry.register("muster_requests", "Requests answered", requests.clone());
    registry.register(
        "muster_request_duration_seconds",
        "Time from request to answer",
        durations.clone(),
    );
    registry.register(
        "muster_certificates_issued",
        "Certificates issued since start",
        issued.clone(),
    );
    registry.register(
        "muster_certificates_renewed",
        "Certificates renewed or re-keyed since start",
        renewed.clone(),
    );
    registry.register(
        "muster_certificates_revoked",
        "Certificates revoked since start",
        revoked.clone(),
    );
    let help = "Requests to issue, renew or revoke that were refused since start";
    registry.register("muster_requests_refused", help, refused.clone());
    registry.register("muster_connections", "Connections open", connections.clone());
}

fn register_lists(registry: &mut Registry, edge: &Edge) {
    let ends = Family::<IssuerLabels, Gauge>::default();
    let entries = Family::<IssuerLabels, Gauge>::default();
    for crl in edge.ca().crls() {
        let labels = IssuerLabels {
            authority: crl.authority.clone(),
            generation: crl.generation,
        };
        ends.get_or_create(&labels).set(crl.next_update.as_second());
        entries.get_or_create(&labels).set(gauge(crl.entries));
    }
    registry.register(
        "muster_crl_next_update_seconds",
        "When a CRL runs out, in Unix time",
        ends,
    );
    registry.register("muster_crl_entries", "Entries of a CRL", entries);
}

fn register_counts(registry: &mut Registry, counts: &muster_ca::ports::Counts) {
    let certificates = Family::<StatusLabels, Gauge>::default();
    for (status, count) in [
        ("active", counts.active),
        ("expiring", counts.expiring),
        ("expired", counts.expired),
        ("revoked", counts.revoked),
    ] {
        certificates
            .get_or_create(&StatusLabels { status })
            .set(gauge(count));
    }
    let help = "Certificates by status; those expiring within a week are active, too";
    registry.register("muster_certificates", help, certificates);
    let devices = Gauge::<i64>::default();
    devices.set(gauge(counts.all_devices()));
    registry.register("muster_devices", "Devices of any state", devices);
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
