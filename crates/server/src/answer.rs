//! Answers that every protocol gives in the same way.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// The media type of JSON.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type that `step` expects of PEM files.
pub(crate) const PEM: HeaderValue = HeaderValue::from_static("application/x-pem-file");

/// An error: every client gets one shape, and `step` prints the message.
#[derive(Serialize)]
struct Problem<'a> {
    status: u16,
    message: &'a str,
}

/// An error with its reason.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    json(
        status,
        &Problem {
            status: status.as_u16(),
            message,
        },
    )
}

/// An error of the authority, as programs and people are told of it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    /// What is wrong and why.
    pub(crate) message: String,
    /// What would help.
    pub(crate) fix: Option<String>,
}

impl Told {
    /// What is wrong and what would help.
    pub(crate) fn in_one_line(&self) -> String {
        match &self.fix {
            Some(fix) => format!("{}; {fix}", self.message),
            None => self.message.clone(),
        }
    }
}

impl From<muster_ca::Error> for Told {
    fn from(error: muster_ca::Error) -> Self {
        use muster_ca::Error as E;
        let told = |status, message| Self {
            status,
            message,
            fix: None,
        };
        match error {
            E::Bad(why) => told(StatusCode::BAD_REQUEST, why),
            E::Unproven(why) => told(StatusCode::UNAUTHORIZED, why),
            E::Refused(refusal) => Self {
                fix: refusal.fix,
                ..told(StatusCode::FORBIDDEN, refusal.why)
            },
            E::Missing(why) => told(StatusCode::NOT_FOUND, why),
            E::Conflict(why) => told(StatusCode::CONFLICT, why),
            E::Store(_) | E::Signer(_) => {
                tracing::error!(%error, "a request could not be served");
                told(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            E::Internal(why) => {
                tracing::error!(why, "a request met a defect");
                let message = "something is wrong inside Muster; its log says what";
                told(StatusCode::INTERNAL_SERVER_ERROR, message.into())
            }
        }
    }
}

/// The error as programs are told of it, which pages may take out again and say in their own form.
impl IntoResponse for Told {
    fn into_response(self) -> Response {
        let mut response = problem(self.status, &self.in_one_line());
        response.extensions_mut().insert(self);
        response
    }
}

/// JSON with a newline at the end, as `step` clients that read line by line expect.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Room for a certificate and its issuer, twice.
    let mut bytes = Vec::with_capacity(4096);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => {
            bytes.push(b'\n');
            with_type(status, JSON, bytes.into())
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            with_type(
                StatusCode::INTERNAL_SERVER_ERROR,
                JSON,
                Bytes::from_static(BROKEN.as_bytes()),
            )
        }
    }
}

const BROKEN: &str = "{\"status\":500,\"message\":\"the answer could not be written\"}\n";

/// A body of any type.
pub(crate) fn with_type(status: StatusCode, media_type: HeaderValue, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// What an unknown path gets.
pub(crate) async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// What a wrong method gets.
pub(crate) async fn wrong_method() -> Response {
    problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not answer this method",
    )
}
