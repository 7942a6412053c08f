//! Certificates (RFC 5280, section 4): what will be signed, and what was.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH, ID_KP_TIME_STAMPING, ID_PE_AUTHORITY_INFO_ACCESS,
};
use der::asn1::{BitString, Ia5String, OctetString};
use der::flagset::FlagSet;
use der::{Decode, Encode};
use jiff::Timestamp;
use x509_cert::certificate::{CertificateInner, TbsCertificateInner};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::serial_number::SerialNumber;

use crate::Error;
use crate::key::{KeyKind, PublicKey, SignatureAlgorithm};
use crate::name::{self, San};
use crate::time;

/// What a certificate lets its holder be. Extended key usages (RFC 5280, section 4.2.1.12), never critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usages {
    /// `clientAuth`: a device, a site, a bridge.
    pub client: bool,
    /// `serverAuth`: a broker, an HTTPS server.
    pub server: bool,
}

/// Where a verifier finds out more: plain HTTP, as RFC 5280 sections 4.2.1.13 and 4.2.2.1 expect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointers {
    /// The issuer's CRL.
    pub crl: Option<String>,
    /// The issuer's certificate, DER.
    pub issuer: Option<String>,
}

/// What kind of certificate it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// An authority; `path_len` authorities may stand below it (`None`: any number).
    Authority {
        /// The path length constraint.
        path_len: Option<u8>,
    },
    /// A device or broker.
    Leaf(Usages),
    /// Who tells the time (RFC 3161, section 2.3), and does nothing else.
    Time,
}

/// Who signs.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The issuer's subject, DER.
    pub name: Vec<u8>,
    /// The issuer's subject key identifier as it stands in its certificate.
    pub key_id: Vec<u8>,
    /// What its key signs with.
    pub algorithm: SignatureAlgorithm,
}

/// Everything that stands in a certificate, but for the signature.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// 1 to 20 octets, positive (RFC 5280, section 4.1.2.2).
    pub serial: &'a [u8],
    /// The subject's common name.
    pub common_name: &'a str,
    /// Its alternative names.
    pub sans: &'a [San],
    /// First moment of validity; whole seconds count.
    pub not_before: Timestamp,
    /// Last moment of validity, inclusive.
    pub not_after: Timestamp,
    /// The subject's key.
    pub key: &'a PublicKey,
    /// Authority or leaf.
    pub role: Role,
    /// CRL and issuer pointers.
    pub pointers: &'a Pointers,
}

impl Template<'_> {
    /// The bytes to sign: a TBSCertificate, DER. `issuer: None` means self-signed by `key`.
    pub fn to_be_signed(&self, issuer: Option<&Issuer>) -> Result<Vec<u8>, Error> {
        let subject = name::common_name(self.common_name)?;
        let (issuer_name, algorithm) = match issuer {
            Some(issuer) => (name::from_der(&issuer.name)?, issuer.algorithm),
            None => (subject.clone(), self.key.kind().signature_algorithm()),
        };
        // x509-cert keeps the fields private but derives Decode from the parts; its builder is the only other door
        // and would sign by itself, so the structure is encoded from its own typed parts.
        let tbs = Tbs {
            version: x509_cert::certificate::Version::V3,
            serial_number: SerialNumber::new(self.serial).map_err(|_| Error::Encode("serial number"))?,
            signature: algorithm.identifier()?,
            issuer: issuer_name,
            validity: x509_cert::time::Validity::new(
                time::to_x509(self.not_before)?,
                time::to_x509(self.not_after)?,
            ),
            subject,
            subject_public_key_info: self.key.info().clone(),
            extensions: self.extensions(issuer)?,
        };
        tbs.to_der().map_err(|_| Error::Encode("certificate"))
    }

    fn extensions(&self, issuer: Option<&Issuer>) -> Result<Vec<Extension>, Error> {
        let mut list = Vec::with_capacity(8);
        match self.role {
            Role::Authority { path_len } => {
                let constraints = BasicConstraints {
                    ca: true,
                    path_len_constraint: path_len,
                };
                list.push(extension(ID_CE_BASIC_CONSTRAINTS, true, &constraints)?);
                let usage = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
                list.push(extension(ID_CE_KEY_USAGE, true, &KeyUsage(usage))?);
            }
            Role::Leaf(usages) => {
                list.push(extension(
                    ID_CE_KEY_USAGE,
                    true,
                    &KeyUsage(leaf_key_usage(self.key.kind(), usages)),
                )?);
                list.push(extension(ID_CE_EXT_KEY_USAGE, false, &extended(usages))?);
            }
            Role::Time => {
                let usage = KeyUsages::DigitalSignature;
                list.push(extension(ID_CE_KEY_USAGE, true, &KeyUsage(usage.into()))?);
                let stamping = ExtendedKeyUsage(vec![ID_KP_TIME_STAMPING]);
                list.push(extension(ID_CE_EXT_KEY_USAGE, true, &stamping)?);
            }
        }
        list.push(extension(
            ID_CE_SUBJECT_KEY_IDENTIFIER,
            false,
            &SubjectKeyIdentifier(octets(&self.key.identifier())?),
        )?);
        if let Some(issuer) = issuer {
            let id = AuthorityKeyIdentifier {
                key_identifier: Some(octets(&issuer.key_id)?),
                ..Default::default()
            };
            list.push(extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &id)?);
        }
        if !self.sans.is_empty() {
            let names = self
                .sans
                .iter()
                .map(San::to_general_name)
                .collect::<Result<Vec<_>, _>>()?;
            list.push(extension(ID_CE_SUBJECT_ALT_NAME, false, &SubjectAltName(names))?);
        }
        list.extend(self.pointer_extensions()?);
        Ok(list)
    }

    fn pointer_extensions(&self) -> Result<Vec<Extension>, Error> {
        let mut list = Vec::new();
        if let Some(url) = &self.pointers.crl {
            let point = DistributionPoint {
                distribution_point: Some(DistributionPointName::FullName(vec![uri(url)?])),
                reasons: None,
                crl_issuer: None,
            };
            list.push(extension(
                ID_CE_CRL_DISTRIBUTION_POINTS,
                false,
                &CrlDistributionPoints(vec![point]),
            )?);
        }
        if let Some(url) = &self.pointers.issuer {
            let access = AccessDescription {
                access_method: ID_AD_CA_ISSUERS,
                access_location: uri(url)?,
            };
            list.push(extension(
                ID_PE_AUTHORITY_INFO_ACCESS,
                false,
                &AuthorityInfoAccessSyntax(vec![access]),
            )?);
        }
        Ok(list)
    }
}

/// TBSCertificate (RFC 5280, section 4.1) with the fields that Muster writes.
#[derive(der::Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", default = "Default::default")]
    version: x509_cert::certificate::Version,
    serial_number: SerialNumber,
    signature: x509_cert::spki::AlgorithmIdentifierOwned,
    issuer: x509_cert::name::Name,
    validity: x509_cert::time::Validity,
    subject: x509_cert::name::Name,
    subject_public_key_info: x509_cert::spki::SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// Certificate, CertificateList and CertificationRequest share this shape (RFC 5280, section 4.1.1).
#[derive(der::Sequence)]
struct Signed<'a> {
    to_be_signed: der::asn1::AnyRef<'a>,
    algorithm: x509_cert::spki::AlgorithmIdentifierOwned,
    signature: BitString,
}

/// Joins what was signed with its signature: DER of a certificate or a CRL.
pub fn assemble(
    to_be_signed: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
) -> Result<Vec<u8>, Error> {
    let encode = |_| Error::Encode("signed structure");
    Signed {
        to_be_signed: der::asn1::AnyRef::from_der(to_be_signed).map_err(encode)?,
        algorithm: algorithm.identifier()?,
        signature: BitString::from_bytes(signature).map_err(encode)?,
    }
    .to_der()
    .map_err(encode)
}

/// A certificate that was read.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: TbsCertificateInner,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    key: PublicKey,
}

impl Certificate {
    /// Reads DER; checks no signature. Refuses keys that Muster does not accept.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let parsed = CertificateInner::from_der(der).map_err(|why| Error::malformed("certificate", why))?;
        let tbs = parsed.tbs_certificate().clone();
        let key = PublicKey::from_info(tbs.subject_public_key_info().clone())?;
        let algorithm = SignatureAlgorithm::from_oid(parsed.signature_algorithm().oid)?;
        let signature = parsed
            .signature()
            .as_bytes()
            .ok_or(Error::Signature("certificate"))?
            .to_vec();
        Ok(Self {
            der: der.to_vec(),
            tbs,
            algorithm,
            signature,
            key,
        })
    }

    /// Reads every `CERTIFICATE` block of a text, in order.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, Error> {
        let blocks = crate::pem::decode_all(text)?;
        blocks
            .iter()
            .filter(|block| block.label == crate::pem::CERTIFICATE)
            .map(|block| Self::from_der(&block.der))
            .collect()
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The serial number as it is encoded: a leading zero octet where the first bit would be set.
    pub fn serial(&self) -> &[u8] {
        self.tbs.serial_number().as_bytes()
    }

    /// The subject's key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The subject, DER.
    pub fn subject(&self) -> Result<Vec<u8>, Error> {
        name::to_der(self.tbs.subject())
    }

    /// The issuer's name, DER.
    pub fn issuer(&self) -> Result<Vec<u8>, Error> {
        name::to_der(self.tbs.issuer())
    }

    /// The subject's first common name.
    pub fn common_name(&self) -> Option<String> {
        name::first_common_name(self.tbs.subject())
    }

    /// The issuer's first common name.
    pub fn issuer_common_name(&self) -> Option<String> {
        name::first_common_name(self.tbs.issuer())
    }

    /// First moment of validity.
    pub fn not_before(&self) -> Timestamp {
        time::from_x509(self.tbs.validity().not_before)
    }

    /// Last moment of validity.
    pub fn not_after(&self) -> Timestamp {
        time::from_x509(self.tbs.validity().not_after)
    }

    /// Whether it is an authority's, and how many may stand below it.
    pub fn authority(&self) -> Option<Option<u8>> {
        let constraints = self.read::<BasicConstraints>(ID_CE_BASIC_CONSTRAINTS)?;
        constraints.ca.then_some(constraints.path_len_constraint)
    }

    /// Whether it may sign certificates (no key usage extension means yes).
    pub fn may_sign_certificates(&self) -> bool {
        self.read::<KeyUsage>(ID_CE_KEY_USAGE)
            .is_none_or(|usage| usage.0.contains(KeyUsages::KeyCertSign))
    }

    /// Whether it may sign CRLs (no key usage extension means yes).
    pub fn may_sign_crls(&self) -> bool {
        self.read::<KeyUsage>(ID_CE_KEY_USAGE)
            .is_none_or(|usage| usage.0.contains(KeyUsages::CRLSign))
    }

    /// What it lets its holder be. Without an extended key usage, everything.
    pub fn usages(&self) -> Usages {
        match self.read::<ExtendedKeyUsage>(ID_CE_EXT_KEY_USAGE) {
            Some(usage) => Usages {
                client: usage.0.contains(&ID_KP_CLIENT_AUTH),
                server: usage.0.contains(&ID_KP_SERVER_AUTH),
            },
            None => Usages {
                client: true,
                server: true,
            },
        }
    }

    /// Whether its holder tells the time, and does nothing else.
    pub(crate) fn is_for_time(&self) -> bool {
        self.read::<ExtendedKeyUsage>(ID_CE_EXT_KEY_USAGE)
            .is_some_and(|usage| usage.0 == [ID_KP_TIME_STAMPING])
    }

    /// The subject key identifier as it is encoded.
    pub fn key_id(&self) -> Option<Vec<u8>> {
        self.read::<SubjectKeyIdentifier>(ID_CE_SUBJECT_KEY_IDENTIFIER)
            .map(|id| id.0.as_bytes().to_vec())
    }

    /// Alternative names of the types that Muster issues.
    pub fn sans(&self) -> Vec<San> {
        let names = self
            .read::<SubjectAltName>(ID_CE_SUBJECT_ALT_NAME)
            .map(|names| names.0)
            .unwrap_or_default();
        names
            .iter()
            .filter_map(|name| San::from_general_name(name).ok())
            .collect()
    }

    /// SHA-256 over the DER, the fingerprint that `step` and browsers show.
    pub fn fingerprint(&self) -> [u8; 32] {
        crate::key::sha256(&self.der)
    }

    /// Whether `issuer` signed this.
    pub fn verify_issued_by(&self, issuer: &PublicKey) -> Result<(), Error> {
        let signed = crate::csr::first_element(&self.der).ok_or(Error::Signature("certificate"))?;
        issuer
            .verify(self.algorithm, signed, &self.signature)
            .map_err(|_| Error::Signature("certificate"))
    }

    /// This certificate as the issuer of others.
    pub fn as_issuer(&self) -> Result<Issuer, Error> {
        Ok(Issuer {
            name: self.subject()?,
            key_id: self.key_id().unwrap_or_else(|| self.key.identifier().to_vec()),
            algorithm: self.key.kind().signature_algorithm(),
        })
    }

    /// PEM, one block.
    pub fn to_pem(&self) -> Result<String, Error> {
        crate::pem::encode(crate::pem::CERTIFICATE, &self.der)
    }

    fn read<T: for<'a> Decode<'a>>(&self, oid: ObjectIdentifier) -> Option<T> {
        let extension = self
            .tbs
            .extensions()?
            .iter()
            .find(|extension| extension.extn_id == oid)?;
        T::from_der(extension.extn_value.as_bytes()).ok()
    }
}

/// RFC 8813: an EC or Ed25519 leaf signs and does nothing else; an RSA server may also be sent a key.
fn leaf_key_usage(kind: KeyKind, usages: Usages) -> FlagSet<KeyUsages> {
    match kind {
        KeyKind::Rsa(_) if usages.server => KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment,
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519 | KeyKind::Rsa(_) => {
            KeyUsages::DigitalSignature.into()
        }
    }
}

fn extended(usages: Usages) -> ExtendedKeyUsage {
    let server = usages.server.then_some(ID_KP_SERVER_AUTH);
    let client = usages.client.then_some(ID_KP_CLIENT_AUTH);
    ExtendedKeyUsage(server.into_iter().chain(client).collect())
}

pub(crate) fn extension<T: Encode>(
    oid: ObjectIdentifier,
    critical: bool,
    value: &T,
) -> Result<Extension, Error> {
    let der = value.to_der().map_err(|_| Error::Encode("extension"))?;
    Ok(Extension {
        extn_id: oid,
        critical,
        extn_value: octets(&der)?,
    })
}

fn octets(bytes: &[u8]) -> Result<OctetString, Error> {
    OctetString::new(bytes).map_err(|_| Error::Encode("extension"))
}

fn uri(url: &str) -> Result<GeneralName, Error> {
    Ia5String::new(url)
        .map(GeneralName::UniformResourceIdentifier)
        .map_err(|_| Error::Encode("pointer"))
}
