//! Provisioners: how a requester of the `step` protocol proves its right, and to what.

use jiff::Timestamp;

use crate::device::Kind;
use crate::error::{Error, Refusal};
use crate::pattern;

/// The most patterns of names that a provisioner has.
const MAX_PATTERNS: usize = 32;
/// The longest pattern, in bytes: as long as the longest DNS name.
const MAX_PATTERN: usize = 253;

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
    /// The names it may ask for, as patterns such as `site-*`; empty: any.
    pub names: Vec<String>,
    /// Whether it may replace the key of a device that has a living certificate.
    pub may_replace: bool,
    /// Since when.
    pub created: Timestamp,
}

impl Provisioner {
    /// Refuses profiles that it may not ask for.
    pub(crate) fn accept_profile(&self, profile: &str, kind: Kind, device: &str) -> Result<(), Refusal> {
        let mut allowed = self.profiles.iter();
        if allowed.any(|allowed| allowed == profile || allowed == kind.as_str()) {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "the provisioner {:?} may not ask for the profile {profile:?} that {device} has",
            self.name
        )))
    }

    /// Refuses names of devices and DNS names that it may not ask for.
    pub(crate) fn accept_name(&self, name: &str) -> Result<(), Refusal> {
        if self.names.is_empty() || self.names.iter().any(|allowed| pattern::matches(allowed, name)) {
            return Ok(());
        }
        let why = format!("the provisioner {:?} may not ask for the name {name}", self.name);
        Err(Refusal::new(why).fix(format!("its names are {}", self.names.join(", "))))
    }
}

/// Checks the patterns of a new provisioner.
pub(crate) fn check_names(patterns: &[String]) -> Result<(), Error> {
    if patterns.len() > MAX_PATTERNS {
        return Err(Error::Bad(format!(
            "a provisioner has at most {MAX_PATTERNS} patterns of names"
        )));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._*".contains(&byte);
    let bad = |text: &&String| text.is_empty() || text.len() > MAX_PATTERN || !text.bytes().all(allowed);
    match patterns.iter().find(bad) {
        Some(bad) => Err(Error::Bad(format!(
            "{bad:?} is no pattern of names: use lower-case letters, digits, '-', '.', '_' and '*' for any characters"
        ))),
        None => Ok(()),
    }
}
