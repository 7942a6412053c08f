//! What of Muster runs far from the server, without a database or a web server: the agent [beside] a broker, the agent on a [device],
//! and its [mqtt] client. The two agents know nothing of each other.
//!
//! For the first read [`beside::run`], then [`beside::enforce`]; for the second [`device::files`], which says what lies on the disk,
//! then [`device::enrol`], [`device::renew`] and [`device::run`].

pub mod beside;
mod ca;
pub mod cli;
pub mod device;
mod disk;
pub mod mqtt;
pub mod pair;

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why something did not work, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String, Kind);

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was given cannot be used.
    Usage,
    /// What it is about is not there.
    Missing,
    /// Somebody else is at work where this was to be done.
    Busy,
    /// The CA refused, with this HTTP status.
    Refused(u16),
    /// The CA did not answer.
    Unreachable,
    /// Anything else.
    Failed,
}

impl Error {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into(), Kind::Failed)
    }

    /// What was given cannot be used.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self(what.into(), Kind::Usage)
    }

    /// What it is about is not there.
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self(what.into(), Kind::Missing)
    }

    /// Somebody else is at work where this was to be done.
    pub(crate) fn busy(what: impl Into<String>) -> Self {
        Self(what.into(), Kind::Busy)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.1
    }

    /// The same reason, and what follows from it.
    pub(crate) fn but(self, outcome: &str) -> Self {
        Self(format!("{outcome}: {}", self.0), self.1)
    }

    /// The same reason, and what went wrong after it.
    pub(crate) fn and(self, after: &str) -> Self {
        Self(format!("{}; {after}", self.0), self.1)
    }

    /// The HTTP status with which the CA refused, if it did.
    pub fn status(&self) -> Option<u16> {
        match self.1 {
            Kind::Refused(status) => Some(status),
            Kind::Usage | Kind::Missing | Kind::Busy | Kind::Unreachable | Kind::Failed => None,
        }
    }
}

impl From<muster_pki::Error> for Error {
    fn from(error: muster_pki::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<muster_api::Error> for Error {
    fn from(error: muster_api::Error) -> Self {
        let kind = match &error {
            muster_api::Error::Refused(problem) => Kind::Refused(problem.status),
            muster_api::Error::Usage(_) => Kind::Usage,
            muster_api::Error::Unreachable(..) => Kind::Unreachable,
            muster_api::Error::Answer(..) => Kind::Failed,
        };
        Self(error.to_string(), kind)
    }
}
