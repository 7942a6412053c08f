//! Keys: what kind they are, and which private key belongs to which certificate.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{BitStringRef, OctetStringRef, UintRef};
use der::{Decode, Sequence};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use zeroize::Zeroizing;

use super::facts::{Explained, Finding, KeyFacts, PrivateKeyFacts};
use super::{read, words};
use crate::key::PrivateKey;

/// What can be said of any public key, accepted or not.
pub(super) fn facts(spki: &SubjectPublicKeyInfoOwned) -> KeyFacts {
    let oid = spki.algorithm.oid;
    let plain = |algorithm: &str, bits| KeyFacts {
        algorithm: algorithm.to_owned(),
        bits,
    };
    match oid {
        ID_EC_PUBLIC_KEY => match curve(spki) {
            Some(SECP_256_R_1) => plain("ECDSA P-256", Some(256)),
            Some(SECP_384_R_1) => plain("ECDSA P-384", Some(384)),
            Some(SECP_521_R_1) => plain("ECDSA P-521", Some(521)),
            Some(curve) => plain(&format!("ECDSA {}", words::object(curve)), None),
            None => plain("ECDSA on an unnamed curve", None),
        },
        RSA_ENCRYPTION => plain("RSA", rsa_bits(spki.subject_public_key.raw_bytes())),
        ID_ED_25519 => plain("Ed25519", Some(256)),
        other => plain(&words::object(other), None),
    }
}

fn curve(spki: &SubjectPublicKeyInfoOwned) -> Option<ObjectIdentifier> {
    spki.algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.decode_as().ok())
}

/// RFC 8017, appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_bits(der: &[u8]) -> Option<usize> {
    let key = RsaPublicKey::from_der(der).ok()?;
    let modulus = key.modulus.as_bytes();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (modulus.len() * 8).checked_sub(leading)
}

/// `ECPrivateKey` (RFC 5915, section 3).
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public_key: Option<BitStringRef<'a>>,
}

pub(super) fn is_sec1(der: &[u8]) -> bool {
    EcPrivateKey::from_der(der).is_ok_and(|key| key.version == 1)
}

/// `label` is one of the private-key labels of [`read`].
pub(super) fn explain(label: &str, der: &[u8]) -> Explained {
    let encrypted = label == read::ENCRYPTED;
    let key = if encrypted { None } else { load(label, der) };
    let form = match label {
        read::SEC1 => "SEC1",
        read::PKCS1 => "PKCS#1",
        _ => "PKCS#8",
    };
    Explained::PrivateKey(PrivateKeyFacts {
        form,
        encrypted,
        findings: findings(encrypted, key.is_some()),
        key: key.as_ref().map(|key| facts(key.public().info())),
        public_key_sha256: key.map(|key| crate::hex(&key.public().fingerprint())),
    })
}

fn load(label: &str, der: &[u8]) -> Option<PrivateKey> {
    let label = match label {
        read::SEC1 => read::SEC1,
        read::PKCS1 => read::PKCS1,
        _ => return PrivateKey::from_pkcs8(Zeroizing::new(der.to_vec())).ok(),
    };
    let text = Zeroizing::new(crate::pem::encode(label, der).ok()?);
    PrivateKey::from_pem(&text).ok()
}

fn findings(encrypted: bool, loaded: bool) -> Vec<Finding> {
    let secret = Finding::note(
        "Whoever can read this file can pretend to be its owner: only the program that uses it should be able to (mode 0600, or 0640 with that program's group).",
    );
    let problem = match (encrypted, loaded) {
        (true, _) => Some(Finding::warning(
            "It is encrypted: a broker would ask for its password at every start.",
            "Decrypt it where it is used: openssl pkey -in FILE -out KEY",
        )),
        (false, false) => Some(Finding::error(
            "The key cannot be used: it is damaged, or of a kind or size that is not accepted (EC P-256, P-384 or P-521, Ed25519, RSA 2048 to 4096 bits).",
            "Make a new key and get a new certificate for it.",
        )),
        (false, true) => None,
    };
    problem.into_iter().chain([secret]).collect()
}

/// Says of each private key which certificate of the same input it belongs to. A broker given two that do not belong
/// together only says "key values mismatch".
pub(super) fn match_certificates(explained: &mut [Explained]) {
    let certificates: Vec<(String, String)> = explained.iter().filter_map(owner).collect();
    if certificates.is_empty() {
        return;
    }
    for object in explained {
        let Explained::PrivateKey(facts) = object else {
            continue;
        };
        let Some(own) = &facts.public_key_sha256 else {
            continue;
        };
        let finding = match certificates.iter().find(|(key, _)| key == own) {
            Some((_, name)) => Finding::note(format!("It belongs to the certificate of {name}.")),
            None => Finding::error(
                "It belongs to none of the certificates beside it.",
                "Put the key and the certificate that were made together into one place.",
            ),
        };
        facts.findings.insert(0, finding);
    }
}

fn owner(object: &Explained) -> Option<(String, String)> {
    if let Explained::Certificate(facts) = object {
        Some((
            facts.public_key_sha256.clone(),
            facts.cn.clone().unwrap_or_else(|| facts.subject.clone()),
        ))
    } else {
        None
    }
}
