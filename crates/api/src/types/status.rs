//! How Muster stands, and what happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Authority, Crl};

/// The answer of `GET /status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Muster's version.
    pub version: String,
    /// Whether it can do its work.
    pub ready: bool,
    /// What stands in the way.
    pub problems: Vec<String>,
    /// What an operator should see to.
    pub todos: Vec<String>,
    /// What comes to an end first unless somebody sees to it. What is renewed by itself and in time is none of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub works_until: Option<End>,
    /// If certificates are still being looked through for that: those that run out until then need nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_until: Option<String>,
    /// Certificates by status.
    pub certificates: Counts,
    /// Devices of any state.
    pub devices: u64,
    /// The same by kind and state.
    pub devices_by: Vec<DeviceCount>,
    /// The authorities.
    pub authorities: Vec<Authority>,
    /// The CRLs, without their text.
    pub crls: Vec<Crl>,
    /// When the first CRL runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_crl_ends: Option<String>,
    /// When the first living certificate is due for renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_renewal_due: Option<String>,
}

/// Something that comes to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// When it ends.
    pub at: String,
    /// What ends.
    pub what: String,
    /// Whether it should have been renewed by itself by now.
    #[serde(default)]
    pub by_itself: bool,
}

/// How many certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Neither revoked nor expired.
    pub active: u64,
    /// Of those, how many run out within seven days.
    pub expiring: u64,
    /// Ran out.
    pub expired: u64,
    /// Revoked or on hold.
    pub revoked: u64,
}

/// A day of the answer of `GET /expiries`: how many certificates run out on it, but for those that are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpiryDay {
    /// The day, UTC.
    pub day: String,
    /// Those that are renewed without anybody's doing.
    pub by_itself: u64,
    /// The others.
    pub needs_you: u64,
}

/// How many devices of one kind are in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceCount {
    /// `client`, `server` or `broker`.
    pub kind: String,
    /// `new`, `active`, `suspended`, `revoked` or `retired`.
    pub state: String,
    /// How many.
    pub count: u64,
}

/// An audit entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number within its writer.
    pub sequence: u64,
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// By which door.
    pub via: String,
    /// From where.
    pub source: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, as JSON.
    pub detail: String,
    /// Who wrote it.
    pub writer: String,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// The answer of `GET /audit/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdict {
    /// Whether every entry is what was written and follows the one before.
    pub intact: bool,
    /// How many entries were walked.
    pub entries: u64,
    /// The first entry that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<u64>,
    /// The hash of the last entry.
    pub head: String,
    /// There is more to walk, which would take long for one answer: ask again with this as `behind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A key of the configuration as it is in force.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name, as `muster.toml` has it.
    pub key: String,
    /// Its value; a list has commas between its entries.
    pub value: String,
    /// From where it came: `default`, `muster.toml`, `flag`, or a variable's name.
    pub origin: String,
}
