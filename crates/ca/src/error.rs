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

/// Which part of a wish a refusal is about: a form says it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The device's name.
    Name,
    /// The profile.
    Profile,
    /// How long it shall be valid.
    Validity,
    /// The alternative names.
    Sans,
    /// The key, or the request around it.
    Request,
}

/// A rule that the wish breaks, with what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}{}", fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
pub struct Refusal {
    /// What is refused and why.
    pub why: String,
    /// What would help.
    pub fix: Option<String>,
    /// Which part of the wish it is about, if it is about one.
    pub about: Option<About>,
}

impl Refusal {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            fix: None,
            about: None,
        }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl Error {
    /// Says which part of the wish is refused, if it is a refusal and does not say so itself.
    pub(crate) fn about(self, about: About) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(Refusal {
                about: refusal.about.or(Some(about)),
                ..refusal
            }),
            other @ (Self::Bad(_)
            | Self::Unproven(_)
            | Self::Missing(_)
            | Self::Conflict(_)
            | Self::Store(_)
            | Self::Signer(_)
            | Self::Internal(_)) => other,
        }
    }
}

/// What is said about a key that was revoked as compromised, whoever brings it.
fn compromised() -> Refusal {
    let why = "a certificate with this key was revoked as compromised, so the key gets no other";
    let refusal = Refusal::new(why).fix("make a new key and ask with that");
    Refusal {
        about: Some(About::Request),
        ..refusal
    }
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
            StoreError::NotIssuing(_) => Self::Conflict(format!("{error}; ask again")),
            StoreError::Changed(what) => Self::Conflict(format!(
                "{what} was changed by somebody else meanwhile; ask again"
            )),
            StoreError::Cursor => crate::list::foreign_cursor(),
            StoreError::Exists(what) => Self::Conflict(format!("{what} exists already")),
            other @ (StoreError::Full | StoreError::Unavailable(_)) => Self::Store(other),
            StoreError::Damaged(why) => Self::Internal(why),
        }
    }
}
