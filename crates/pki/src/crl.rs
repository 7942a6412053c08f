//! Certificate revocation lists (RFC 5280, section 5): one full list per authority.

use const_oid::db::rfc5280::{ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_CRL_REASONS};
use der::asn1::{OctetString, Uint};
use der::{Decode, Encode};
use jiff::Timestamp;
use x509_cert::certificate::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason};
use x509_cert::serial_number::SerialNumber;

use crate::Error;
use crate::cert::{Issuer, extension};
use crate::key::{PublicKey, SignatureAlgorithm};
use crate::{name, time};

/// Why a certificate is not to be trusted any more (RFC 5280, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 0; never written out.
    Unspecified,
    /// 1: somebody else may hold the key.
    KeyCompromise,
    /// 2: the authority's key may be known.
    CaCompromise,
    /// 3: the name or the owner changed.
    AffiliationChanged,
    /// 4: a newer certificate took its place.
    Superseded,
    /// 5: the device is gone.
    CessationOfOperation,
    /// 6: suspended; the only one that can be undone.
    CertificateHold,
    /// 9: the right to the name was withdrawn.
    PrivilegeWithdrawn,
    /// 10: the attribute authority's key may be known.
    AaCompromise,
}

impl Reason {
    /// Every reason with its number and its name on the command line.
    const ALL: [(Self, u8, &'static str); 9] = [
        (Self::Unspecified, 0, "unspecified"),
        (Self::KeyCompromise, 1, "key-compromise"),
        (Self::CaCompromise, 2, "ca-compromise"),
        (Self::AffiliationChanged, 3, "affiliation-changed"),
        (Self::Superseded, 4, "superseded"),
        (Self::CessationOfOperation, 5, "cessation-of-operation"),
        (Self::CertificateHold, 6, "certificate-hold"),
        (Self::PrivilegeWithdrawn, 9, "privilege-withdrawn"),
        (Self::AaCompromise, 10, "aa-compromise"),
    ];

    /// The number of RFC 5280.
    pub fn code(self) -> u8 {
        Self::ALL
            .iter()
            .find(|(reason, ..)| *reason == self)
            .map_or(0, |(_, code, _)| *code)
    }

    /// Reads the number; 7 is not used, 8 is for delta CRLs only.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known, _)| *known == code)
            .map(|(reason, ..)| *reason)
    }

    /// Reads a name such as `key-compromise`; `keyCompromise` passes too.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        let found = Self::ALL.iter().find(|(.., name)| plain(name) == plain(text));
        found.map(|(reason, ..)| *reason).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(.., name)| *name).collect();
            Error::Name(format!("{text:?} is no reason: choose {}", names.join(", ")))
        })
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(reason, ..)| reason == self)
                .map_or("unspecified", |(.., name)| name),
        )
    }
}

/// One revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number, as encoded.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub revoked_at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// What will stand in a list, but for the signature.
#[derive(Debug)]
pub struct CrlTemplate<'a> {
    /// Rises with every list of this issuer (RFC 5280, section 5.2.3).
    pub number: u64,
    /// From when it holds.
    pub this_update: Timestamp,
    /// After when verifiers refuse everybody.
    pub next_update: Timestamp,
    /// The revoked certificates.
    pub entries: &'a [Entry],
}

impl CrlTemplate<'_> {
    /// The bytes to sign: a TBSCertList, DER.
    pub fn to_be_signed(&self, issuer: &Issuer) -> Result<Vec<u8>, Error> {
        let encode = |_| Error::Encode("CRL");
        let key_id = OctetString::new(issuer.key_id.as_slice()).map_err(encode)?;
        let number = CrlNumber(Uint::new(&self.number.to_be_bytes()).map_err(encode)?);
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(key_id),
            ..Default::default()
        };
        let entries = self.entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        TbsCertList {
            version: Version::V2,
            signature: issuer.algorithm.identifier()?,
            issuer: name::from_der(&issuer.name)?,
            this_update: time::to_x509(self.this_update)?,
            next_update: Some(time::to_x509(self.next_update)?),
            // Section 5.1.2.6: absent, not empty.
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: Some(vec![
                extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &authority)?,
                extension(ID_CE_CRL_NUMBER, false, &number)?,
            ]),
        }
        .to_der()
        .map_err(encode)
    }
}

fn entry(entry: &Entry) -> Result<RevokedCert, Error> {
    let extensions = if entry.reason == Reason::Unspecified {
        None
    } else {
        Some(vec![extension(
            ID_CE_CRL_REASONS,
            false,
            &reason_code(entry.reason),
        )?])
    };
    Ok(RevokedCert {
        serial_number: SerialNumber::new(&entry.serial).map_err(|_| Error::Encode("serial number"))?,
        revocation_date: time::to_x509(entry.revoked_at)?,
        crl_entry_extensions: extensions,
    })
}

fn reason_code(reason: Reason) -> CrlReason {
    match reason {
        Reason::Unspecified => CrlReason::Unspecified,
        Reason::KeyCompromise => CrlReason::KeyCompromise,
        Reason::CaCompromise => CrlReason::CaCompromise,
        Reason::AffiliationChanged => CrlReason::AffiliationChanged,
        Reason::Superseded => CrlReason::Superseded,
        Reason::CessationOfOperation => CrlReason::CessationOfOperation,
        Reason::CertificateHold => CrlReason::CertificateHold,
        Reason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
        Reason::AaCompromise => CrlReason::AaCompromise,
    }
}

/// Whether these bytes are what was signed of a list (DER).
pub fn has_signed(der: &[u8], to_be_signed: &[u8]) -> bool {
    crate::csr::first_element(der) == Some(to_be_signed)
}

/// Checks that `issuer` signed this list (DER).
pub fn verify(der: &[u8], issuer: &PublicKey) -> Result<(), Error> {
    let list: CertificateList = CertificateList::from_der(der).map_err(|why| Error::malformed("CRL", why))?;
    let algorithm = SignatureAlgorithm::from_oid(list.signature_algorithm.oid)?;
    let signed = crate::csr::first_element(der).ok_or(Error::Signature("CRL"))?;
    let signature = list.signature.as_bytes().ok_or(Error::Signature("CRL"))?;
    issuer
        .verify(algorithm, signed, signature)
        .map_err(|_| Error::Signature("CRL"))
}

/// A list that was read.
#[derive(Debug, Clone)]
pub struct Crl {
    der: Vec<u8>,
    list: CertificateList,
}

impl Crl {
    /// Reads DER; checks no signature.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let list = CertificateList::from_der(der).map_err(|why| Error::malformed("CRL", why))?;
        Ok(Self {
            der: der.to_vec(),
            list,
        })
    }

    /// The list, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The name of the CA whose list it is, DER.
    pub fn issuer(&self) -> Result<Vec<u8>, Error> {
        name::to_der(&self.list.tbs_cert_list.issuer)
    }

    /// Its number, if it has one of at most 64 bits (RFC 5280, section 5.2.3).
    pub fn number(&self) -> Option<u64> {
        let extension = self.extensions().find(|one| one.extn_id == ID_CE_CRL_NUMBER)?;
        let number = CrlNumber::from_der(extension.extn_value.as_bytes()).ok()?;
        let bytes = number.0.as_bytes();
        (bytes.len() <= 8).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// From when it holds.
    pub fn this_update(&self) -> Timestamp {
        time::from_x509(self.list.tbs_cert_list.this_update)
    }

    /// After when verifiers refuse everybody.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.list.tbs_cert_list.next_update.map(time::from_x509)
    }

    /// Whether it is a whole list of its issuer: no delta, no part, nothing critical that is unknown.
    pub fn is_whole(&self) -> bool {
        self.extensions().all(|extension| !extension.critical)
    }

    /// Whether it revokes the certificate of its issuer with this serial number, as [`crate::cert::Certificate::serial`] gives it.
    pub fn revokes(&self, serial: &[u8]) -> bool {
        let entries = self.list.tbs_cert_list.revoked_certificates.as_deref();
        entries
            .unwrap_or_default()
            .iter()
            .any(|entry| entry.serial_number.as_bytes() == serial)
    }

    /// The serial numbers that it revokes, as [`crate::cert::Certificate::serial`] gives them.
    pub fn serials(&self) -> impl Iterator<Item = &[u8]> {
        let entries = self.list.tbs_cert_list.revoked_certificates.as_deref();
        let entries = entries.unwrap_or_default().iter();
        entries.map(|entry| entry.serial_number.as_bytes())
    }

    /// Whether `issuer` signed this.
    pub fn verify_issued_by(&self, issuer: &PublicKey) -> Result<(), Error> {
        verify(&self.der, issuer)
    }

    fn extensions(&self) -> impl Iterator<Item = &x509_cert::ext::Extension> {
        self.list.tbs_cert_list.crl_extensions.iter().flatten()
    }
}
