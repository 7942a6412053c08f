//! One certificate: read for explaining and for verifying.

use der::asn1::BitString;
use der::{Decode, Encode};
use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::facts::{CertificateFacts, Explained, Serial, Standing};
use super::known::Known;
use super::{key, lint, words};
use crate::key::{PublicKey, SignatureAlgorithm, sha256};

/// A certificate of any origin, with what its extensions say.
pub(super) struct Cert {
    pub(super) der: Vec<u8>,
    pub(super) parsed: Certificate,
    pub(super) known: Known,
}

/// Why a signature says nothing about its object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadSignature {
    /// The algorithm or the key is not one that is accepted.
    Unsupported(String),
    /// Another key made it, or the object was changed.
    Wrong,
}

impl Cert {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, String> {
        let parsed = Certificate::from_der(der).map_err(|why| format!("it is no certificate ({why})"))?;
        let known = Known::read(parsed.tbs_certificate().extensions().map_or(&[], Vec::as_slice));
        Ok(Self {
            der: der.to_vec(),
            parsed,
            known,
        })
    }

    pub(super) fn subject(&self) -> &Name {
        self.parsed.tbs_certificate().subject()
    }

    pub(super) fn issuer(&self) -> &Name {
        self.parsed.tbs_certificate().issuer()
    }

    pub(super) fn spki(&self) -> &SubjectPublicKeyInfoOwned {
        self.parsed.tbs_certificate().subject_public_key_info()
    }

    pub(super) fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    pub(super) fn not_before(&self) -> Timestamp {
        crate::time::from_x509(self.parsed.tbs_certificate().validity().not_before)
    }

    pub(super) fn not_after(&self) -> Timestamp {
        crate::time::from_x509(self.parsed.tbs_certificate().validity().not_after)
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        Standing::at(now, self.not_before(), self.not_after())
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.subject() == self.issuer()
    }

    /// What one calls its holder.
    pub(super) fn who(&self) -> String {
        words::short_name(self.subject())
    }

    /// What one calls its issuer.
    pub(super) fn by_whom(&self) -> String {
        words::short_name(self.issuer())
    }

    pub(super) fn signed_by(&self, issuer: &Self) -> Result<(), BadSignature> {
        // The algorithm stands both inside and outside what is signed; two answers are an attack or a broken CA.
        if self.parsed.tbs_certificate().signature() != self.parsed.signature_algorithm() {
            return Err(BadSignature::Wrong);
        }
        let signature = self.parsed.signature();
        check_signature(
            &self.der,
            self.parsed.signature_algorithm().oid,
            signature,
            issuer.spki(),
        )
    }
}

/// Checks the signature of a `SEQUENCE { signed, algorithm, signature }`: a certificate, a request or a CRL.
pub(super) fn check_signature(
    der: &[u8],
    algorithm: const_oid::ObjectIdentifier,
    signature: &BitString,
    signer: &SubjectPublicKeyInfoOwned,
) -> Result<(), BadSignature> {
    let unsupported = |why: crate::Error| BadSignature::Unsupported(why.to_string());
    let algorithm = SignatureAlgorithm::from_oid(algorithm).map_err(unsupported)?;
    let signer = PublicKey::from_info(signer.clone()).map_err(unsupported)?;
    let signed = crate::csr::first_element(der).ok_or(BadSignature::Wrong)?;
    // Bits that do not count would let a certificate have several encodings, and so several fingerprints.
    let signature = signature.as_bytes().ok_or(BadSignature::Wrong)?;
    signer
        .verify(algorithm, signed, signature)
        .map_err(|_| BadSignature::Wrong)
}

pub(super) fn explain(der: &[u8], now: Timestamp) -> Result<Explained, String> {
    let cert = Cert::from_der(der)?;
    let facts = facts(&cert, now);
    Ok(Explained::Certificate(Box::new(facts)))
}

fn facts(cert: &Cert, now: Timestamp) -> CertificateFacts {
    CertificateFacts {
        subject: words::name(cert.subject()),
        cn: common_name(cert.subject()),
        issuer: words::name(cert.issuer()),
        issuer_cn: common_name(cert.issuer()),
        serial: Serial::new(cert.serial()),
        not_before: cert.not_before(),
        not_after: cert.not_after(),
        standing: cert.standing(now),
        remaining: words::distance(now, cert.not_after()),
        key: key::facts(cert.spki()),
        signature_algorithm: words::signature(cert.parsed.signature_algorithm().oid),
        alternative_names: cert.known.alternative_names(),
        usages: cert.known.usages_in_words(),
        is_ca: cert.known.is_ca(),
        path_len: cert.known.path_len(),
        self_issued: cert.is_self_issued(),
        fingerprint_sha256: crate::hex(&sha256(&cert.der)),
        public_key_sha256: key_fingerprint(cert.spki()),
        crl_urls: cert.known.crl_urls.clone(),
        ocsp_urls: cert.known.ocsp_urls.clone(),
        issuer_urls: cert.known.issuer_urls.clone(),
        findings: lint::certificate(cert, now),
    }
}

pub(super) fn common_name(name: &Name) -> Option<String> {
    crate::name::first_common_name(name).map(|text| words::clean(&text))
}

pub(super) fn key_fingerprint(spki: &SubjectPublicKeyInfoOwned) -> String {
    spki.to_der()
        .map(|der| crate::hex(&sha256(&der)))
        .unwrap_or_default()
}
