//! Devices: anything with an identity.

use jiff::Timestamp;

use crate::error::Refusal;

/// The longest device name, in bytes; the limit of a common name (RFC 5280, appendix A).
const MAX_NAME: usize = 64;
/// This name and those that begin so belong to Muster: its own certificates, agents, canaries and tombstones.
const RESERVED: &str = "muster";
/// The file with a device's trust anchors is called so.
const ANCHORS: &str = "ca";
const RESERVED_PREFIXES: [&str; 2] = ["muster-", "muster."];

/// A device's name: the certificate's common name, the MQTT username and the MQTT client id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// Checks a name: 1 to 64 of lower-case letters, digits, `-`, `.`, `_`, starting with a letter or digit, and none
    /// of the authority's own.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let name = Self::well_formed(text)?;
        if text == ANCHORS {
            return Err(Refusal::new(format!(
                "the name {text:?} belongs to the file ca.crt beside a device's own"
            ))
            .fix("choose another"));
        }
        if is_reserved(text) {
            return Err(
                Refusal::new(format!("the name {text:?} is reserved for Muster itself"))
                    .fix("choose another"),
            );
        }
        Ok(name)
    }

    /// Whether it is one of Muster's own: its server's, an agent's, a canary's. They are not of the fleet.
    pub fn is_own(&self) -> bool {
        is_reserved(&self.0)
    }

    /// One of the authority's own names, which nobody can ask for.
    pub(crate) fn own(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A name as it was stored; the rules were applied when it came in.
    pub fn restored(text: String) -> Self {
        Self(text)
    }

    fn well_formed(text: &str) -> Result<Self, Refusal> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if text.len() <= MAX_NAME && starts_well && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Refusal::new(format!("{:?} cannot be a device's name", shorten(text))).fix(
                "use 1 to 64 lower-case letters, digits, '-', '.' and '_', starting with a letter or digit",
            ),
        )
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn is_reserved(text: &str) -> bool {
    text == RESERVED || RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_NAME + 1).collect()
}

/// What a device may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A site, a device, a service.
    Client,
    /// A broker, or another server.
    Server,
    /// A broker that also connects to others.
    Broker,
}

impl Kind {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Client, "client"),
        (Self::Server, "server"),
        (Self::Broker, "broker"),
    ];

    /// Reads `client`, `server` or `broker`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(kind, _)| *kind)
    }

    /// The word for it, which is also the name of its built-in profile.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("client", |(_, name)| name)
    }
}

/// Where a device is in its life. Expired is derived from its certificates, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Known, and may obtain a first (or, re-armed, another) identity.
    New,
    /// Has an identity.
    Active,
    /// Its certificates are on hold; can be resumed.
    Suspended,
    /// Shut out; only an operator can re-arm it.
    Revoked,
    /// Gone for good; its name stays taken.
    Retired,
}

impl State {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::New, "new"),
        (Self::Active, "active"),
        (Self::Suspended, "suspended"),
        (Self::Revoked, "revoked"),
        (Self::Retired, "retired"),
    ];

    /// Reads the word for it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(state, _)| *state)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("new", |(_, name)| name)
    }
}

/// One device as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// What it may be.
    pub kind: Kind,
    /// Where it is in its life.
    pub state: State,
    /// Whether it was new when it was suspended: resuming makes it new again.
    pub armed: bool,
    /// The profile its certificates follow.
    pub profile: String,
    /// An operator's words about it; may be empty.
    pub note: String,
    /// When it was first recorded.
    pub created: Timestamp,
    /// Rises by one with every change; a change that was prepared on an older version is refused.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn names_are_what_mqtt_and_file_systems_can_bear() {
        for good in ["a", "0", "site-001", "mqtt.ak-sg.com", "a_b", &"x".repeat(64)] {
            assert_eq!(DeviceName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            ".a",
            "_a",
            "A",
            "a/b",
            "a+b",
            "a#",
            "$sys",
            "a b",
            "a:b",
            "ä",
            "..",
            &"x".repeat(65),
        ] {
            assert!(DeviceName::parse(bad).is_err(), "{bad}");
        }
        for reserved in ["muster", "muster-ca", "muster.canary"] {
            assert!(DeviceName::parse(reserved).unwrap_err().why.contains("reserved"));
        }
        assert!(DeviceName::parse("ca").unwrap_err().why.contains("ca.crt"));
    }
}
