//! Certificate requests (PKCS#10, RFC 2986): what somebody asks for, and proof that they hold the key.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_CE_BASIC_CONSTRAINTS;
use const_oid::db::rfc5280::{ID_CE_EXT_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME};
use const_oid::db::rfc5912::ID_EXTENSION_REQ;
use der::asn1::{BitString, SetOfVec};
use der::{Decode, Encode};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};

use crate::Error;
use crate::key::{PrivateKey, PublicKey, SignatureAlgorithm};
use crate::name::{self, San};

/// The largest request that is looked at, in bytes of DER: an RSA-4096 request with 100 names takes a third of it.
pub const MAX_DER: usize = 16 * 1024;
/// The most alternative names that one request may hold.
pub const MAX_SANS: usize = 100;

/// A request whose signature has been verified.
///
/// What it asks for is a wish: certificates are built from the profile, never copied from here.
#[derive(Debug, Clone)]
pub struct Csr {
    der: Vec<u8>,
    common_name: Option<String>,
    sans: Vec<San>,
    public_key: PublicKey,
    wants_ca: bool,
    wants_usages: Vec<ObjectIdentifier>,
}

impl Csr {
    /// Reads DER, and verifies the signature by the key inside (RFC 2986 section 4.2).
    ///
    /// Refuses what is longer than 16 KiB, has bytes after its end, holds a key that Muster does not accept, or more
    /// than 100 alternative names.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > MAX_DER {
            return Err(Error::malformed(
                "certificate request",
                format!("it is longer than {MAX_DER} bytes"),
            ));
        }
        let request = CertReq::from_der(der).map_err(|why| Error::malformed("certificate request", why))?;
        let public_key = PublicKey::from_info(request.info.public_key.clone())?;
        verify_signature(der, &request, &public_key)?;
        let wishes = Wishes::read(&request)?;
        Ok(Self {
            der: der.to_vec(),
            common_name: name::first_common_name(&request.info.subject),
            sans: wishes.sans,
            public_key,
            wants_ca: wishes.ca,
            wants_usages: wishes.usages,
        })
    }

    /// The DER inside the first `CERTIFICATE REQUEST` (or `NEW CERTIFICATE REQUEST`) block of a text, not yet read.
    pub fn der_from_pem(text: &str) -> Result<Vec<u8>, Error> {
        let blocks = crate::pem::decode_all(text)?;
        let found = blocks
            .into_iter()
            .find(|block| block.label.ends_with("CERTIFICATE REQUEST"));
        found.map(|block| block.der).ok_or_else(|| {
            Error::malformed(
                "certificate request",
                "there is no CERTIFICATE REQUEST block in the text",
            )
        })
    }

    /// Makes and signs a request with this common name and these alternative names; both may be empty.
    pub fn build(common_name: &str, sans: &[San], key: &PrivateKey) -> Result<Vec<u8>, Error> {
        let encode = |_| Error::Encode("certificate request");
        let subject = match common_name {
            "" => x509_cert::name::Name::default(),
            text => name::common_name(text)?,
        };
        let mut attributes = SetOfVec::new();
        if !sans.is_empty() {
            let names = sans
                .iter()
                .map(San::to_general_name)
                .collect::<Result<Vec<_>, _>>()?;
            let extension = crate::cert::extension(ID_CE_SUBJECT_ALT_NAME, false, &SubjectAltName(names))?;
            let request = ExtensionReq(vec![extension]);
            let value = der::asn1::Any::encode_from(&request).map_err(encode)?;
            let values = SetOfVec::try_from([value]).map_err(encode)?;
            attributes
                .insert(Attribute {
                    oid: ID_EXTENSION_REQ,
                    values,
                })
                .map_err(encode)?;
        }
        let info = CertReqInfo {
            version: Version::V1,
            subject,
            public_key: key.public().info().clone(),
            attributes,
        };
        let signature = key.sign(&info.to_der().map_err(encode)?)?;
        let algorithm = key.public().kind().signature_algorithm().identifier()?;
        let signature = BitString::from_bytes(&signature).map_err(encode)?;
        CertReq {
            info,
            algorithm,
            signature,
        }
        .to_der()
        .map_err(encode)
    }

    /// The request as it came, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The first common name of its subject.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The alternative names it asks for.
    pub fn sans(&self) -> &[San] {
        &self.sans
    }

    /// The key that signed it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Whether it asks to become an authority (`CA:TRUE`).
    pub fn wants_ca(&self) -> bool {
        self.wants_ca
    }

    /// The extended key usages it asks for; empty when it does not say.
    pub fn wants_usages(&self) -> &[ObjectIdentifier] {
        &self.wants_usages
    }
}

/// The signed part is taken as it came, since somebody else's encoder may not be ours to the byte.
fn verify_signature(der: &[u8], request: &CertReq, key: &PublicKey) -> Result<(), Error> {
    let algorithm = SignatureAlgorithm::from_oid(request.algorithm.oid)?;
    let signed =
        first_element(der).ok_or_else(|| Error::malformed("certificate request", "it is cut short"))?;
    // `as_bytes` refuses unused bits, which nothing signs.
    let signature = request
        .signature
        .as_bytes()
        .ok_or(Error::Signature("certificate request"))?;
    key.verify(algorithm, signed, signature)
        .map_err(|_| Error::Signature("certificate request"))
}

/// The bytes of the first element inside a sequence: what is signed in every X.509 structure.
pub(crate) fn first_element(der: &[u8]) -> Option<&[u8]> {
    use der::{Header, Reader, SliceReader};
    let mut reader = SliceReader::new(der).ok()?;
    Header::decode(&mut reader).ok()?;
    reader.tlv_bytes().ok()
}

#[derive(Default)]
struct Wishes {
    sans: Vec<San>,
    ca: bool,
    usages: Vec<ObjectIdentifier>,
}

impl Wishes {
    fn read(request: &CertReq) -> Result<Self, Error> {
        let mut wishes = Self::default();
        for attribute in request
            .info
            .attributes
            .iter()
            .filter(|attribute| attribute.oid == ID_EXTENSION_REQ)
        {
            for value in attribute.values.iter() {
                let request = ExtensionReq::from_der(&value.to_der().map_err(bad)?).map_err(bad)?;
                request
                    .0
                    .iter()
                    .try_for_each(|extension| wishes.take(extension))?;
            }
        }
        Ok(wishes)
    }

    fn take(&mut self, extension: &Extension) -> Result<(), Error> {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            ID_CE_SUBJECT_ALT_NAME => {
                let names = SubjectAltName::from_der(value).map_err(bad)?.0;
                if self.sans.len() + names.len() > MAX_SANS {
                    return Err(bad(format!("it has more than {MAX_SANS} alternative names")));
                }
                for name in &names {
                    self.sans.push(San::from_general_name(name)?);
                }
            }
            ID_CE_BASIC_CONSTRAINTS => self.ca |= BasicConstraints::from_der(value).map_err(bad)?.ca,
            ID_CE_EXT_KEY_USAGE => self
                .usages
                .extend(ExtendedKeyUsage::from_der(value).map_err(bad)?.0),
            _ => {}
        }
        Ok(())
    }
}

fn bad(why: impl ToString) -> Error {
    Error::malformed("certificate request", why)
}
