//! Configuration for brokers, bridges and proxies, with a certificate's own names filled in.
//!
//! Each text is complete and works as it stands with the paths it names: Mosquitto 2.0 and 2.1, EMQX 5 and HAProxy 2.6.
//! The texts are the files of the folder `snippet`; `@WORD@` in them is filled in here.

use std::net::IpAddr;

use serde::Serialize;

use crate::cert::Certificate;

/// What a certificate is for: the kinds of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// A site, a device or a service that connects to a broker.
    Client,
    /// A broker.
    Server,
    /// A broker that also connects to another one.
    Broker,
}

impl Use {
    /// What a certificate is for, read from its usages.
    pub fn of(certificate: &Certificate) -> Self {
        let usages = certificate.usages();
        match (usages.server, usages.client) {
            (true, true) => Self::Broker,
            (true, false) => Self::Server,
            (false, _) => Self::Client,
        }
    }

    fn connects(self) -> bool {
        match self {
            Self::Client | Self::Broker => true,
            Self::Server => false,
        }
    }

    fn listens(self) -> bool {
        match self {
            Self::Server | Self::Broker => true,
            Self::Client => false,
        }
    }
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Broker => "broker",
        })
    }
}

/// A name that cannot stand in a configuration file or a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be written into configuration: names have 1 to 253 letters, digits and - . _ : @ = ,")]
pub struct BadName(String);

/// Broker port of MQTT over TLS (IANA `secure-mqtt`).
pub const MQTTS_PORT: u16 = 8883;

/// Where a client's broker is while nobody has said: a name that can never exist (RFC 2606), so that nothing is sent astray.
const UNKNOWN_BROKER: &str = "mqtt.example.org";
/// Where HAProxy's broker is while nobody has said: an address that no machine has (RFC 5737).
const UNKNOWN_BACKEND: &str = "192.0.2.1";

/// What is filled in. Every name in it has been checked, so that none can smuggle a line into a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    name: String,
    kind: Use,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    broker_host: Option<String>,
    broker_port: u16,
}

impl Facts {
    /// For the certificate with this common name.
    ///
    /// # Errors
    /// Refuses names with other characters than letters, digits and `-._:@=,`.
    pub fn new(name: &str, kind: Use) -> Result<Self, BadName> {
        Ok(Self {
            name: checked(name)?,
            kind,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            broker_host: None,
            broker_port: MQTTS_PORT,
        })
    }

    /// The names and addresses in the certificate (`dNSName`, `iPAddress`), in its order. Those that nobody can connect to,
    /// such as `*.ak-sg.com`, are passed over.
    pub fn with_sans<'a>(
        mut self,
        dns_names: impl IntoIterator<Item = &'a str>,
        ip_addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        self.dns_names = dns_names
            .into_iter()
            .filter_map(|name| checked(name).ok())
            .collect();
        self.ip_addresses = ip_addresses.into_iter().collect();
        self
    }

    /// The broker that a client (or a broker that bridges) connects to, or the name and port under which clients reach this
    /// server.
    ///
    /// # Errors
    /// As [`Facts::new`].
    pub fn with_broker(mut self, host: &str, port: u16) -> Result<Self, BadName> {
        self.broker_host = Some(checked(host.trim_start_matches('[').trim_end_matches(']'))?);
        self.broker_port = port;
        Ok(self)
    }

    /// The common name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the certificate is for.
    pub fn kind(&self) -> Use {
        self.kind
    }

    /// Where clients connect to: as said, else what the server's certificate holds, else a name that does not exist.
    fn broker(&self) -> String {
        if let Some(host) = &self.broker_host {
            return host.clone();
        }
        if !self.kind.listens() || self.kind.connects() {
            return UNKNOWN_BROKER.to_owned();
        }
        self.dns_names
            .first()
            .cloned()
            .or_else(|| self.ip_addresses.first().map(IpAddr::to_string))
            .unwrap_or_else(|| self.name.clone())
    }

    fn fill(&self, template: &str) -> String {
        let broker = bracketed(&self.broker());
        let backend = self
            .ip_addresses
            .iter()
            .find(|ip| !ip.is_loopback())
            .or(self.ip_addresses.first());
        let value = |word: &str| match word {
            "NAME" => self.name.clone(),
            "PORT" => self.broker_port.to_string(),
            // The port of a broker that bridges is its own; the one that was named belongs to the broker above it.
            "LISTEN" if self.kind == Use::Broker => MQTTS_PORT.to_string(),
            "LISTEN" => self.broker_port.to_string(),
            "BROKER" => broker.clone(),
            "BROKER_NOTE" if broker == UNKNOWN_BROKER => {
                format!("\n# CHANGE THIS: {UNKNOWN_BROKER} stands for your broker's name.")
            }
            "BACKEND" => backend.map_or_else(|| UNKNOWN_BACKEND.to_owned(), |ip| bracketed(&ip.to_string())),
            "BACKEND_NOTE" if backend.is_none() => {
                format!(
                    "\n    # CHANGE THIS: {UNKNOWN_BACKEND} stands for the broker's own address, not for the name that leads here."
                )
            }
            _ => String::new(),
        };
        // Every second part is a word between two signs. One pass: what is filled in is not looked at again.
        let parts = template.split('@').enumerate();
        parts
            .map(|(index, part)| {
                if index % 2 == 0 {
                    part.to_owned()
                } else {
                    value(part)
                }
            })
            .collect()
    }
}

fn checked(name: &str) -> Result<String, BadName> {
    let allowed = |letter: char| letter.is_alphanumeric() || "-._:@=,".contains(letter);
    let sound = (1..=253).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with(['-', '.']);
    if sound {
        Ok(name.to_owned())
    } else {
        Err(BadName(name.chars().take(64).collect()))
    }
}

/// An IPv6 address before a port needs brackets.
fn bracketed(host: &str) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// A configuration and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// What it is, as a heading.
    pub title: &'static str,
    /// The file it belongs in, or who is to run it.
    pub file: &'static str,
    /// The text, with a newline at its end.
    pub text: String,
}

/// A Mosquitto listener on the broker's port that asks for certificates of this CA.
pub fn mosquitto_listener(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/mosquitto-listener.conf"))
}

/// The access list that goes with [`mosquitto_listener`]: everybody below their own name.
pub fn mosquitto_acl(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/mosquitto.acl"))
}

/// A Mosquitto bridge to the central broker.
pub fn mosquitto_bridge(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/mosquitto-bridge.conf"))
}

/// An EMQX 5 listener (HOCON) with identity from the certificate and everything else denied.
pub fn emqx_listener(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/emqx.conf"))
}

/// The access list that goes with [`emqx_listener`].
pub fn emqx_acl(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/emqx-acl.conf"))
}

/// HAProxy in front of the broker, passing TLS through.
pub fn haproxy_tcp(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/haproxy.cfg"))
}

/// Commands that show whether it works, to be run in the folder of the bundle.
pub fn try_it(facts: &Facts) -> String {
    facts.fill(if facts.kind.connects() {
        include_str!("snippet/try-client.txt")
    } else {
        include_str!("snippet/try-server.txt")
    })
}

/// Everything that a certificate of this kind can be used with, the test at the end.
pub fn for_kind(facts: &Facts) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    if facts.kind.listens() {
        snippets.extend([
            snippet(
                "Mosquitto: listener",
                "/etc/mosquitto/conf.d/muster.conf",
                mosquitto_listener(facts),
            ),
            snippet(
                "Mosquitto: who may do what",
                "/etc/mosquitto/muster.acl",
                mosquitto_acl(facts),
            ),
            snippet(
                "EMQX 5: listener",
                "/etc/emqx/emqx.conf, at its end",
                emqx_listener(facts),
            ),
            snippet("EMQX 5: who may do what", "/etc/emqx/acl.conf", emqx_acl(facts)),
            snippet(
                "HAProxy in front of the broker",
                "/etc/haproxy/haproxy.cfg, at its end",
                haproxy_tcp(facts),
            ),
        ]);
    }
    if facts.kind.connects() {
        let bridge = mosquitto_bridge(facts);
        snippets.push(snippet(
            "Mosquitto: bridge to the central broker",
            "/etc/mosquitto/conf.d/bridge.conf",
            bridge,
        ));
    }
    snippets.push(snippet(
        "Does it work?",
        "run in the folder with these files",
        try_it(facts),
    ));
    snippets
}

fn snippet(title: &'static str, file: &'static str, text: String) -> Snippet {
    Snippet { title, file, text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    fn server() -> Facts {
        let facts = Facts::new("mqtt.ak-sg.com", Use::Server).unwrap();
        facts.with_sans(["*.ak-sg.com", "mqtt.ak-sg.com"], ["10.0.80.50".parse().unwrap()])
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for kind in [Use::Client, Use::Server, Use::Broker] {
            for snippet in for_kind(&Facts::new("site-001", kind).unwrap()) {
                assert!(!snippet.text.contains('@'), "{}", snippet.text);
                assert!(snippet.text.ends_with('\n'));
            }
        }
        assert_eq!(for_kind(&server()).len(), 6);
    }

    #[test]
    fn names_are_this_certificates_own() {
        let text = mosquitto_listener(&server());
        assert!(
            text.contains("certfile /etc/mosquitto/certs/mqtt.ak-sg.com.crt\n"),
            "{text}"
        );
        let text = haproxy_tcp(&server());
        assert!(
            text.contains("server mqtt.ak-sg.com 10.0.80.50:8883 check"),
            "{text}"
        );
        assert!(!text.contains("CHANGE THIS"));
        let site = Facts::new("site-001", Use::Client).unwrap();
        assert!(mosquitto_bridge(&site).contains("CHANGE THIS"));
        let site = site.with_broker("mqtt.ak-sg.com", 8884).unwrap();
        let text = mosquitto_bridge(&site);
        assert!(
            text.contains("address mqtt.ak-sg.com:8884\n") && !text.contains("CHANGE THIS"),
            "{text}"
        );
    }

    /// What the old system's guide got wrong, or left out.
    #[test]
    fn known_mistakes_are_not_repeated() {
        let bridge = mosquitto_bridge(&Facts::new("site-001", Use::Client).unwrap());
        let topics: Vec<&str> = bridge.lines().filter(|line| line.starts_with("topic ")).collect();
        assert_eq!(
            topics,
            [
                "topic fleet/site-001/up/# out 1",
                "topic fleet/site-001/down/# in 1"
            ]
        );
        assert!(bridge.contains("\ncleansession false\n"));
        let emqx = emqx_listener(&server());
        let (listener, rest) = emqx.split_once("\nmqtt {").unwrap();
        assert!(!listener.contains("peer_cert_as") && rest.contains("peer_cert_as_clientid = cn"));
        assert!(emqx.contains("no_match = deny") && emqx.contains("reuse_sessions = false"));
        let mosquitto = mosquitto_listener(&server());
        assert!(mosquitto.contains("use_username_as_clientid true") && mosquitto.contains("\ncrlfile "));
    }

    #[test]
    fn a_name_cannot_smuggle_in_a_line() {
        for bad in [
            "",
            "a\nallow_anonymous true",
            "a b",
            "a/b",
            "-x",
            "..",
            "a\"b",
            "$x",
            "a#b",
            "a'b",
            "{x}",
            &"x".repeat(254),
        ] {
            assert!(Facts::new(bad, Use::Client).is_err(), "{bad}");
            assert!(server().with_broker(bad, 1).is_err(), "{bad}");
        }
        assert!(Facts::new("tenant:8fa3", Use::Client).is_ok());
        assert!(
            mosquitto_bridge(&Facts::new("a@NAME@b", Use::Client).unwrap())
                .contains("remote_clientid a@NAME@b\n")
        );
        let v6 = server().with_broker("[fd00::1]", 8883).unwrap();
        assert!(try_it(&v6).contains("muster cert inspect [fd00::1]:8883"));
    }
}
