//! The authority's errors as `step` reads them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use muster_ca::Error;

use crate::answer::problem;

/// A status and a reason. `step` prints the reason as it is.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    /// The request is not right. step-ca puts these words in front, and scripts look for them.
    pub(super) fn bad(why: impl std::fmt::Display) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: format!("The request could not be completed: {why}."),
        }
    }

    pub(super) fn missing(why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: why.into(),
        }
    }

    pub(super) fn not_implemented(why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            message: why.into(),
        }
    }

    pub(super) fn too_large(why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message: why.into(),
        }
    }

    fn forbidden(why: impl std::fmt::Display) -> Self {
        let message = format!("The request was forbidden by the certificate authority: {why}.");
        Self {
            status: StatusCode::FORBIDDEN,
            message,
        }
    }

    /// Translates for `/revoke`, where the only thing that can be in the way is an earlier revocation; step-ca calls it 400.
    pub(super) fn revoking(error: Error) -> Self {
        match error {
            Error::Conflict(why) => Self::bad(why),
            other @ (Error::Bad(_)
            | Error::Unproven(_)
            | Error::Refused(_)
            | Error::Missing(_)
            | Error::Store(_)
            | Error::Signer(_)
            | Error::Internal(_)) => other.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Bad(why) => Self::bad(why),
            Error::Unproven(why) => Self {
                status: StatusCode::UNAUTHORIZED,
                message: why,
            },
            Error::Refused(refusal) => Self::forbidden(refusal),
            Error::Missing(why) => Self::missing(why),
            Error::Conflict(why) => Self {
                status: StatusCode::CONFLICT,
                message: why,
            },
            Error::Store(_) | Error::Signer(_) => {
                tracing::error!(%error, "a request of step could not be served");
                Self {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    message: error.to_string(),
                }
            }
            Error::Internal(why) => {
                tracing::error!(why, "a request of step met a defect");
                let message = "something is wrong inside Muster; its log says what".to_owned();
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    message,
                }
            }
        }
    }
}

impl From<muster_pki::Error> for Failure {
    fn from(error: muster_pki::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, message } = self;
        // Quoted, since parts of it come from the client.
        tracing::debug!(status = status.as_u16(), ?message, "refused");
        problem(status, &message)
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        failure.into_response()
    }
}
