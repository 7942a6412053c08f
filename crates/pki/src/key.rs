//! Public and private keys: which kinds Muster takes, and what they can do.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_EC_PUBLIC_KEY, RSA_ENCRYPTION,
    SECP_256_R_1, SECP_384_R_1, SECP_521_R_1, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION,
    SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Any, Null};
use der::{Decode, Encode};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use zeroize::Zeroizing;

use crate::Error;

/// The smallest and largest RSA modulus that is taken, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The kinds of key that Muster issues for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-256: the default, and the one that every TLS stack of the field can use.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// RSA with a modulus of this many bits.
    Rsa(u16),
}

impl KeyKind {
    /// The signature algorithm that keys of this kind sign with.
    pub fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::P256 => SignatureAlgorithm::EcdsaSha256,
            Self::P384 => SignatureAlgorithm::EcdsaSha384,
            Self::P521 => SignatureAlgorithm::EcdsaSha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
            Self::Rsa(_) => SignatureAlgorithm::RsaSha256,
        }
    }

    /// Reads `p256`, `p384`, `p521`, `ed25519`, `rsa2048`, `rsa3072` or `rsa4096`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "p256" => Self::P256,
            "p384" => Self::P384,
            "p521" => Self::P521,
            "ed25519" => Self::Ed25519,
            "rsa2048" => Self::Rsa(2048),
            "rsa3072" => Self::Rsa(3072),
            "rsa4096" => Self::Rsa(4096),
            other => {
                return Err(Error::Key(format!(
                    "{other:?} is no key type: choose p256, p384, p521, ed25519, rsa2048, rsa3072 or rsa4096"
                )));
            }
        })
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::P256 => f.write_str("p256"),
            Self::P384 => f.write_str("p384"),
            Self::P521 => f.write_str("p521"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa{bits}"),
        }
    }
}

/// A signature algorithm of X.509 (RFC 5758, RFC 8410, RFC 4055).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519.
    Ed25519,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RsaSha384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaSha512,
}

impl SignatureAlgorithm {
    /// Every algorithm, with its object identifier.
    const OIDS: [(Self, ObjectIdentifier); 7] = [
        (Self::EcdsaSha256, ECDSA_WITH_SHA_256),
        (Self::EcdsaSha384, ECDSA_WITH_SHA_384),
        (Self::EcdsaSha512, ECDSA_WITH_SHA_512),
        (Self::Ed25519, ID_ED_25519),
        (Self::RsaSha256, SHA_256_WITH_RSA_ENCRYPTION),
        (Self::RsaSha384, SHA_384_WITH_RSA_ENCRYPTION),
        (Self::RsaSha512, SHA_512_WITH_RSA_ENCRYPTION),
    ];

    /// The algorithm with this identifier; its parameters are not looked at, since other people's are often wrong.
    pub fn from_oid(oid: ObjectIdentifier) -> Result<Self, Error> {
        let known = Self::OIDS.iter().find(|(_, known)| *known == oid);
        known.map(|(algorithm, _)| *algorithm).ok_or_else(|| {
            Error::Key(format!("the signature algorithm {oid} is not accepted: sign with ECDSA, Ed25519 or RSA and SHA-256 or better"))
        })
    }

    /// What stands in a certificate: parameters absent, but NULL for RSA (RFC 4055 section 5).
    pub(crate) fn identifier(self) -> Result<AlgorithmIdentifierOwned, Error> {
        let oid = Self::OIDS
            .iter()
            .find(|(algorithm, _)| *algorithm == self)
            .map(|(_, oid)| *oid);
        let parameters = match self {
            Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512 => Some(Any::from(Null)),
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::Ed25519 => None,
        };
        Ok(AlgorithmIdentifierOwned {
            oid: oid.ok_or(Error::Encode("algorithm"))?,
            parameters,
        })
    }
}

/// A public key of an accepted kind and strength.
#[derive(Clone)]
pub struct PublicKey {
    kind: KeyKind,
    /// SubjectPublicKeyInfo, DER.
    spki: Vec<u8>,
    info: SubjectPublicKeyInfoOwned,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo (DER). Refuses other kinds of key, points that are not on the curve, RSA under
    /// 2048 or over 4096 bits, and RSA exponents that are even or under 65,537 (NIST SP 800-56B).
    pub fn from_spki(spki: &[u8]) -> Result<Self, Error> {
        let info =
            SubjectPublicKeyInfoOwned::from_der(spki).map_err(|why| Error::malformed("public key", why))?;
        Self::from_info(info)
    }

    pub(crate) fn from_info(info: SubjectPublicKeyInfoOwned) -> Result<Self, Error> {
        let kind = kind_of(&info)?;
        let spki = info.to_der().map_err(|_| Error::Encode("public key"))?;
        let key = Self { kind, spki, info };
        let algorithm = verification(kind, kind.signature_algorithm())?;
        ParsedPublicKey::new(algorithm, &key.spki)
            .map_err(|_| Error::Key("the public key is not a valid one of its kind".into()))?;
        Ok(key)
    }

    /// Its kind and size.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn info(&self) -> &SubjectPublicKeyInfoOwned {
        &self.info
    }

    /// SHA-256 over the SubjectPublicKeyInfo: what tells two keys apart.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// The subject key identifier: the leftmost 160 bits of SHA-256 over the key's bits (RFC 7093, section 2, method 1).
    pub fn identifier(&self) -> [u8; 20] {
        let hash = sha256(self.info.subject_public_key.raw_bytes());
        let mut id = [0; 20];
        id.copy_from_slice(&hash[..20]);
        id
    }

    /// Checks a signature in X.509 form (ECDSA as a DER sequence).
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        self.verify_with(verification(self.kind, algorithm)?, message, signature)
    }

    pub(crate) fn verify_with(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        lc::UnparsedPublicKey::new(algorithm, &self.spki)
            .verify(message, signature)
            .map_err(|_| Error::Signature("key holder"))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.kind)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

/// A private key in memory. Its PKCS#8 bytes are wiped when it goes.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Reads PKCS#8 (DER, not encrypted) of any accepted kind.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let (pair, spki) = read_pair(&pkcs8)?;
        Ok(Self {
            pkcs8,
            pair,
            public: PublicKey::from_spki(&spki)?,
        })
    }

    /// Reads a PEM block: PKCS#8, or the older `EC PRIVATE KEY` (RFC 5915) and `RSA PRIVATE KEY` (PKCS#1).
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let blocks = crate::pem::decode_all(text)?;
        let found = blocks
            .into_iter()
            .find(|block| block.label.ends_with("PRIVATE KEY"));
        let block = found.ok_or_else(|| Error::malformed("private key", "there is no PRIVATE KEY block"))?;
        let der = Zeroizing::new(block.der);
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(der),
            "EC PRIVATE KEY" => Self::from_sec1(&der),
            "RSA PRIVATE KEY" => {
                let pair = RsaKeyPair::from_der(&der).map_err(|why| Error::malformed("private key", why))?;
                Self::from_pair(Pair::Rsa(pair))
            }
            "ENCRYPTED PRIVATE KEY" => Err(Error::malformed(
                "private key",
                "it is encrypted: give its password",
            )),
            other => Err(Error::malformed(
                "private key",
                format!("{other} is not a kind that can be read"),
            )),
        }
    }

    /// Reads an `ENCRYPTED PRIVATE KEY` block (PKCS#8 with PBES2, RFC 8018).
    pub fn from_encrypted_pem(text: &str, password: &[u8]) -> Result<Self, Error> {
        let der = crate::pem::decode("ENCRYPTED PRIVATE KEY", text)?;
        let info = pkcs8::EncryptedPrivateKeyInfoRef::try_from(der.as_slice())
            .map_err(|why| Error::malformed("encrypted private key", why))?;
        let opened = info
            .decrypt(password)
            .map_err(|_| Error::Key("the password does not open the private key".into()))?;
        Self::from_pkcs8(Zeroizing::new(opened.as_bytes().to_vec()))
    }

    /// SEC1 names the curve inside, or leaves it to be tried.
    fn from_sec1(der: &[u8]) -> Result<Self, Error> {
        let algorithms = [
            &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
            &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
        ];
        let pair = algorithms
            .into_iter()
            .find_map(|algorithm| EcdsaKeyPair::from_private_key_der(algorithm, der).ok());
        Self::from_ecdsa(pair.ok_or_else(|| Error::malformed("private key", "it is on no accepted curve"))?)
    }

    /// The same key in the form of this crate.
    pub(crate) fn from_ecdsa(pair: EcdsaKeyPair) -> Result<Self, Error> {
        Self::from_pair(Pair::Ecdsa(pair))
    }

    fn from_pair(pair: Pair) -> Result<Self, Error> {
        let encode = |_| Error::Encode("private key");
        let pkcs8 = match &pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map_err(encode)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map_err(encode)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(pair)
                    .map_err(encode)?
                    .as_ref()
                    .to_vec()
            }
        };
        Self::from_pkcs8(Zeroizing::new(pkcs8))
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// PKCS#8, DER, not encrypted.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// PKCS#8 as PEM, not encrypted.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        crate::pem::encode(crate::pem::PRIVATE_KEY, &self.pkcs8).map(Zeroizing::new)
    }

    /// Signs with [`KeyKind::signature_algorithm`]; ECDSA signatures are DER sequences.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::Key("the private key cannot sign".into());
        // aws-lc draws the nonce from its own generator whatever is passed here.
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&rng, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&lc::RSA_PKCS1_SHA256, &rng, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.public.kind)
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn read_pair(pkcs8: &[u8]) -> Result<(Pair, Vec<u8>), Error> {
    let bad = |why: &dyn std::fmt::Display| Error::malformed("private key", why);
    let info = pkcs8::PrivateKeyInfoRef::try_from(pkcs8).map_err(|why| bad(&why))?;
    let oid = info.algorithm.oid;
    let spki = |der: Result<aws_lc_rs::encoding::PublicKeyX509Der<'static>, _>| {
        der.map(|der| der.as_ref().to_vec())
            .map_err(|_: aws_lc_rs::error::Unspecified| Error::Encode("public key"))
    };
    if oid == ID_EC_PUBLIC_KEY {
        let algorithm = match info.algorithm.parameters_oid().map_err(|why| bad(&why))? {
            SECP_256_R_1 => &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            SECP_384_R_1 => &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
            SECP_521_R_1 => &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
            other => {
                return Err(Error::Key(format!(
                    "the curve {other} is not accepted: use P-256, P-384 or P-521"
                )));
            }
        };
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(|why| bad(&why))?;
        let spki = spki(aws_lc_rs::encoding::AsDer::as_der(pair.public_key()))?;
        Ok((Pair::Ecdsa(pair), spki))
    } else if oid == ID_ED_25519 {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|why| bad(&why))?;
        let spki = spki(aws_lc_rs::encoding::AsDer::as_der(pair.public_key()))?;
        Ok((Pair::Ed25519(pair), spki))
    } else if oid == RSA_ENCRYPTION {
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|why| bad(&why))?;
        let spki = spki(aws_lc_rs::encoding::AsDer::as_der(pair.public_key()))?;
        Ok((Pair::Rsa(pair), spki))
    } else {
        Err(Error::Key(format!(
            "keys of kind {oid} are not accepted: use EC, Ed25519 or RSA"
        )))
    }
}

fn kind_of(info: &SubjectPublicKeyInfoOwned) -> Result<KeyKind, Error> {
    let oid = info.algorithm.oid;
    if oid == ID_EC_PUBLIC_KEY {
        let named = info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        return match named.ok_or_else(|| Error::Key("an EC key must name its curve".into()))? {
            SECP_256_R_1 => Ok(KeyKind::P256),
            SECP_384_R_1 => Ok(KeyKind::P384),
            SECP_521_R_1 => Ok(KeyKind::P521),
            other => Err(Error::Key(format!(
                "the curve {other} is not accepted: use P-256, P-384 or P-521"
            ))),
        };
    }
    if oid == ID_ED_25519 {
        return Ok(KeyKind::Ed25519);
    }
    if oid == RSA_ENCRYPTION {
        return rsa_bits(info.subject_public_key.raw_bytes()).map(KeyKind::Rsa);
    }
    Err(Error::Key(format!(
        "keys of kind {oid} are not accepted: use EC (P-256, P-384, P-521), Ed25519 or RSA"
    )))
}

/// RFC 8017 appendix A.1.1.
#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: der::asn1::UintRef<'a>,
    exponent: der::asn1::UintRef<'a>,
}

fn rsa_bits(der: &[u8]) -> Result<u16, Error> {
    let key = RsaPublicKey::from_der(der).map_err(|why| Error::malformed("RSA key", why))?;
    let modulus = key.modulus.as_bytes();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    if !RSA_BITS.contains(&bits) {
        return Err(Error::Key(format!(
            "an RSA key of {bits} bits is not accepted: use 2048 to 4096"
        )));
    }
    let exponent = key.exponent.as_bytes();
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if !odd || exponent.len() < 3 || exponent.len() > 8 {
        return Err(Error::Key("the RSA exponent is not accepted: use 65537".into()));
    }
    u16::try_from(bits).map_err(|_| Error::Encode("key size"))
}

/// What verifies signatures of this algorithm by keys of this kind.
fn verification(
    kind: KeyKind,
    algorithm: SignatureAlgorithm,
) -> Result<&'static dyn VerificationAlgorithm, Error> {
    use SignatureAlgorithm as A;
    Ok(match (kind, algorithm) {
        (KeyKind::P256, A::EcdsaSha256) => &lc::ECDSA_P256_SHA256_ASN1,
        (KeyKind::P256, A::EcdsaSha384) => &lc::ECDSA_P256_SHA384_ASN1,
        (KeyKind::P256, A::EcdsaSha512) => &lc::ECDSA_P256_SHA512_ASN1,
        (KeyKind::P384, A::EcdsaSha256) => &lc::ECDSA_P384_SHA256_ASN1,
        (KeyKind::P384, A::EcdsaSha384) => &lc::ECDSA_P384_SHA384_ASN1,
        (KeyKind::P384, A::EcdsaSha512) => &lc::ECDSA_P384_SHA512_ASN1,
        (KeyKind::P521, A::EcdsaSha256) => &lc::ECDSA_P521_SHA256_ASN1,
        (KeyKind::P521, A::EcdsaSha384) => &lc::ECDSA_P521_SHA384_ASN1,
        (KeyKind::P521, A::EcdsaSha512) => &lc::ECDSA_P521_SHA512_ASN1,
        (KeyKind::Ed25519, A::Ed25519) => &lc::ED25519,
        (KeyKind::Rsa(_), A::RsaSha256) => &lc::RSA_PKCS1_2048_8192_SHA256,
        (KeyKind::Rsa(_), A::RsaSha384) => &lc::RSA_PKCS1_2048_8192_SHA384,
        (KeyKind::Rsa(_), A::RsaSha512) => &lc::RSA_PKCS1_2048_8192_SHA512,
        (_, algorithm) => {
            return Err(Error::Key(format!(
                "a key of kind {kind} does not make {algorithm:?} signatures"
            )));
        }
    })
}
