//! What an authority says to those who know its root: a compact JWS (RFC 7515) that carries the issuing CA's certificate.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use der::asn1::UintRef;
use der::{Decode, Sequence};

use crate::Error;
use crate::cert::Certificate;
use crate::jose::Jws;
use crate::key::{PrivateKey, SignatureAlgorithm};

/// The longest message that is read, in bytes: the access list of a large fleet has to fit.
pub const MAX_MESSAGE: usize = 256 << 20;

/// A message that is not signed yet.
#[derive(Debug, Clone)]
pub struct Message {
    text: String,
    algorithm: SignatureAlgorithm,
}

impl Message {
    /// A message of this type (`typ`), from this CA.
    pub fn new(kind: &str, issuer: &Certificate, payload: &[u8]) -> Self {
        Self::by(kind, issuer, &[], payload)
    }

    /// The same from a signer whose chain goes on with these.
    pub(crate) fn by(kind: &str, signer: &Certificate, above: &[&Certificate], payload: &[u8]) -> Self {
        let algorithm = signer.key().kind().signature_algorithm();
        let chain = std::iter::once(&signer).chain(above);
        let chain: Vec<_> = chain.map(|one| BASE64.encode(one.der())).collect();
        let header = serde_json::json!({ "alg": word(algorithm), "typ": kind, "x5c": chain });
        let header = BASE64URL.encode(header.to_string());
        Self {
            text: format!("{header}.{}", BASE64URL.encode(payload)),
            algorithm,
        }
    }

    /// What the CA's key signs. It begins with letters, so that it is no structure of X.509.
    pub fn to_be_signed(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The message with its signature, which is in the form of X.509.
    pub fn signed(self, signature: &[u8]) -> Result<String, Error> {
        let signature = match octets(self.algorithm) {
            Some(octets) => fixed(signature, octets)?,
            None => signature.to_vec(),
        };
        Ok(format!("{}.{}", self.text, BASE64URL.encode(signature)))
    }
}

/// What the holder of a certificate says with its key, in `step`'s form for certificates that may have expired (`x5cInsecure`): a
/// handshake with such a certificate fails, and this does not.
pub fn by_holder(certificate: &Certificate, key: &PrivateKey, payload: &[u8]) -> Result<String, Error> {
    let header = serde_json::json!({ "x5cInsecure": [BASE64.encode(certificate.der())] });
    token(header, key, payload)
}

/// What the holder of a provisioner's key says: `step`'s one-time token. `kid` is the key's name.
pub fn by_provisioner(kid: &str, key: &PrivateKey, payload: &[u8]) -> Result<String, Error> {
    token(serde_json::json!({ "kid": kid }), key, payload)
}

fn token(mut header: serde_json::Value, key: &PrivateKey, payload: &[u8]) -> Result<String, Error> {
    let algorithm = key.public().kind().signature_algorithm();
    header["alg"] = word(algorithm).into();
    header["typ"] = "JWT".into();
    let header = BASE64URL.encode(header.to_string());
    let message = Message {
        text: format!("{header}.{}", BASE64URL.encode(payload)),
        algorithm,
    };
    let signature = key.sign(message.to_be_signed())?;
    message.signed(&signature)
}

/// Checks a message of this type against the root that its CA must have been issued by, and returns the payload.
///
/// Whether the CA's certificate is current is not asked: whoever reads this may have a clock that is wrong, and numbers its
/// messages.
pub fn open(text: &str, kind: &str, root: &Certificate) -> Result<Vec<u8>, Error> {
    let bad = |why: &str| Error::malformed("message", why);
    let jws = Jws::parse_up_to(text, MAX_MESSAGE)?;
    if jws.header.typ != kind {
        return Err(bad("it is of another type"));
    }
    let first = jws.header.x5c.first().ok_or_else(|| bad("it names no CA"))?;
    let der = BASE64.decode(first).map_err(|_| bad("its CA is not base64"))?;
    let issuer = Certificate::from_der(&der)?;
    if issuer.authority().is_none() || !issuer.may_sign_certificates() {
        return Err(bad("its signer is no CA"));
    }
    issuer.verify_issued_by(root.key())?;
    jws.verify(issuer.key())?;
    Ok(jws.payload)
}

/// RFC 7518, section 3.1, and RFC 8037.
fn word(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => "ES256",
        SignatureAlgorithm::EcdsaSha384 => "ES384",
        SignatureAlgorithm::EcdsaSha512 => "ES512",
        SignatureAlgorithm::Ed25519 => "EdDSA",
        SignatureAlgorithm::RsaSha256 => "RS256",
        SignatureAlgorithm::RsaSha384 => "RS384",
        SignatureAlgorithm::RsaSha512 => "RS512",
    }
}

/// The octets of each half of an ECDSA signature (RFC 7518, section 3.4); other signatures have no halves.
fn octets(algorithm: SignatureAlgorithm) -> Option<usize> {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => Some(32),
        SignatureAlgorithm::EcdsaSha384 => Some(48),
        SignatureAlgorithm::EcdsaSha512 => Some(66),
        SignatureAlgorithm::Ed25519
        | SignatureAlgorithm::RsaSha256
        | SignatureAlgorithm::RsaSha384
        | SignatureAlgorithm::RsaSha512 => None,
    }
}

/// The two numbers of an ECDSA signature (RFC 3279, section 2.2.3), each filled up to its full length.
fn fixed(signature: &[u8], octets: usize) -> Result<Vec<u8>, Error> {
    #[derive(Sequence)]
    struct EcdsaSignature<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }
    let read = EcdsaSignature::from_der(signature).map_err(|_| Error::Encode("signature"))?;
    let mut fixed = vec![0; 2 * octets];
    for (half, number) in fixed.chunks_mut(octets).zip([read.r, read.s]) {
        let bytes = number.as_bytes();
        let start = octets
            .checked_sub(bytes.len())
            .ok_or(Error::Encode("signature"))?;
        half[start..].copy_from_slice(bytes);
    }
    Ok(fixed)
}
