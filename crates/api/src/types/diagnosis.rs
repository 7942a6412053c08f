//! Why a device does not connect, and the diagnosis listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a device does not connect: `GET /devices/{name}/diagnosis`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// The device.
    pub device: String,
    /// What is the matter, and what to do.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was seen of it at the diagnosis listener since the server was started, newest first.
    pub attempts: Vec<Attempt>,
    /// Until when the listener is on, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening_until: Option<String>,
}

/// What is the matter, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// In a word, such as `expired` or `other-ca`; `nothing-known` if nothing is.
    pub cause: String,
    /// In a sentence.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// A line for a shell that does it or begins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Somebody who came to the diagnosis listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// When.
    pub at: String,
    /// From where.
    pub address: String,
    /// What it called itself, by its certificate or its client id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `proved` (by the key of a certificate that this CA issued), `claimed`, `address` (it came from where the device comes
    /// from) or `unknown`.
    pub certainty: String,
    /// The serial number of the certificate that was shown, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The MQTT client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The server's name that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Of who is no device that is known: what is the matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// The diagnosis listener: `GET /diagnosis`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DiagnosisListener {
    /// Where a device connects to it when it is on, such as `ca.example.org:8884`.
    pub address: String,
    /// Until when it is on, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who came and is no device that is known, newest first, at most 50.
    pub strangers: Vec<Attempt>,
}

/// `POST /diagnosis`: switches the listener on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenDiagnosis {
    /// For how long, 1 to 60.
    #[serde(default = "ten")]
    pub minutes: u16,
}

fn ten() -> u16 {
    10
}
