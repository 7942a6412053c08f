//! Requests and answers of `/api/v1`. Times are RFC 3339 in UTC; serial numbers are lower-case hexadecimal.
//!
//! Whatever changes something takes the parameter `dry_run=true`: it is judged as always, answered with what would be,
//! and nothing is changed.

mod account;
mod authorities;
mod brokers;
mod diagnosis;
mod many;
mod operators;
mod status;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use account::*;
pub use authorities::*;
pub use brokers::*;
pub use diagnosis::*;
pub use many::*;
pub use operators::*;
pub use status::*;

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// What is wrong, and what would help.
    pub message: String,
}

/// What was done, where there is no more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// To what.
    pub name: String,
    /// What became of it: `changed`, `removed`, `revoked` or `withdrawn`.
    pub status: String,
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to pass as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What to pass as `cursor` for the page before; absent on the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Whether the page ended before it was full, since what fits is rare here and it looked at as many rows as it may:
    /// `next` looks on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
}

/// The answer of `GET /search`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Devices whose name begins so.
    pub devices: Vec<Device>,
    /// Certificates of such devices, or with this serial number or fingerprint.
    pub certificates: Vec<Certificate>,
}

/// `POST /certificates`: what an operator asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// The device's name; else the request's common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The certificate request, PEM.
    pub csr: String,
    /// The profile: `client`, `server`, `broker` or a configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Alternative names; else those of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
    /// How long, such as `30d`; else as the profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<String>,
    /// Whether a living certificate for the same key and names will do.
    #[serde(default)]
    pub reuse: bool,
}

/// `POST /enrol`: what a device asks for with an enrolment token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The token's secret.
    pub token: String,
    /// The certificate request, PEM.
    pub csr: String,
}

/// A certificate that was issued, with its chain.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    /// About it.
    #[serde(flatten)]
    pub certificate: Certificate,
    /// The certificate, PEM; not there after a dry run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pem: String,
    /// The issuing CA, PEM.
    pub issuing: String,
    /// The root, PEM. While another takes its place: both, and the cross-certificate by which the one vouches for the other.
    pub root: String,
    /// Whether it ends with its issuer, earlier than asked for.
    pub clamped: bool,
}

/// About a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// The same as `step` shows it.
    pub serial_decimal: String,
    /// Whose it is.
    pub device: String,
    /// `active`, `expired`, `revoked` or `on hold`.
    pub status: String,
    /// The profile it follows.
    pub profile: String,
    /// Its alternative names.
    pub sans: Vec<String>,
    /// When it was issued.
    #[serde(default)]
    pub issued: String,
    /// First moment of validity, which is before that by an hour at most: clocks differ.
    pub not_before: String,
    /// Last moment of validity.
    pub not_after: String,
    /// Since when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// Why it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The authority that issued it.
    pub authority: String,
    /// That authority's generation.
    pub generation: u32,
    /// How it was asked for.
    pub how: String,
    /// SHA-256 over its DER, hexadecimal.
    pub fingerprint: String,
}

/// `POST /devices`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDevice {
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// Words about it.
    #[serde(default)]
    pub note: String,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// `client`, `server` or `broker`.
    pub kind: String,
    /// `new`, `active`, `suspended`, `revoked` or `retired`.
    pub state: String,
    /// The profile that its certificates follow.
    pub profile: String,
    /// Words about it.
    pub note: String,
    /// When it was first recorded.
    pub created: String,
    /// Its certificates, newest first; only when one device is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
}

/// `POST …/revoke`, `…/suspend`, `…/resume`, `…/retire`, `…/rearm`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// Why, in the words of RFC 5280: `key-compromise`, … .
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Words for the audit log.
    #[serde(default)]
    pub note: String,
}

/// What was shut out or let in again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Revocation {
    /// Whose certificates.
    pub device: String,
    /// Which, by serial number.
    pub serials: Vec<String>,
    /// Since when.
    pub at: String,
    /// Whether every broker has proved it. Without a broker agent nothing can be proved. The server answers at once and
    /// never knows yet; `GET /devices/{name}/proof` tells.
    pub confirmed: bool,
    /// What each broker in service has proved, where somebody has waited for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BrokerProof>,
}

/// `POST /tokens`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The only name it is for; else a wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The wave's name.
    #[serde(default)]
    pub wave: String,
    /// How many names a wave may have.
    #[serde(default = "one")]
    pub uses: u32,
    /// The profile of its devices.
    #[serde(default = "client")]
    pub profile: String,
    /// How long it is good for, such as `24h`.
    pub lifetime: String,
}

fn one() -> u32 {
    1
}

fn client() -> String {
    "client".into()
}

/// An enrolment token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// What to call it by.
    pub id: String,
    /// The only name it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The wave's name.
    pub wave: String,
    /// How many names it may bind.
    pub uses: u32,
    /// How many it has bound.
    pub used: u32,
    /// The profile of its devices.
    pub profile: String,
    /// Since when.
    pub created: String,
    /// Until when.
    pub expires: String,
    /// `open`, `used up`, `expired` or `withdrawn`.
    pub status: String,
    /// Who made it.
    pub by: String,
    /// Whether it is a recovery code: what its device had is superseded when it is used.
    pub recovers: bool,
    /// To whom it was refused once it was used: somebody showed it with another key. Until somebody has seen to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<TokenRefusal>,
}

/// A token that was used was shown with another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRefusal {
    /// The name that it was shown for.
    pub name: String,
    /// From which address; empty if it is not known.
    pub source: String,
    /// When, the last time.
    pub at: String,
}

/// `POST /tokens/{id}/unbind`: what a name got through the token is taken back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unbind {
    /// The name.
    pub name: String,
    /// Words for the audit log.
    #[serde(default)]
    pub note: String,
}

/// The answer to `POST /tokens`: the only time the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// About it.
    #[serde(flatten)]
    pub token: Token,
    /// The secret; empty after a dry run.
    pub secret: String,
    /// The same with the device's name, the CA's address and the fingerprint of its root: what `muster agent enrol` takes. Empty
    /// after a dry run.
    pub code: String,
    /// What may keep it from being of use, each with what mends that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
