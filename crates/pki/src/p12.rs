//! PKCS#12 (RFC 7292): a private key and its certificates in one file under a password, for Java, Windows and phones.
//!
//! The key and the certificates are encrypted with PBES2 (PBKDF2-HMAC-SHA256, AES-256-CBC) and the whole is
//! authenticated with HMAC-SHA256: what OpenSSL 3, Java 8u301, Windows 10 1709 and later read. Older readers want
//! RC2 and SHA-1, which are not offered.

use aws_lc_rs::{digest, hmac};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_DATA, ID_ENCRYPTED_DATA};
use const_oid::db::rfc5912::ID_SHA_256;
use der::asn1::{Any, BmpString, Null, OctetString, SetOfVec};
use der::{Decode, Encode, EncodeValue, Sequence};
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, Attributes};
use zeroize::Zeroizing;

/// How many random bytes one file needs: five salts and initialisation vectors of 16 bytes.
pub const SEED_LEN: usize = 80;

/// What OWASP asks for a password that people choose is six times this; a small ARM board then needs seconds to open it.
const ITERATIONS: u32 = 100_000;
const SALT_LEN: usize = 16;

const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.21");

/// What goes into the file. All certificates and the key are DER.
#[derive(Clone, Copy)]
pub struct Pfx<'a> {
    /// Shown by the programs that list the file's contents (`friendlyName`); the device's name.
    pub name: &'a str,
    /// The private key: PKCS#8 `PrivateKeyInfo`, not encrypted.
    pub key_pkcs8: &'a [u8],
    /// The certificate of that key.
    pub leaf: &'a [u8],
    /// The issuing CA and what is above it, the root included, in any order.
    pub chain: &'a [&'a [u8]],
    /// At least one character. Programs on other systems want it without characters beyond U+FFFF.
    pub password: &'a str,
    /// Fresh random bytes for this file alone. A seed used twice shows which parts of two files are equal.
    pub seed: &'a [u8; SEED_LEN],
}

impl std::fmt::Debug for Pfx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pfx")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a file could not be made. No text holds anything of the key or of the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The password has no character; many programs then read no file at all.
    #[error("a PKCS#12 file needs a password")]
    EmptyPassword,
    /// The key is not an unencrypted PKCS#8 structure.
    #[error("the private key is not an unencrypted PKCS#8 structure")]
    Key,
    /// One of the certificates cannot be read.
    #[error("certificate {0} of the PKCS#12 file cannot be read")]
    Certificate(usize),
    /// A value does not fit its type; for example a name with characters beyond U+FFFF.
    #[error("the {0} cannot be written into a PKCS#12 file")]
    Encode(&'static str),
}

/// The DER of a PKCS#12 file (RFC 7292, section 4), customarily called `NAME.p12` or `NAME.pfx`.
///
/// # Errors
/// Refuses an empty password, a key that is not PKCS#8, certificates that cannot be read, and names that a
/// `BMPString` cannot hold.
pub fn pfx(input: &Pfx<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    check(input)?;
    let [key_salt, key_iv, cert_salt, cert_iv, mac_salt] = split(input.seed);
    let marks = marks(input)?;

    let key_bag = key_bag(input, marks.clone(), &key_salt, key_iv)?;
    let cert_bags = cert_bags(input, &marks)?;
    let safe = vec![
        data(&vec![key_bag].to_der().map_err(|_| Error::Encode("key"))?)?,
        encrypted_data(
            &cert_bags.to_der().map_err(|_| Error::Encode("certificates"))?,
            input.password,
            &cert_salt,
            cert_iv,
        )?,
    ];
    let auth_safe = safe.to_der().map_err(|_| Error::Encode("contents"))?;
    let mac_data = mac(&auth_safe, input.password, &mac_salt)?;

    let file = PfxDer {
        version: 3,
        auth_safe: data(&auth_safe)?,
        mac_data,
    };
    file.to_der()
        .map(Zeroizing::new)
        .map_err(|_| Error::Encode("file"))
}

fn check(input: &Pfx<'_>) -> Result<(), Error> {
    if input.password.is_empty() {
        return Err(Error::EmptyPassword);
    }
    pkcs8::PrivateKeyInfoRef::try_from(input.key_pkcs8).map_err(|_| Error::Key)?;
    for (index, der) in certificates(input).enumerate() {
        Certificate::from_der(der).map_err(|_| Error::Certificate(index + 1))?;
    }
    Ok(())
}

fn certificates<'a>(input: &Pfx<'a>) -> impl Iterator<Item = &'a [u8]> {
    std::iter::once(input.leaf).chain(input.chain.iter().copied())
}

fn split(seed: &[u8; SEED_LEN]) -> [[u8; SALT_LEN]; 5] {
    let mut parts = [[0; SALT_LEN]; 5];
    for (part, bytes) in parts.iter_mut().zip(seed.chunks_exact(SALT_LEN)) {
        part.copy_from_slice(bytes);
    }
    parts
}

/// The attributes by which a reader finds the certificate of the key (RFC 7292, section 4.2).
fn marks(input: &Pfx<'_>) -> Result<Attributes, Error> {
    let name = BmpString::from_utf8(input.name).map_err(|_| Error::Encode("name"))?;
    let key_id = digest::digest(&digest::SHA256, input.leaf);
    let key_id = OctetString::new(key_id.as_ref()).map_err(|_| Error::Encode("key id"))?;
    let marks = vec![
        attribute(FRIENDLY_NAME, &name)?,
        attribute(LOCAL_KEY_ID, &key_id)?,
    ];
    SetOfVec::try_from(marks).map_err(|_| Error::Encode("attributes"))
}

fn attribute(oid: ObjectIdentifier, value: &(impl EncodeValue + der::Tagged)) -> Result<Attribute, Error> {
    let value = Any::encode_from(value).map_err(|_| Error::Encode("attribute"))?;
    let values = SetOfVec::try_from([value]).map_err(|_| Error::Encode("attribute"))?;
    Ok(Attribute { oid, values })
}

fn key_bag(input: &Pfx<'_>, marks: Attributes, salt: &[u8], iv: [u8; SALT_LEN]) -> Result<SafeBag, Error> {
    let (algorithm, encrypted) = encrypt(input.key_pkcs8, input.password, salt, iv)?;
    let encrypted = OctetString::new(encrypted).map_err(|_| Error::Encode("key"))?;
    let shrouded = ShroudedKey { algorithm, encrypted };
    Ok(SafeBag {
        bag_id: KEY_BAG,
        value: any(&shrouded, "key")?,
        attributes: Some(marks),
    })
}

fn cert_bags(input: &Pfx<'_>, marks: &Attributes) -> Result<Vec<SafeBag>, Error> {
    let bag = |(index, der): (usize, &[u8])| {
        let value = OctetString::new(der).map_err(|_| Error::Certificate(index + 1))?;
        let cert = CertBag {
            cert_id: X509_CERTIFICATE,
            value,
        };
        // Only the leaf carries the marks: a CA with them would be taken for the certificate of the key.
        let attributes = (index == 0).then(|| marks.clone());
        Ok(SafeBag {
            bag_id: CERT_BAG,
            value: any(&cert, "certificate")?,
            attributes,
        })
    };
    certificates(input).enumerate().map(bag).collect()
}

fn data(bytes: &[u8]) -> Result<ContentInfo, Error> {
    let octets = OctetString::new(bytes).map_err(|_| Error::Encode("contents"))?;
    Ok(ContentInfo {
        content_type: ID_DATA,
        content: any(&octets, "contents")?,
    })
}

fn encrypted_data(
    plain: &[u8],
    password: &str,
    salt: &[u8],
    iv: [u8; SALT_LEN],
) -> Result<ContentInfo, Error> {
    let (algorithm, encrypted) = encrypt(plain, password, salt, iv)?;
    let encrypted = OctetString::new(encrypted).map_err(|_| Error::Encode("certificates"))?;
    let content = EncryptedContent {
        content_type: ID_DATA,
        algorithm,
        encrypted: Some(encrypted),
    };
    let body = EncryptedData { version: 0, content };
    Ok(ContentInfo {
        content_type: ID_ENCRYPTED_DATA,
        content: any(&body, "certificates")?,
    })
}

/// PBES2 takes the password as UTF-8, unlike the MAC.
fn encrypt(
    plain: &[u8],
    password: &str,
    salt: &[u8],
    iv: [u8; SALT_LEN],
) -> Result<(AlgorithmIdentifierOwned, Vec<u8>), Error> {
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, salt, iv)
        .map_err(|_| Error::Encode("salt"))?;
    let encrypted = parameters
        .encrypt(password, plain)
        .map_err(|_| Error::Encode("contents"))?;
    let parameters = Any::encode_from(&parameters).map_err(|_| Error::Encode("salt"))?;
    Ok((
        AlgorithmIdentifierOwned {
            oid: pkcs8::pkcs5::pbes2::PBES2_OID,
            parameters: Some(parameters),
        },
        encrypted,
    ))
}

fn mac(auth_safe: &[u8], password: &str, salt: &[u8; SALT_LEN]) -> Result<MacData, Error> {
    let key = mac_key(password, salt, ITERATIONS);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), auth_safe);
    let null = Any::encode_from(&Null).map_err(|_| Error::Encode("checksum"))?;
    Ok(MacData {
        mac: DigestInfo {
            algorithm: AlgorithmIdentifierOwned {
                oid: ID_SHA_256,
                parameters: Some(null),
            },
            digest: OctetString::new(tag.as_ref()).map_err(|_| Error::Encode("checksum"))?,
        },
        salt: OctetString::new(salt.as_slice()).map_err(|_| Error::Encode("salt"))?,
        iterations: ITERATIONS,
    })
}

/// RFC 7292, appendix B.2 with SHA-256 and purpose 3 (MAC): the key is as long as one hash, so the loop of its step 6
/// runs once and step 6C, which prepares the next round, never.
fn mac_key(password: &str, salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
    const MAC: u8 = 3;
    const BLOCK: usize = 64;
    let mut text: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    text.extend(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes));

    let mut first = digest::Context::new(&digest::SHA256);
    first.update(&[MAC; BLOCK]);
    first.update(&fill_blocks(salt, BLOCK));
    first.update(&fill_blocks(&text, BLOCK));

    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(first.finish().as_ref());
    for _ in 1..iterations {
        let next = digest::digest(&digest::SHA256, key.as_ref());
        key.copy_from_slice(next.as_ref());
    }
    key
}

/// Repeats a value until it fills whole blocks (RFC 7292, appendix B.2, steps 2 and 3).
fn fill_blocks(value: &[u8], block: usize) -> Zeroizing<Vec<u8>> {
    let length = value.len().div_ceil(block) * block;
    let mut filled = Zeroizing::new(Vec::with_capacity(length));
    filled.extend(value.iter().copied().cycle().take(length));
    filled
}

fn any<T: EncodeValue + der::Tagged>(value: &T, what: &'static str) -> Result<Any, Error> {
    Any::encode_from(value).map_err(|_| Error::Encode(what))
}

/// `PFX` (RFC 7292, section 4).
#[derive(Sequence)]
struct PfxDer {
    version: u8,
    auth_safe: ContentInfo,
    mac_data: MacData,
}

/// `ContentInfo` (RFC 2315, section 7).
#[derive(Sequence)]
struct ContentInfo {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: Any,
}

/// `EncryptedData` (RFC 2315, section 13).
#[derive(Sequence)]
struct EncryptedData {
    version: u8,
    content: EncryptedContent,
}

/// `EncryptedContentInfo` (RFC 2315, section 10.1).
#[derive(Sequence)]
struct EncryptedContent {
    content_type: ObjectIdentifier,
    algorithm: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    encrypted: Option<OctetString>,
}

/// `SafeBag` (RFC 7292, section 4.2).
#[derive(Sequence)]
struct SafeBag {
    bag_id: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: Any,
    attributes: Option<Attributes>,
}

/// `CertBag` (RFC 7292, section 4.2.3).
#[derive(Sequence)]
struct CertBag {
    cert_id: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: OctetString,
}

/// `EncryptedPrivateKeyInfo` (RFC 5958, section 3).
#[derive(Sequence)]
struct ShroudedKey {
    algorithm: AlgorithmIdentifierOwned,
    encrypted: OctetString,
}

/// `MacData` (RFC 7292, section 4).
#[derive(Sequence)]
struct MacData {
    mac: DigestInfo,
    salt: OctetString,
    iterations: u32,
}

/// `DigestInfo` (RFC 2315, section 9.4).
#[derive(Sequence)]
struct DigestInfo {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of `openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexpass:0073006d006500670000
    /// -kdfopt salt:saltsalt -kdfopt iter:1000 -kdfopt id:3 PKCS12KDF`.
    #[test]
    fn the_mac_key_is_what_others_derive() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(mac_key("smeg", b"saltsalt", 1000).as_ref()),
            "da71aff70403cc04264dd495c85f2c25daff681aa754eaf91f0102be8c69910f"
        );
    }
}
