//! What of Muster runs far from the server: the agent beside a broker, and the agent on a [device].
//!
//! The agent beside a broker hears what the broker is to enforce, checks it, writes it, makes the broker take it up, proves that it did with
//! connections of its own, and ends the sessions of those who were shut out:
//!
//! ```text
//!   CA ─► stream ─► epoch ─► check ─► write ─► signal ─► prove ─► drop ─► watch
//!                                       ▲                  │ not proved
//!                                       └──── roll back ◄──┘
//! ```
//!
//! It needs neither database nor web server, listens on loopback at most, and can issue nothing that another broker trusts. Whatever is
//! wrong, it never lets in who is shut out, and never shuts out who is not: what does not hold is not written, and what the
//! broker does not take up is taken back.
//!
//! Read [`run`] first, then [`enforce`]. [`broker`] is the trait that each kind of broker has an adapter for.

mod access;
pub mod broker;
mod ca;
pub mod check;
pub mod cli;
mod denials;
pub mod device;
mod disk;
pub mod enforce;
pub mod epoch;
pub mod files;
pub mod gate;
mod http;
pub mod identity;
mod kept;
pub mod listener;
pub mod local;
pub mod mqtt;
pub mod probe;
mod process;
mod report;
pub mod run;
mod status;
mod stream;
pub mod tombstone;
pub mod trial;

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why something did not work, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String, Option<u16>);

impl Error {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into(), None)
    }

    /// The same reason, and what follows from it.
    pub(crate) fn but(self, outcome: &str) -> Self {
        Self(format!("{outcome}: {}", self.0), self.1)
    }

    /// The same reason, and what went wrong after it.
    pub(crate) fn and(self, after: &Self) -> Self {
        Self(format!("{}; and then: {after}", self.0), self.1)
    }

    /// The HTTP status with which the CA refused, if it did.
    pub fn status(&self) -> Option<u16> {
        self.1
    }
}

impl From<muster_pki::Error> for Error {
    fn from(error: muster_pki::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<muster_api::Error> for Error {
    fn from(error: muster_api::Error) -> Self {
        let status = match &error {
            muster_api::Error::Refused(problem) => Some(problem.status),
            muster_api::Error::Unreachable(..)
            | muster_api::Error::Answer(..)
            | muster_api::Error::Usage(_) => None,
        };
        Self(error.to_string(), status)
    }
}
