//! Which alternative names a profile lets into a certificate.

use std::net::IpAddr;

use muster_pki::name::San;

use crate::pattern;

/// The longest pattern, in bytes: as long as the longest name.
const MAX_PATTERN: usize = 253;

/// One kind of name that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SanRule {
    /// Every name of a type.
    Any(SanType),
    /// The names of a type that a pattern fits.
    Pattern(SanType, String),
    /// The addresses of a network.
    Network(IpAddr, u8),
}

/// A type of alternative name, as [`San`] has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SanType {
    Dns,
    Ip,
    Email,
    Uri,
}

impl SanType {
    pub(super) const ALL: [(Self, &'static str); 4] = [
        (Self::Dns, "dns"),
        (Self::Ip, "ip"),
        (Self::Email, "email"),
        (Self::Uri, "uri"),
    ];

    fn of(san: &San) -> Self {
        match san {
            San::Dns(_) => Self::Dns,
            San::Ip(_) => Self::Ip,
            San::Email(_) => Self::Email,
            San::Uri(_) => Self::Uri,
        }
    }

    fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.map_or("dns", |(_, word)| word)
    }
}

impl SanRule {
    /// Reads `dns`, `dns:*.example.org`, `ip:10.0.0.0/8`, `email:*@example.org`, `uri:urn:*`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (word, what) = match text.split_once(':') {
            Some((word, what)) => (word, Some(what)),
            None => (text, None),
        };
        let found = SanType::ALL.iter().find(|(_, known)| *known == word);
        let Some((kind, _)) = found else {
            return Err(format!(
                "{text:?} begins with no type of name: choose dns, ip, email or uri, such as dns:*.example.org"
            ));
        };
        match (kind, what) {
            (_, None) => Ok(Self::Any(*kind)),
            (SanType::Ip, Some(network)) => read_network(network)
                .ok_or_else(|| format!("{text:?} is no network: write it as ip:10.0.0.0/8 or ip:10.0.0.1")),
            (_, Some(what)) if what.is_empty() || what.len() > MAX_PATTERN || !is_plain(what) => Err(
                format!("{text:?} has no pattern of 1 to {MAX_PATTERN} visible ASCII characters"),
            ),
            // DNS names are kept in lower case.
            (SanType::Dns, Some(what)) => Ok(Self::Pattern(SanType::Dns, what.to_ascii_lowercase())),
            (SanType::Email | SanType::Uri, Some(what)) => Ok(Self::Pattern(*kind, what.to_owned())),
        }
    }

    pub(super) fn lets_in(&self, san: &San) -> bool {
        match (self, san) {
            (Self::Any(kind), _) => *kind == SanType::of(san),
            (Self::Network(network, bits), San::Ip(address)) => within(*address, *network, *bits),
            (Self::Pattern(kind, what), San::Dns(text) | San::Email(text) | San::Uri(text)) => {
                *kind == SanType::of(san) && pattern::matches(what, text)
            }
            (Self::Network(..), San::Dns(_) | San::Email(_) | San::Uri(_))
            | (Self::Pattern(..), San::Ip(_)) => false,
        }
    }
}

impl std::fmt::Display for SanRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any(kind) => f.write_str(kind.as_str()),
            Self::Pattern(kind, what) => write!(f, "{}:{what}", kind.as_str()),
            Self::Network(network, bits) => write!(f, "ip:{network}/{bits}"),
        }
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_network(text: &str) -> Option<SanRule> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
    (bits <= most).then_some(SanRule::Network(address, bits))
}

/// Whether the first bits of both are the same; an IPv4 address lies in no IPv6 network.
fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let differ = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    differ.leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn rules_let_in_what_they_say() {
        for (rule, name, wanted) in [
            ("dns", "mqtt.example.org", true),
            ("dns", "10.0.0.1", false),
            ("dns:*.Example.org", "mqtt.example.org", true),
            ("dns:*.example.org", "mqtt.example.com", false),
            ("dns:*.example.org", "someone@x.example.org", false),
            ("ip", "::1", true),
            ("ip:10.0.0.0/8", "10.255.0.1", true),
            ("ip:10.0.0.0/8", "11.0.0.1", false),
            ("ip:10.0.80.50", "10.0.80.50", true),
            ("ip:10.0.80.50", "10.0.80.51", false),
            ("ip:0.0.0.0/0", "192.0.2.1", true),
            ("ip:0.0.0.0/0", "::1", false),
            ("ip:2001:db8::/32", "2001:db8:1::1", true),
            ("ip:2001:db8::/32", "2001:db9::1", false),
            ("email:*@example.org", "a@example.org", true),
            ("uri:urn:dev:*", "urn:dev:7", true),
            ("uri:urn:dev:*", "urn:other:7", false),
        ] {
            let name = San::parse(name).unwrap();
            assert_eq!(
                SanRule::parse(rule).unwrap().lets_in(&name),
                wanted,
                "{rule} {name:?}"
            );
        }
        for bad in [
            "",
            "x",
            "dns:",
            "dns: a",
            "dns:ä",
            "ip:",
            "ip:10.0.0.0/33",
            "ip:x",
            "ip:10.0.0.0/",
            "DNS",
        ] {
            assert!(SanRule::parse(bad).is_err(), "{bad}");
        }
    }
}
