//! Brokers, and whether each enforces what it has to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A broker and how it stands.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Broker {
    /// Its name, which is in its certificate.
    pub name: String,
    /// What it is: `mosquitto`, `rabbitmq`, `emqx`, `haproxy` or `gate`.
    pub program: String,
    /// The alternative names of its certificate.
    pub sans: Vec<String>,
    /// `proven`, `unconfirmed`, `silent`, `waiting` (its agent has not joined) or `retired`.
    pub state: String,
    /// Since when it is registered.
    pub created: String,
    /// What it was last proved to enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Enforced>,
    /// What went wrong with a later epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedEpoch>,
    /// When its agent was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<String>,
    /// When the first CRL that it holds runs out: from then on it refuses everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_next_update: Option<String>,
    /// When its certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// How many sessions it has, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// What is wrong, as its agent says; if it says nothing, why a later epoch is not enforced.
    #[serde(default)]
    pub wrong: Vec<String>,
    /// What it refused in the last day, at most 100 devices and topics, the newest first; none of a device whose rules were
    /// changed since.
    #[serde(default)]
    pub denials: Vec<Denied>,
    /// Its agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
}

/// A publish or a subscription that a broker did not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Denied {
    /// Who tried.
    pub device: String,
    /// On which topic.
    pub topic: String,
    /// How often.
    pub times: u64,
    /// When that was last heard of.
    pub last: String,
}

/// What a broker was proved to enforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enforced {
    /// The epoch's number.
    pub number: u64,
    /// The audit entry up to which everything is in it.
    pub sequence: u64,
    /// Since when.
    pub at: String,
    /// How long its agent took for it, in microseconds.
    pub micros: u64,
}

/// An epoch that a broker could not be proved to enforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedEpoch {
    /// The epoch's number.
    pub number: u64,
    /// When.
    pub at: String,
    /// What happened, and what the agent did about it.
    pub why: String,
}

/// `POST /brokers`: a broker to register.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddBroker {
    /// Its name; also a DNS name of its certificate if it is one.
    pub name: String,
    /// What it is: `mosquitto`, `rabbitmq`, `emqx`, `haproxy` or `gate`.
    pub program: String,
    /// The profile of its certificate: `server`, `broker` or a configured one.
    #[serde(default = "server")]
    pub profile: String,
    /// More names for its certificate.
    #[serde(default)]
    pub sans: Vec<String>,
}

fn server() -> String {
    "server".into()
}

/// What a broker's agent joins with. The token is good for a day and told this once.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JoinBroker {
    /// The broker's name.
    pub broker: String,
    /// What it is.
    pub program: String,
    /// SHA-256 over the root that vouches for the CA API, hexadecimal.
    pub fingerprint: String,
    /// The secret of the agent's enrolment token; empty after a dry run.
    pub token: String,
}

/// Whether the last change of a device is in force: `GET /devices/{name}/proof`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeviceProof {
    /// The device.
    pub device: String,
    /// Whether every broker in service was proved to enforce it; never if there is none.
    pub confirmed: bool,
    /// Each broker in service.
    pub brokers: Vec<BrokerProof>,
}

/// Whether one broker enforces a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerProof {
    /// The broker.
    pub name: String,
    /// `proven`, `unconfirmed`, `silent` or `waiting`.
    pub state: String,
    /// How long its agent took for it, in microseconds, if it is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// When its agent was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<String>,
}

/// The topic rules of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceAccess {
    /// Whether they are its own; else those of its profile.
    pub own: bool,
    /// Where it may publish.
    pub publish: Vec<String>,
    /// What it may receive.
    pub subscribe: Vec<String>,
}

/// `POST /devices/{name}/access`: topic rules of a device's own. What is left out it may not do at all.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAccess {
    /// Where it may publish.
    #[serde(default)]
    pub publish: Vec<String>,
    /// What it may receive.
    #[serde(default)]
    pub subscribe: Vec<String>,
}

/// Certificates with which a broker is tried. All are for the key of the request, and live for minutes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Trials {
    /// One of each kind.
    pub certificates: Vec<Trial>,
    /// The issuing CA's certificate, PEM.
    pub issuing: String,
    /// The root's, PEM; and those that come with every certificate, as in [`Issued`](crate::types::Issued).
    pub root: String,
}

/// One of [`Trials`].
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// `good`, `other` (of another name), `expired`, `early`, `server` (wrong usage) or `revocable`.
    pub what: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// PEM.
    pub pem: String,
}
