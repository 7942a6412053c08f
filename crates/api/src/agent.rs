//! What travels between the CA and the agent beside a broker, under `/api/v1/agent`. The agent shows the certificate that the
//! internal authority gave it.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /enrol` | [`EnrolRequest`](crate::types::EnrolRequest) | [`Issued`](crate::types::Issued): the agent's own certificate |
//! | `POST /agent/renew` | [`Request`] | `Issued`: the same, young again; an expired one by a bearer token that its key signed |
//! | `POST /agent/certificate` | [`Request`] | `Issued`: the broker's certificate |
//! | `POST /agent/canary` | [`Request`] | `Issued`: a good canary's, for minutes |
//! | `GET /agent/stream?after=SEQUENCE&number=NUMBER` | | events `epoch`, each with a signed [`Epoch`]; a comment every second |
//! | `GET /agent/plan` | | [`Plan`]: when a device is to renew; `POST /agent/renew` renews any device's certificate |
//! | `GET /time?nonce=NONCE` | | [`Time`], signed over the nonce; anybody may ask |
//! | `GET /agent/crl/{name}` | | the newest CRL, DER |
//! | `POST /agent/report` | [`Report`] | [`Heard`] |
//!
//! Agents may be two releases older than the CA. So nothing that is here changes its meaning or goes; what is added has a
//! default, and is passed over by who does not know it. An epoch that who does not know an addition would misread has a higher
//! [`Epoch::format`], and an older agent refuses it aloud.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a signed epoch (`typ` in its JWS header).
pub const EPOCH_TYPE: &str = "muster-epoch";
/// The highest [`Epoch::format`] that is understood here.
pub const EPOCH_FORMAT: u32 = 1;

/// What `broker add` writes and an agent joins with.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// The broker's name.
    pub broker: String,
    /// What the broker is, such as `mosquitto`.
    pub program: String,
    /// The address of the CA API, such as `https://ca.example.org:9000`.
    pub url: String,
    /// SHA-256 over the root that vouches for that address, hexadecimal.
    pub fingerprint: String,
    /// The secret of the agent's enrolment token.
    pub token: String,
}

/// When the holder of a certificate is to renew it. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// When; at once, if that is over.
    pub renew_at: String,
    /// From when on who asks once a day, and then either renews or goes, is to renew.
    pub renew_from: String,
    /// After how many seconds to ask again at the latest.
    pub poll_seconds: u64,
    /// What the time is.
    pub now: String,
}

/// What the time is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Time {
    /// A compact JWS over the nonce and the time, by a key that does nothing else; its chain is in `x5c`.
    pub beacon: String,
}

/// A certificate request of an agent; its names do not matter.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The certificate request, PEM.
    pub csr: String,
}

/// What a broker has to enforce. It travels as a compact JWS whose `x5c` holds the internal authority's issuing CA and whose
/// `typ` is [`EPOCH_TYPE`]; an agent takes one only for its own broker and with a higher number than the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epoch {
    /// What one has to understand to enforce it; 1 where it is not said.
    #[serde(default = "first_format")]
    pub format: u32,
    /// The broker that it is for.
    pub broker: String,
    /// Rises with every epoch of this broker, over restarts and restored backups.
    pub number: u64,
    /// The audit entry up to which everything is in it.
    pub sequence: u64,
    /// The sequence of the epoch whose lists these lists change; absent: they are whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// When it was made, RFC 3339.
    pub at: String,
    /// Every CA that the broker trusts, PEM: roots, then issuing CAs.
    pub anchors: String,
    /// A CRL for each of them.
    pub crls: Vec<CrlNeed>,
    /// Revoked canaries, one for each issuing CA: each must be refused once the CRLs are in force.
    pub canaries: Vec<Canary>,
    /// Devices whose sessions must end, and that must not come back.
    pub shut_out: Vec<String>,
    /// Devices that were shut out and are not any more.
    pub let_in: Vec<String>,
    /// Devices whose sessions must end once: one of their certificates was revoked, and they may have another.
    pub kicked: Vec<String>,
    /// What devices may do.
    pub access: Access,
}

fn first_format() -> u32 {
    1
}

/// A CRL that must be in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrlNeed {
    /// What to ask for, such as `default-1` or `default-root`.
    pub name: String,
    /// Its number, or a higher one.
    pub number: u64,
}

/// A client certificate that is there to be tried, with its key. It lives for minutes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    /// The CA that issued and revoked it, such as `default-1`.
    pub issuer: String,
    /// Its certificate and the issuing CA's, PEM.
    pub certificate: String,
    /// Its key, PKCS#8 in PEM: it opens nothing.
    pub key: String,
}

impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canary")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Topic rules: those of most devices, and of each that has others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// For every device that has no rules of its own.
    pub default: Rules,
    /// Devices with rules of their own, which hold in place of the default.
    pub devices: Vec<DeviceRules>,
    /// Devices that had rules of their own and follow the default again.
    pub removed: Vec<String>,
}

/// What a device may do: topic filters (MQTT 5.0, section 4.7), in which `%u` stands for its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rules {
    /// Where it may publish.
    #[serde(default)]
    pub publish: Vec<String>,
    /// What it may receive.
    #[serde(default)]
    pub subscribe: Vec<String>,
}

/// The rules of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceRules {
    /// Its name.
    pub name: String,
    /// Its rules, without `%u`.
    pub rules: Rules,
}

/// What an agent says, every two seconds and whenever something was done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// What came of an epoch, if one was just tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The number of the epoch that the broker is proved to enforce; 0: none.
    pub enforced: u64,
    /// Its sequence.
    pub sequence: u64,
    /// When the first of the CRLs that the broker holds runs out, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_next_update: Option<String>,
    /// When the broker's certificate ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// Sessions that the broker has, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// What is wrong now, each with its fix; empty when all is well.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// What the broker refused since the last report, at most 100.
    #[serde(default)]
    pub denials: Vec<Denial>,
    /// The agent's version.
    pub version: String,
}

/// What came of trying to bring an epoch into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The epoch's number.
    pub number: u64,
    /// Its sequence.
    pub sequence: u64,
    /// Whether the broker was proved to enforce it.
    pub proven: bool,
    /// If not, why not and what was done about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// How long each step took, in order: `check`, `write`, `signal`, `prove`, `drop`.
    pub steps: Vec<Step>,
}

/// A step of bringing an epoch into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// How long it took, microseconds.
    pub micros: u64,
}

/// A publish or a subscription that the broker did not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// Who tried.
    pub device: String,
    /// On which topic.
    pub topic: String,
    /// How often.
    pub times: u64,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heard {
    /// The sequence of the newest epoch there is for the broker: one that the stream should have brought.
    pub newest: u64,
}
