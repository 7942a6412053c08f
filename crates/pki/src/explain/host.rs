//! Whether a certificate is for a host (RFC 9525, section 6; RFC 5280, section 4.2.1.6).

use std::net::IpAddr;

use x509_cert::ext::pkix::name::GeneralName;

/// The four or sixteen octets of an `iPAddress`.
pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

/// Reads a host as it stands in a URL or a configuration: brackets around IPv6 and a final dot are taken off.
pub(super) fn parse_address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}

/// An address matches only an `iPAddress`, a name only a `dNSName`; the common name is never looked at.
pub(super) fn matches(names: &[GeneralName], host: &str) -> bool {
    if let Some(wanted) = parse_address(host) {
        return names.iter().any(|name| {
            if let GeneralName::IpAddress(octets) = name {
                address(octets.as_bytes()) == Some(wanted)
            } else {
                false
            }
        });
    }
    names.iter().any(|name| {
        if let GeneralName::DnsName(pattern) = name {
            dns_matches(pattern.as_str(), host)
        } else {
            false
        }
    })
}

/// A `*` stands for exactly one whole label, the leftmost.
fn dns_matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => !host.is_empty() && pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, want) in [
            ("mqtt.ak-sg.com", "MQTT.ak-sg.com.", true),
            ("*.ak-sg.com", "mqtt.ak-sg.com", true),
            ("*.ak-sg.com", "a.b.ak-sg.com", false),
            ("*.ak-sg.com", "ak-sg.com", false),
            ("*.ak-sg.com", ".ak-sg.com", false),
            ("m*.ak-sg.com", "mqtt.ak-sg.com", false),
            ("", "", false),
        ] {
            assert_eq!(dns_matches(pattern, host), want, "{pattern} {host}");
        }
    }
}
