//! What is filled in, and for whom.

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

    pub(super) fn connects(self) -> bool {
        match self {
            Self::Client | Self::Broker => true,
            Self::Server => false,
        }
    }

    pub(super) fn listens(self) -> bool {
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
#[error(
    "{0:?} cannot be used as a name: configuration takes letters, digits and - . _ : @ = , alone, 253 at most"
)]
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
    dir: String,
}

/// Where the files of a bundle are unless it is said.
const CERTS: &str = "/etc/mosquitto/certs";

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
            dir: CERTS.to_owned(),
        })
    }

    /// The directory in which a client's files are.
    ///
    /// # Errors
    /// Refuses a path with other characters than letters, digits and `/-._:@=,`.
    pub fn with_dir(mut self, dir: &str) -> Result<Self, BadName> {
        let parts = dir.split('/').filter(|part| !part.is_empty());
        let sound = |part: &str| checked(part.strip_prefix('.').unwrap_or(part)).is_ok();
        if !dir.starts_with('/') || !parts.into_iter().all(sound) {
            return Err(BadName(dir.chars().take(64).collect()));
        }
        self.dir = dir.trim_end_matches('/').to_owned();
        Ok(self)
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

    pub(super) fn fill(&self, template: &str) -> String {
        let broker = bracketed(&self.broker());
        let backend = self
            .ip_addresses
            .iter()
            .find(|ip| !ip.is_loopback())
            .or(self.ip_addresses.first());
        let value = |word: &str| match word {
            "NAME" => self.name.clone(),
            "DIR" => self.dir.clone(),
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
        fill(template, value)
    }
}

/// Every second part is a word between two signs. One pass: what is filled in is not looked at again.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
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
