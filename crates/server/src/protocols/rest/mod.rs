//! `/api/v1`: Muster's own API, for the command line, the GUI and the agents.

mod account;
mod agent;
mod audit;
mod brokers;
mod bundles;
mod certificates;
mod devices;
mod diagnosis;
mod export;
mod openapi;
mod operators;
mod revocations;
mod route;
mod search;
mod settings;
mod status;
mod tokens;
mod trials;
mod views;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use muster_api::types::{Done, Problem};
use muster_ca::Ca;

use self::route::Route;
pub use self::route::{Method, Needs};
use crate::Edge;
use crate::answer::Told;

/// What is read of somebody who proves with the body who they are: a token and a request have a tenth of it.
const STRANGERS_BODY: usize = 64 * 1024;

/// What the routes know.
#[derive(Clone)]
pub struct Api {
    pub(crate) ca: Arc<Ca>,
    pub(crate) edge: Edge,
}

/// Every route.
fn routes() -> impl Iterator<Item = &'static Route> {
    [
        status::ROUTES,
        search::ROUTES,
        certificates::ROUTES,
        bundles::ROUTES,
        revocations::ROUTES,
        devices::ROUTES,
        diagnosis::ROUTES,
        tokens::ROUTES,
        brokers::ROUTES,
        trials::ROUTES,
        agent::ROUTES,
        settings::ROUTES,
        operators::ROUTES,
        account::ROUTES,
        audit::ROUTES,
        openapi::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The routes of `/api/v1`.
pub fn router(edge: &Edge) -> Router {
    let api = Api {
        ca: edge.ca().clone(),
        edge: edge.clone(),
    };
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.build(&api));
    }
    router.with_state(api)
}

/// Every route: its method, its path below `/api/v1`, what it needs and what it does.
pub fn table() -> impl Iterator<Item = (Method, &'static str, Needs, &'static str)> {
    routes().map(|route| (route.method, route.path, route.needs, route.does))
}

type Answer<T> = Result<Json<T>, Failure>;

fn done(name: String, status: &str) -> Json<Done> {
    Json(Done {
        name,
        status: status.into(),
    })
}

/// An error as `/api/v1` says it.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(crate) fn unproven(message: &str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            message: message.to_owned(),
        }
    }

    pub(crate) fn too_often(wait: SignedDuration) -> Self {
        let seconds = wait.as_secs().max(1);
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: format!("too many attempts; try again in {seconds} seconds"),
        }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }
}

impl From<muster_ca::Error> for Failure {
    fn from(error: muster_ca::Error) -> Self {
        let told = Told::from(error);
        Self {
            status: told.status,
            message: told.in_one_line(),
        }
    }
}

impl From<muster_ca::Refusal> for Failure {
    fn from(refusal: muster_ca::Refusal) -> Self {
        muster_ca::Error::from(refusal).into()
    }
}

impl From<muster_pki::Error> for Failure {
    fn from(error: muster_pki::Error) -> Self {
        muster_ca::Error::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem {
            status: self.status.as_u16(),
            message: self.message,
        };
        (self.status, Json(problem)).into_response()
    }
}

/// A JSON body whose mistakes are said in JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Failure> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        read.map(|Json(value)| Self(value)).map_err(|why| not_read(&why))
    }
}

/// Query parameters whose mistakes are said in JSON.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(value)| Self(value))
            .map_err(|why| {
                Failure::bad(format!(
                    "the parameters behind the question mark are none of this call: {}; {DESCRIBED}",
                    cause(&why)
                ))
            })
    }
}

/// Where one finds what a call takes.
const DESCRIBED: &str = "GET /api/v1/openapi.json describes them";

/// What is wrong with a body, in our words.
fn not_read(why: &JsonRejection) -> Failure {
    let message = match why {
        JsonRejection::JsonDataError(_) => format!(
            "the body has not the members that this call takes: {}; {DESCRIBED}",
            cause(why)
        ),
        JsonRejection::JsonSyntaxError(_) => {
            format!("the body is no JSON: {}; send one JSON object", cause(why))
        }
        JsonRejection::MissingJsonContentType(_) => {
            "the body is not said to be JSON; send it with the header Content-Type: application/json".into()
        }
        // What else there is comes of reading it.
        JsonRejection::BytesRejection(_) | _ if why.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            "the body is too long; send less at once".into()
        }
        JsonRejection::BytesRejection(_) | _ => format!(
            "the body could not be read to its end: {}; send it again",
            cause(why)
        ),
    };
    Failure {
        status: why.status(),
        message,
    }
}

/// The innermost reason, which the framework's own words stand around.
fn cause(why: &dyn std::error::Error) -> String {
    let mut innermost = why;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}
