//! `/api/v1`: Muster's own API, for the command line, the GUI and the agents.

mod audit;
mod certificates;
mod devices;
mod export;
mod operators;
mod search;
mod settings;
mod status;
mod tokens;
mod views;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use muster_api::types::Problem;
use muster_ca::Ca;

use crate::Edge;

/// What the routes know.
#[derive(Clone)]
pub struct Api {
    pub(crate) ca: Arc<Ca>,
    pub(crate) edge: Edge,
}

/// The routes of `/api/v1`.
pub fn router(edge: &Edge) -> Router {
    Router::new()
        .route("/status", get(status::status))
        .route("/expiries", get(search::expiries))
        .route("/search", get(search::search))
        .route("/certificates", get(certificates::list).post(certificates::issue))
        .route("/certificates/{serial}", get(certificates::show))
        .route("/certificates/{serial}/revoke", post(certificates::revoke))
        .route("/enrol", post(certificates::enrol))
        .route("/enrol/confirm", post(certificates::confirm))
        .route("/devices", get(devices::list).post(devices::create))
        .route("/devices/{name}", get(devices::show))
        .route("/devices/{name}/{act}", post(devices::act))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", delete(tokens::withdraw))
        .route("/tokens/{id}/unbind", post(tokens::unbind))
        .route("/authorities", get(settings::authorities))
        .route("/authorities/{name}/crl", get(settings::crl))
        .route("/authorities/{name}/rollover/{step}", post(settings::rollover))
        .route("/profiles", get(settings::profiles))
        .route(
            "/provisioners",
            get(settings::provisioners).post(settings::add_provisioner),
        )
        .route("/provisioners/{name}", delete(settings::remove_provisioner))
        .route("/operators", get(operators::list).post(operators::add))
        .route("/operators/{name}", delete(operators::remove))
        .route("/operators/{name}/invitation", post(operators::invite))
        .route(
            "/operators/{name}/key",
            post(operators::renew_key).delete(operators::revoke_key),
        )
        .route("/operators/{name}/password", post(operators::set_password))
        .route("/operators/{name}/role", post(operators::change_role))
        .route("/audit", get(audit::list))
        .route("/audit/verify", get(audit::verify))
        .with_state(Api {
            ca: edge.ca().clone(),
            edge: edge.clone(),
        })
}

type Answer<T> = Result<Json<T>, Failure>;

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

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }
}

impl From<muster_ca::Error> for Failure {
    fn from(error: muster_ca::Error) -> Self {
        use muster_ca::Error as E;
        let status = match &error {
            E::Bad(_) => StatusCode::BAD_REQUEST,
            E::Unproven(_) => StatusCode::UNAUTHORIZED,
            E::Refused(_) => StatusCode::FORBIDDEN,
            E::Missing(_) => StatusCode::NOT_FOUND,
            E::Conflict(_) => StatusCode::CONFLICT,
            E::Store(_) | E::Signer(_) => StatusCode::SERVICE_UNAVAILABLE,
            E::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(%error, "a request to /api/v1 failed");
        }
        let message = match error {
            E::Internal(_) => "something is wrong inside Muster; its log says what".into(),
            told @ (E::Bad(_)
            | E::Unproven(_)
            | E::Refused(_)
            | E::Missing(_)
            | E::Conflict(_)
            | E::Store(_)
            | E::Signer(_)) => told.to_string(),
        };
        Self { status, message }
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
        let failure = |why: JsonRejection| Failure {
            status: why.status(),
            message: why.body_text(),
        };
        read.map(|Json(value)| Self(value)).map_err(failure)
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
            .map_err(|why| Failure::bad(why.body_text()))
    }
}
