//! How the authority says no.

use crate::ports::{SignerError, StoreError};

/// Why nothing was done. Each protocol translates this once; the text is for the caller and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is not right.
    #[error("{0}")]
    Bad(String),
    /// The proof is missing, wrong, spent or too old.
    #[error("{0}")]
    Unproven(String),
    /// The caller is known and may not have this.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// What was asked for contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The store cannot do it now; asking again later may help.
    #[error("the store cannot take this now: {0}")]
    Store(StoreError),
    /// A key cannot be used now.
    #[error("the authority's key cannot be used now: {0}")]
    Signer(#[from] SignerError),
    /// A defect or damage; the log says more.
    #[error("the authority met something that should not be: {0}")]
    Internal(String),
}

/// A rule that the wish breaks, with what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}{}", fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
pub struct Refusal {
    /// What is refused and why.
    pub why: String,
    /// What would help.
    pub fix: Option<String>,
}

impl Refusal {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            fix: None,
        }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// What is said about a key that was revoked as compromised, whoever brings it.
fn compromised() -> Refusal {
    Refusal::new("a certificate with this key was revoked as compromised, so the key gets no other")
        .fix("make a new key and ask with that")
}

impl From<muster_pki::Error> for Error {
    fn from(error: muster_pki::Error) -> Self {
        match error {
            muster_pki::Error::Key(why) => Refusal::new(why).into(),
            muster_pki::Error::Encode(what) => Self::Internal(format!("cannot encode the {what}")),
            other @ (muster_pki::Error::Malformed { .. }
            | muster_pki::Error::Signature(_)
            | muster_pki::Error::Name(_)) => Self::Bad(other.to_string()),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Spent => Self::Unproven("the token has been used already: get a new one".into()),
            StoreError::Compromised => compromised().into(),
            StoreError::Changed(what) => Self::Conflict(format!(
                "{what} was changed by somebody else meanwhile; ask again"
            )),
            StoreError::Exists(what) => Self::Conflict(format!("{what} exists already")),
            other @ (StoreError::Full | StoreError::Unavailable(_)) => Self::Store(other),
            StoreError::Damaged(why) => Self::Internal(why),
        }
    }
}
