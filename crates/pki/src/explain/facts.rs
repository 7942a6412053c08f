//! What an explanation holds, in fields that scripts may rely on.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// One object of the input.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Explained {
    /// An X.509 certificate.
    Certificate(Box<CertificateFacts>),
    /// A PKCS#10 certificate request.
    Request(Box<RequestFacts>),
    /// A certificate revocation list.
    Crl(Box<CrlFacts>),
    /// A private key; of the key itself nothing is told.
    PrivateKey(PrivateKeyFacts),
    /// A block that is torn, or of a kind that is not explained.
    Unreadable(UnreadableFacts),
}

impl Explained {
    /// What is remarkable about it, gravest first.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Certificate(facts) => &facts.findings,
            Self::Request(facts) => &facts.findings,
            Self::Crl(facts) => &facts.findings,
            Self::PrivateKey(facts) => &facts.findings,
            Self::Unreadable(_) => &[],
        }
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It will not work, or must not be used.
    Error,
    /// It works with some programs, or not for long.
    Warning,
    /// Good to know.
    Note,
}

/// Something remarkable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// One sentence.
    pub text: String,
    /// What to do about it, if anything can be done.
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn error(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            text: text.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn warning(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            text: text.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn note(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            text: text.into(),
            fix: None,
        }
    }
}

/// A serial number in both customary spellings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Serial {
    /// Lower-case hexadecimal without separators and without leading zero octets, as in OpenSSL.
    pub hex: String,
    /// Base ten, as in `step`.
    pub decimal: String,
}

impl Serial {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let start = bytes
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(bytes.len().saturating_sub(1));
        let significant = &bytes[start..];
        Self {
            hex: crate::hex(significant),
            decimal: super::words::decimal(significant),
        }
    }
}

/// A key's kind and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyFacts {
    /// `ECDSA P-256`, `RSA`, `Ed25519` and so on.
    pub algorithm: String,
    /// Size in bits where the kind leaves a choice.
    pub bits: Option<usize>,
}

/// A subject alternative name (RFC 5280, section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlternativeName {
    /// `DNS`, `IP`, `e-mail`, `URI` or `other`.
    pub kind: &'static str,
    /// The name.
    pub value: String,
}

/// Where in its life something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Within its dates.
    Valid,
    /// Its last moment has passed.
    Expired,
    /// Its first moment is yet to come.
    NotYetValid,
}

impl Standing {
    pub(super) fn at(now: Timestamp, not_before: Timestamp, not_after: Timestamp) -> Self {
        if now < not_before {
            Self::NotYetValid
        } else if now > not_after {
            Self::Expired
        } else {
            Self::Valid
        }
    }
}

/// A certificate, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateFacts {
    /// The whole subject, RFC 4514.
    pub subject: String,
    /// The subject's first common name: for most brokers the MQTT username.
    pub cn: Option<String>,
    /// The whole issuer, RFC 4514.
    pub issuer: String,
    /// The issuer's first common name.
    pub issuer_cn: Option<String>,
    /// The serial number.
    pub serial: Serial,
    /// First moment of validity.
    #[serde(serialize_with = "text")]
    pub not_before: Timestamp,
    /// Last moment of validity.
    #[serde(serialize_with = "text")]
    pub not_after: Timestamp,
    /// Where in its life it is.
    pub standing: Standing,
    /// How far its end is: `in 365 days`, `3 days ago`.
    pub remaining: String,
    /// The subject's key.
    pub key: KeyFacts,
    /// How the issuer signed.
    pub signature_algorithm: String,
    /// Under which names it may appear.
    pub alternative_names: Vec<AlternativeName>,
    /// What its holder may do; each completes "may …".
    pub usages: Vec<String>,
    /// Whether it may issue certificates.
    pub is_ca: bool,
    /// How many CAs may stand between it and a leaf; `None` for any number, and for what is no CA.
    pub path_len: Option<u8>,
    /// Whether its subject is also its issuer.
    pub self_issued: bool,
    /// SHA-256 over the DER, lower-case hexadecimal.
    pub fingerprint_sha256: String,
    /// SHA-256 over the SubjectPublicKeyInfo: what a certificate, its request and its private key share.
    pub public_key_sha256: String,
    /// Where its revocation list is.
    pub crl_urls: Vec<String>,
    /// Where one may ask for its status.
    pub ocsp_urls: Vec<String>,
    /// Where its issuer's certificate is.
    pub issuer_urls: Vec<String>,
    /// What is remarkable, gravest first.
    pub findings: Vec<Finding>,
}

/// A certificate request, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestFacts {
    /// The subject asked for, RFC 4514.
    pub subject: String,
    /// Its first common name.
    pub cn: Option<String>,
    /// The requester's key.
    pub key: KeyFacts,
    /// How the requester signed.
    pub signature_algorithm: String,
    /// Whether the requester holds the key: its signature verifies.
    pub proves_key: bool,
    /// The names asked for.
    pub alternative_names: Vec<AlternativeName>,
    /// The usages asked for; each completes "may …".
    pub usages: Vec<String>,
    /// As in [`CertificateFacts`].
    pub public_key_sha256: String,
    /// What is remarkable, gravest first.
    pub findings: Vec<Finding>,
}

/// A revocation list, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CrlFacts {
    /// The CA whose list it is, RFC 4514.
    pub issuer: String,
    /// That CA's first common name.
    pub issuer_cn: Option<String>,
    /// The list's number, base ten.
    pub number: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "text")]
    pub this_update: Timestamp,
    /// Until when a newer one comes; brokers refuse everybody afterwards.
    #[serde(serialize_with = "maybe_text")]
    pub next_update: Option<Timestamp>,
    /// Where in its life it is.
    pub standing: Standing,
    /// How far its end is, if it has one.
    pub remaining: Option<String>,
    /// How many certificates it revokes, suspended ones included.
    pub revoked: usize,
    /// How many of them are only suspended.
    pub suspended: usize,
    /// How the CA signed.
    pub signature_algorithm: String,
    /// What is remarkable, gravest first.
    pub findings: Vec<Finding>,
}

/// That there is a private key, and to what it belongs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrivateKeyFacts {
    /// `PKCS#8`, `SEC1` or `PKCS#1`.
    pub form: &'static str,
    /// Whether a password is needed to read it.
    pub encrypted: bool,
    /// Its kind and size, if it could be read.
    pub key: Option<KeyFacts>,
    /// As in [`CertificateFacts`].
    pub public_key_sha256: Option<String>,
    /// What is remarkable, gravest first.
    pub findings: Vec<Finding>,
}

/// A block that could not be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableFacts {
    /// The PEM label.
    pub label: String,
    /// Why not.
    pub why: String,
}

fn text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn maybe_text<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}
