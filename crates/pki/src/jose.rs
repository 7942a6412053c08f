//! The parts of JOSE that `step` speaks: JWK (RFC 7517), thumbprints (RFC 7638), compact JWS (RFC 7515) and the
//! password-encrypted JWE (RFC 7516, RFC 7518 section 4.8) in which a provisioner's key is published.

mod jwe;

use aws_lc_rs::signature::{self as lc, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Encode;
use der::asn1::{Any, BitString, Null, UintRef};
use serde::{Deserialize, Serialize};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::Error;
use crate::key::{KeyKind, PublicKey, sha256};

pub use jwe::{JweRandom, decrypt_private_jwk, encrypt_private_jwk};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// A public JSON Web Key. Field names are those of RFC 7517 and RFC 7518.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// `EC`, `OKP` or `RSA`.
    pub kty: String,
    /// The key's name: here its thumbprint.
    #[serde(default)]
    pub kid: String,
    /// The curve of `EC` and `OKP` keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// The signature algorithm that the key is for.
    #[serde(default)]
    pub alg: String,
    /// First coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate of `EC` keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

impl Jwk {
    /// The public half of an EC P-256 key, named by its thumbprint.
    pub fn from_p256(key: &PublicKey) -> Result<Self, Error> {
        if key.kind() != KeyKind::P256 {
            return Err(Error::Key("a provisioner key made here is a P-256 key".into()));
        }
        // SEC1 section 2.3.3: 0x04, x, y.
        let point = key.info().subject_public_key.raw_bytes();
        let mut jwk = Self {
            usage: Some("sig".into()),
            kty: "EC".into(),
            kid: String::new(),
            crv: Some("P-256".into()),
            alg: "ES256".into(),
            x: Some(BASE64URL.encode(point.get(1..33).ok_or(Error::Encode("key"))?)),
            y: Some(BASE64URL.encode(point.get(33..65).ok_or(Error::Encode("key"))?)),
            n: None,
            e: None,
        };
        jwk.kid = jwk.thumbprint()?;
        Ok(jwk)
    }

    /// RFC 7638: base64url of SHA-256 over the required members in alphabetical order.
    pub fn thumbprint(&self) -> Result<String, Error> {
        let need = |part: &Option<String>| part.clone().ok_or_else(|| bad_key("it lacks a member"));
        let json = match self.kty.as_str() {
            "EC" => {
                serde_json::json!({"crv": need(&self.crv)?, "kty": "EC", "x": need(&self.x)?, "y": need(&self.y)?})
            }
            "OKP" => serde_json::json!({"crv": need(&self.crv)?, "kty": "OKP", "x": need(&self.x)?}),
            "RSA" => serde_json::json!({"e": need(&self.e)?, "kty": "RSA", "n": need(&self.n)?}),
            other => return Err(bad_key(&format!("kty {other:?} is not supported"))),
        };
        // serde_json's maps are sorted by key, which is the order that the RFC asks for.
        Ok(BASE64URL.encode(sha256(json.to_string().as_bytes())))
    }

    /// The key itself; refuses kinds and sizes that Muster does not accept.
    pub fn public_key(&self) -> Result<PublicKey, Error> {
        let (algorithm, bits) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => (ec(SECP_256_R_1), self.point(32)?),
            ("EC", Some("P-384")) => (ec(SECP_384_R_1), self.point(48)?),
            ("EC", Some("P-521")) => (ec(SECP_521_R_1), self.point(66)?),
            ("OKP", Some("Ed25519")) => (
                AlgorithmIdentifierOwned {
                    oid: ID_ED_25519,
                    parameters: None,
                },
                member(&self.x)?,
            ),
            ("RSA", _) => (
                AlgorithmIdentifierOwned {
                    oid: RSA_ENCRYPTION,
                    parameters: Some(Any::from(Null)),
                },
                self.rsa()?,
            ),
            _ => return Err(bad_key("its kind is not supported: use EC, Ed25519 or RSA")),
        };
        let subject_public_key = BitString::from_bytes(&bits).map_err(|_| Error::Encode("key"))?;
        PublicKey::from_info(SubjectPublicKeyInfoOwned {
            algorithm,
            subject_public_key,
        })
    }

    fn point(&self, size: usize) -> Result<Vec<u8>, Error> {
        let (x, y) = (member(&self.x)?, member(&self.y)?);
        if x.len() != size || y.len() != size {
            return Err(bad_key("a coordinate has the wrong length"));
        }
        Ok([&[4][..], &x, &y].concat())
    }

    fn rsa(&self) -> Result<Vec<u8>, Error> {
        #[derive(der::Sequence)]
        struct RsaPublicKey<'a> {
            modulus: UintRef<'a>,
            exponent: UintRef<'a>,
        }
        let (n, e) = (member(&self.n)?, member(&self.e)?);
        let encode = |_| Error::Encode("key");
        let key = RsaPublicKey {
            modulus: UintRef::new(&n).map_err(encode)?,
            exponent: UintRef::new(&e).map_err(encode)?,
        };
        key.to_der().map_err(encode)
    }
}

/// A compact JWS, taken apart and not yet believed.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    /// The protected header.
    pub header: Header,
    /// The payload's bytes.
    pub payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// The members of a protected header that Muster looks at.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Header {
    /// The signature algorithm.
    pub alg: String,
    /// The name of the key.
    #[serde(default)]
    pub kid: String,
    /// The sender's chain, leaf first: `step`'s form for a certificate that may have expired.
    #[serde(rename = "x5cInsecure", default)]
    pub chain: Vec<String>,
    /// What the payload is (RFC 7515, section 4.1.9).
    #[serde(default)]
    pub(crate) typ: String,
    /// The signer's chain, leaf first (RFC 7515, section 4.1.6).
    #[serde(default)]
    pub(crate) x5c: Vec<String>,
    /// Members that a receiver must understand; there are none that Muster does.
    #[serde(default)]
    crit: Vec<String>,
}

impl Header {
    /// The first certificate of the chain, DER.
    pub fn leaf(&self) -> Result<Vec<u8>, Error> {
        let first = self
            .chain
            .first()
            .ok_or_else(|| bad_token("it carries no certificate"))?;
        BASE64
            .decode(first)
            .map_err(|_| bad_token("its certificate is not base64"))
    }
}

impl<'a> Jws<'a> {
    /// Takes a token apart. Refuses more than 16 KiB, and headers with `crit` (RFC 7515, section 4.1.11).
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        Self::parse_up_to(token, MAX_TOKEN)
    }

    /// The same for what may be larger.
    pub(crate) fn parse_up_to(token: &'a str, most: usize) -> Result<Self, Error> {
        if token.len() > most {
            return Err(bad_token(&format!("it is longer than {} KiB", most / 1024)));
        }
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or_else(|| bad_token("it has no three parts"))?;
        let (header, payload) = signed
            .split_once('.')
            .ok_or_else(|| bad_token("it has no three parts"))?;
        let decode = |part: &str| {
            BASE64URL
                .decode(part)
                .map_err(|_| bad_token("a part is not base64url"))
        };
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| bad_token("its header is not the JSON of a JWS"))?;
        if !header.crit.is_empty() {
            return Err(bad_token("its header asks for extensions that are not known"));
        }
        Ok(Self {
            header,
            payload: decode(payload)?,
            signed,
            signature: decode(signature)?,
        })
    }

    /// Checks the signature. The algorithm must be the one that fits the key: a token cannot choose.
    pub fn verify(&self, key: &PublicKey) -> Result<(), Error> {
        let algorithm = verification(&self.header.alg, key.kind())?;
        key.verify_with(algorithm, self.signed.as_bytes(), &self.signature)
            .map_err(|_| Error::Signature("token"))
    }
}

/// RFC 7518 section 3.1 and RFC 8037.
fn verification(alg: &str, kind: KeyKind) -> Result<&'static dyn VerificationAlgorithm, Error> {
    Ok(match (alg, kind) {
        ("ES256", KeyKind::P256) => &lc::ECDSA_P256_SHA256_FIXED,
        ("ES384", KeyKind::P384) => &lc::ECDSA_P384_SHA384_FIXED,
        ("ES512", KeyKind::P521) => &lc::ECDSA_P521_SHA512_FIXED,
        ("EdDSA", KeyKind::Ed25519) => &lc::ED25519,
        ("RS256", KeyKind::Rsa(_)) => &lc::RSA_PKCS1_2048_8192_SHA256,
        ("RS384", KeyKind::Rsa(_)) => &lc::RSA_PKCS1_2048_8192_SHA384,
        ("RS512", KeyKind::Rsa(_)) => &lc::RSA_PKCS1_2048_8192_SHA512,
        ("PS256", KeyKind::Rsa(_)) => &lc::RSA_PSS_2048_8192_SHA256,
        ("PS384", KeyKind::Rsa(_)) => &lc::RSA_PSS_2048_8192_SHA384,
        ("PS512", KeyKind::Rsa(_)) => &lc::RSA_PSS_2048_8192_SHA512,
        _ => {
            return Err(bad_token(&format!(
                "it is signed with {alg:?}, which does not fit the key"
            )));
        }
    })
}

fn ec(curve: const_oid::ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: ID_EC_PUBLIC_KEY,
        parameters: Some(Any::from(curve)),
    }
}

fn member(part: &Option<String>) -> Result<Vec<u8>, Error> {
    let text = part.as_deref().ok_or_else(|| bad_key("it lacks a member"))?;
    BASE64URL
        .decode(text)
        .map_err(|_| bad_key("a member is not base64url"))
}

fn bad_key(why: &str) -> Error {
    Error::malformed("JSON Web Key", why)
}

fn bad_token(why: &str) -> Error {
    Error::malformed("token", why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    /// The key of RFC 7515, appendix A.3.
    fn rfc_key() -> Jwk {
        serde_json::from_value(serde_json::json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }))
        .unwrap()
    }

    #[test]
    fn the_token_of_rfc_7515_verifies_and_a_changed_one_does_not() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
            .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let key = rfc_key().public_key().unwrap();
        Jws::parse(token).unwrap().verify(&key).unwrap();
        let changed = token.replace("JqPP3", "JqPP4");
        assert!(Jws::parse(&changed).unwrap().verify(&key).is_err());
        let none = token.replacen("eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJub25lIn0", 1);
        assert!(Jws::parse(&none).unwrap().verify(&key).is_err());
    }

    #[test]
    fn a_thumbprint_is_the_one_that_step_computes() {
        assert_eq!(
            rfc_key().thumbprint().unwrap(),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
    }
}
