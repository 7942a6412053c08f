//! Several at once, and certificates as files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Issued;

/// `POST /bundles`: a certificate with a key that the server makes, hands out once and does not keep.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleRequest {
    /// The device's name.
    pub name: String,
    /// The profile: `client`, `server`, `broker` or a configured one; else `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Further names.
    #[serde(default)]
    pub sans: Vec<String>,
    /// How long, such as `30d`; else as the profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<String>,
    /// Which files: `zip`, `p12`, `pem`, `crt`, `ca.crt`, `key`, `der`, `key.der`, `k8s`, `h`; else `zip`.
    #[serde(default)]
    pub formats: Vec<String>,
    /// The broker that configuration shall name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Its port; else 8883.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A certificate with its key, as files.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Bundle {
    /// The certificate.
    #[serde(flatten)]
    pub issued: Issued,
    /// The files that were asked for; none after a dry run.
    pub files: Vec<BundleFile>,
    /// The password of the PKCS#12 file, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BundleFile {
    /// Its name.
    pub name: String,
    /// Its bytes, base64.
    pub content: String,
}

/// `POST /tokens/many`: a token of its own for each device; all of them or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTokens {
    /// The devices' names, at most 1,000.
    pub devices: Vec<String>,
    /// A name for all of them together.
    #[serde(default)]
    pub wave: String,
    /// The profile of the devices.
    #[serde(default = "super::client")]
    pub profile: String,
    /// How long the tokens are good for, such as `24h`.
    pub lifetime: String,
}

/// `POST /revocations`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeMany {
    /// Which certificates, by serial number; at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<String>,
    /// Or which devices, with every certificate of each that lives; at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Or the issuing CA of this authority that issues no more, with everything that it has issued: somebody else has its
    /// key. For administrators; `count` is the number of its certificates that live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_of: Option<String>,
    /// Whether the devices go out of service for good.
    #[serde(default)]
    pub retire: bool,
    /// Why, in the words of RFC 5280: `key-compromise`, … .
    pub reason: String,
    /// Words for the audit log.
    #[serde(default)]
    pub note: String,
    /// How many they are; needed above the number that the configuration sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// What became of many.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RevokedMany {
    /// Certificates that were revoked now, by serial number.
    pub revoked: Vec<String>,
    /// How many devices were revoked or retired now.
    pub devices: usize,
    /// How many of those that were named were so already.
    pub before: usize,
    /// The issuing CA that was retired now, by its common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing: Option<String>,
    /// Whether nothing is revoked yet, since a second operator has to agree.
    pub waiting: bool,
}

/// A revocation of many that waits for a second operator.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WaitingRevocation {
    /// Who asked.
    pub by: String,
    /// When.
    pub at: String,
    /// Until when somebody may agree.
    pub until: String,
    /// Why.
    pub reason: String,
    /// Words for the audit log.
    pub note: String,
    /// Which certificates, by serial number.
    pub serials: Vec<String>,
    /// Or which devices.
    pub devices: Vec<String>,
    /// Or the issuing CA of this authority that issues no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_of: Option<String>,
    /// How many they are; of an issuing CA, how many certificates.
    pub count: usize,
    /// Whether the devices go out of service for good.
    pub retire: bool,
}

/// `POST /revocations/{verdict}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeRevocation {
    /// When it was asked for, as `GET /revocations` says it: what was put in its place meanwhile is not meant.
    pub at: String,
}
