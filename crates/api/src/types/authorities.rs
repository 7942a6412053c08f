//! Authorities, profiles and provisioners.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An authority.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Authority {
    /// Its name.
    pub name: String,
    /// The authority in whose root's place its root comes: that one vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The root first, then the issuing CAs.
    pub generations: Vec<Generation>,
}

/// A root or an issuing CA.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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

/// `POST /authorities/{name}/crl`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshCrl {
    /// Only the list of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Whether a device is suspended when two of it come.
    pub suspend_clones: bool,
    /// The keys that are taken: `p256`, …; `rsa2048` is RSA of at least so many bits.
    pub keys: Vec<String>,
    /// The alternative names that are let in beside the device's own: `dns`, `dns:*.example.org`, `ip:10.0.0.0/8`, … .
    pub sans: Vec<String>,
    /// What certificates point to, once `public_url` is set: `crl`, `issuer`.
    pub pointers: Vec<String>,
}

/// `POST /provisioners`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddProvisioner {
    /// Its name.
    pub name: String,
    /// Its password, at least 128 random bits; else one is made and told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Its password; only in the answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}
