//! Certificates as pages show them, and as files.

use jiff::Timestamp;
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device;
use muster_pki::bundle::Bundle;
use muster_pki::crl::Reason;
use muster_pki::snippet::{MQTTS_PORT, Snippet};
use serde::Deserialize;

use crate::lists::rows;
use crate::web::components::{Badge, Field};
use crate::web::fault::Fault;
use crate::web::form::escape;
use crate::web::visit::Visit;

/// What a certificate lets its holder do, as words that complete "may".
pub(in crate::web) fn may(kind: device::Kind) -> &'static str {
    match kind {
        device::Kind::Client => "identify itself to a broker as a client",
        device::Kind::Server => "identify itself to its clients as the broker it is",
        device::Kind::Broker => {
            "identify itself to its clients as a broker, and to another broker as a client"
        }
    }
}

/// What a profile's certificates are for.
pub(in crate::web) fn may_by_profile(visit: &Visit, profile: &str) -> &'static str {
    let profile = visit.ca().settings().profiles.get(profile);
    profile.map_or("", |profile| may(profile.kind()))
}

/// The status at a glance.
pub(in crate::web) fn status(certificate: &Certificate, now: Timestamp) -> Badge {
    Badge::status(rows::status_word(certificate, now))
}

/// What is on hold can be revoked for good.
pub(in crate::web) fn may_be_revoked(certificate: &Certificate) -> bool {
    match certificate.status {
        Status::Active => true,
        Status::Revoked { reason, .. } => reason == Reason::CertificateHold,
    }
}

/// A serial number in groups of four digits, which people can compare.
pub(in crate::web) fn grouped(serial: &Serial) -> String {
    let hex: Vec<char> = serial.hex().chars().collect();
    let groups: Vec<String> = hex.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

/// A serial number from a path.
pub(in crate::web) fn serial(text: &str) -> Result<Serial, Fault> {
    Serial::from_hex(text).ok_or_else(|| Fault::missing("this is no serial number"))
}

/// The broker that configuration shall name, as a query has it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::web) struct Broker {
    broker: String,
    port: String,
}

/// Configuration for a certificate, and the two fields that it is filled from.
pub(in crate::web) struct Configuration {
    pub(in crate::web) broker: Field,
    pub(in crate::web) port: Field,
    pub(in crate::web) snippets: Vec<Snippet>,
    /// What links to files carry on.
    pub(in crate::web) query: String,
}

impl Broker {
    /// The bundle with the broker's name in its configuration; what is no name is refused.
    pub(in crate::web) fn fill(&self, bundle: &Bundle) -> Result<Bundle, (&'static str, String)> {
        let port = match self.port.trim() {
            "" => MQTTS_PORT,
            text => {
                let port = text.parse().ok().filter(|port| *port > 0);
                port.ok_or(("port", "a port is a number from 1 to 65535".to_owned()))?
            }
        };
        match self.broker.trim() {
            "" => Ok(bundle.clone()),
            host => bundle
                .for_broker(host, port)
                .map_err(|why| ("broker", why.to_string())),
        }
    }

    pub(in crate::web) fn configuration(&self, bundle: &Bundle) -> Configuration {
        let filled = self.fill(bundle);
        let why = |field: &str| {
            let refused = filled.as_ref().err().filter(|(name, _)| *name == field);
            refused.map(|(_, why)| why.as_str())
        };
        Configuration {
            broker: Field::text("broker", "Broker")
                .value(&self.broker)
                .hint("The name or address under which clients reach it, such as mqtt.ak-sg.com.")
                .verbatim()
                .refused(why("broker")),
            port: Field::text("port", "Port")
                .value(if self.port.is_empty() { "8883" } else { &self.port })
                .with("inputmode", "numeric")
                .with("autocomplete", "off")
                .refused(why("port")),
            query: format!("?broker={}&port={}", escape(&self.broker), escape(&self.port)),
            snippets: filled.as_ref().unwrap_or(bundle).snippets(),
        }
    }
}
