//! Requests and answers of `/api/v1`. Times are RFC 3339 in UTC; serial numbers are lower-case hexadecimal.
//!
//! Whatever changes something takes the parameter `dry_run=true`: it is judged as always, answered with what would be,
//! and nothing is changed.

use serde::{Deserialize, Serialize};

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// What is wrong, and what would help.
    pub message: String,
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// Devices whose name begins so.
    pub devices: Vec<Device>,
    /// Certificates of such devices, or with this serial number or fingerprint.
    pub certificates: Vec<Certificate>,
}

/// A day of the answer of `GET /expiries`: how many certificates run out on it, but for those that are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiryDay {
    /// The day, UTC.
    pub day: String,
    /// Those that are renewed without anybody's doing.
    pub by_itself: u64,
    /// The others.
    pub needs_you: u64,
}

/// How many devices of one kind are in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCount {
    /// `client`, `server` or `broker`.
    pub kind: String,
    /// `new`, `active`, `suspended`, `revoked` or `retired`.
    pub state: String,
    /// How many.
    pub count: u64,
}

/// `POST /certificates`: what an operator asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The token's secret.
    pub token: String,
    /// The certificate request, PEM.
    pub csr: String,
}

/// A certificate that was issued, with its chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issued {
    /// About it.
    #[serde(flatten)]
    pub certificate: Certificate,
    /// The certificate, PEM; empty after a dry run.
    pub pem: String,
    /// The issuing CA, PEM.
    pub issuing: String,
    /// The root, PEM.
    pub root: String,
    /// Whether it ends with its issuer, earlier than asked for.
    pub clamped: bool,
}

/// About a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// First moment of validity.
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose certificates.
    pub device: String,
    /// Which, by serial number.
    pub serials: Vec<String>,
    /// Since when.
    pub at: String,
    /// Whether every broker has proved it. Without a broker agent nothing can be proved.
    pub confirmed: bool,
}

/// `POST /tokens`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// `POST /tokens/{id}/unbind`: what a name got through the token is taken back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unbind {
    /// The name.
    pub name: String,
    /// Words for the audit log.
    #[serde(default)]
    pub note: String,
}

/// The answer to `POST /tokens`: the only time the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// About it.
    #[serde(flatten)]
    pub token: Token,
    /// The secret; empty after a dry run.
    pub secret: String,
}

/// An authority.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authority {
    /// Its name.
    pub name: String,
    /// The root first, then the issuing CAs.
    pub generations: Vec<Generation>,
}

/// A root or an issuing CA.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Generation {
    /// 0 is the root.
    pub number: u32,
    /// `standby`, `active`, `retiring` or `retired`.
    pub stage: String,
    /// Its common name.
    pub subject: String,
    /// First moment of validity.
    pub not_before: String,
    /// Last moment of validity.
    pub not_after: String,
    /// SHA-256 over its certificate, hexadecimal: what `step ca bootstrap` asks for, of the root.
    pub fingerprint: String,
    /// Its certificate, PEM.
    pub pem: String,
}

/// A CRL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crl {
    /// The issuer's authority.
    pub authority: String,
    /// The issuer's generation.
    pub generation: u32,
    /// Its number.
    pub number: u64,
    /// From when.
    pub this_update: String,
    /// Until when.
    pub next_update: String,
    /// How many entries.
    pub entries: u64,
    /// The list, PEM.
    pub pem: String,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What its holders are.
    pub kind: String,
    /// The authority that issues.
    pub authority: String,
    /// Shortest validity.
    pub min: String,
    /// Validity when nobody says.
    pub default: String,
    /// Longest validity.
    pub max: String,
    /// How long after its end a certificate may be renewed.
    pub grace: String,
    /// Whether certificates may be renewed.
    pub renewable: bool,
    /// The keys that are taken: `p256`, …; `rsa2048` is RSA of at least so many bits.
    pub keys: Vec<String>,
    /// The alternative names that are let in beside the device's own: `dns`, `dns:*.example.org`, `ip:10.0.0.0/8`, … .
    pub sans: Vec<String>,
    /// What certificates point to, once `public_url` is set: `crl`, `issuer`.
    pub pointers: Vec<String>,
}

/// `POST /provisioners`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddProvisioner {
    /// Its name.
    pub name: String,
    /// Its password, at least 128 random bits.
    pub password: String,
    /// The profiles it may ask for; else `client` and `server`.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// The names it may ask for, as patterns such as `site-*`; else any.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether it may replace the key of a device that has a living certificate.
    #[serde(default)]
    pub may_replace: bool,
}

/// A provisioner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioner {
    /// Its name.
    pub name: String,
    /// Its key's name.
    pub kid: String,
    /// The profiles it may ask for.
    pub profiles: Vec<String>,
    /// The names it may ask for, as patterns; empty: any.
    pub names: Vec<String>,
    /// Whether it may replace the key of a device that has a living certificate.
    pub may_replace: bool,
    /// Since when.
    pub created: String,
}

/// `POST /operators/{name}/password`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// What the operator logs in with from now on.
    pub password: String,
}

/// `POST /operators`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddOperator {
    /// Its name.
    pub name: String,
    /// `admin`, `operator`, `viewer` or `auditor`.
    pub role: String,
    /// Whether it is a person who logs in to the GUI, by an invitation; else it gets an API key.
    #[serde(default)]
    pub person: bool,
}

/// `POST /operators/{name}/role`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRole {
    /// `admin`, `operator`, `viewer` or `auditor`.
    pub role: String,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Since when.
    pub created: String,
    /// Whether it has a password to log in to the GUI with.
    pub logs_in: bool,
    /// Whether logging in asks for a one-time code, too.
    pub second_factor: bool,
    /// Whether it has an API key.
    pub has_key: bool,
    /// The API key; only in the answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The path, below the GUI's address, where it chooses a password, once and within a week; only in the answer that makes
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// An audit entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// The answer of `GET /status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Muster's version.
    pub version: String,
    /// Whether it can do its work.
    pub ready: bool,
    /// What stands in the way.
    pub problems: Vec<String>,
    /// What an operator should see to.
    pub todos: Vec<String>,
    /// What comes to an end first unless somebody sees to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub works_until: Option<End>,
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

/// Something that does not go on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When it ends.
    pub at: String,
    /// What ends.
    pub what: String,
}

/// How many certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
