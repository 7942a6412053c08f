//! The one error of this crate.

/// Why bytes were not what they should be, or could not be made. Every text is safe to show to a stranger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not the structure that was expected.
    #[error("not a valid {what}: {why}")]
    Malformed {
        /// What was expected, for example `certificate request`.
        what: &'static str,
        /// What is wrong, in words.
        why: String,
    },
    /// The key is of a kind or size that Muster does not accept.
    #[error("{0}")]
    Key(String),
    /// A signature does not verify under the key that should have made it.
    #[error("the signature of the {0} does not verify")]
    Signature(&'static str),
    /// A name breaks the rules of its type.
    #[error("{0}")]
    Name(String),
    /// A structure could not be encoded; it holds a value that its type does not allow.
    #[error("cannot encode the {0}")]
    Encode(&'static str),
}

impl Error {
    pub(crate) fn malformed(what: &'static str, why: impl ToString) -> Self {
        Self::Malformed {
            what,
            why: why.to_string(),
        }
    }
}
