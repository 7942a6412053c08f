//! Provisioners: how a requester of the `step` protocol proves its right, and to what.

use jiff::Timestamp;

use crate::device::Kind;

/// A provisioner as recorded. All of it is public but for what is inside `encrypted_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioner {
    /// Its name: the `iss` of its tokens.
    pub name: String,
    /// Its key's name: an RFC 7638 thumbprint.
    pub kid: String,
    /// Its public key, a JWK as JSON.
    pub jwk: String,
    /// Its private key as a compact JWE that only its password opens; `None` if the holder keeps it elsewhere.
    pub encrypted_key: Option<String>,
    /// The profiles it may ask for. A built-in one stands for every configured one of its kind: that a device follows it
    /// was an operator's choice.
    pub profiles: Vec<String>,
    /// Whether it may replace the key of a device that has a living certificate.
    pub may_replace: bool,
    /// Since when.
    pub created: Timestamp,
}

impl Provisioner {
    pub(crate) fn may_ask_for(&self, profile: &str, kind: Kind) -> bool {
        self.profiles
            .iter()
            .any(|allowed| allowed == profile || allowed == kind.as_str())
    }
}
