//! One revocation list, and whether it revokes a certificate.

use const_oid::AssociatedOid;
use const_oid::ObjectIdentifier;
use der::Decode;
use jiff::Timestamp;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BaseCrlNumber, CrlNumber, CrlReason};
use x509_cert::name::Name;

use super::certificate::{BadSignature, Cert, check_signature, common_name};
use super::facts::{CrlFacts, Explained, Finding, Standing};
use super::words;

/// A revocation list of any origin.
pub(super) struct Crl {
    der: Vec<u8>,
    parsed: CertificateList,
}

/// What a list says about a certificate that it revokes.
pub(super) struct Revocation {
    pub(super) at: Timestamp,
    /// RFC 5280, section 5.3.1.
    pub(super) reason: Option<u8>,
}

impl Crl {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, String> {
        let parsed =
            CertificateList::from_der(der).map_err(|why| format!("it is no revocation list ({why})"))?;
        Ok(Self {
            der: der.to_vec(),
            parsed,
        })
    }

    pub(super) fn issuer(&self) -> &Name {
        &self.parsed.tbs_cert_list.issuer
    }

    pub(super) fn by_whom(&self) -> String {
        words::short_name(self.issuer())
    }

    pub(super) fn this_update(&self) -> Timestamp {
        crate::time::from_x509(self.parsed.tbs_cert_list.this_update)
    }

    pub(super) fn next_update(&self) -> Option<Timestamp> {
        self.parsed.tbs_cert_list.next_update.map(crate::time::from_x509)
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        Standing::at(
            now,
            self.this_update(),
            self.next_update().unwrap_or(Timestamp::MAX),
        )
    }

    pub(super) fn signed_by(&self, issuer: &Cert) -> Result<(), BadSignature> {
        if self.parsed.tbs_cert_list.signature != self.parsed.signature_algorithm {
            return Err(BadSignature::Wrong);
        }
        let signature = &self.parsed.signature;
        check_signature(
            &self.der,
            self.parsed.signature_algorithm.oid,
            signature,
            issuer.spki(),
        )
    }

    /// Its entry for a serial number. The caller has made sure that the issuers are the same.
    pub(super) fn revocation(&self, serial: &[u8]) -> Option<Revocation> {
        let entry = self
            .entries()
            .iter()
            .find(|entry| entry.serial_number.as_bytes() == serial)?;
        Some(Revocation {
            at: crate::time::from_x509(entry.revocation_date),
            reason: reason(entry),
        })
    }

    /// The critical extensions that make it something other than a whole list of its issuer: a delta, a part, or unknown.
    pub(super) fn restrictions(&self) -> impl Iterator<Item = ObjectIdentifier> {
        self.extensions()
            .iter()
            .filter(|extension| extension.critical)
            .map(|extension| extension.extn_id)
    }

    fn is_delta(&self) -> bool {
        self.extensions()
            .iter()
            .any(|extension| extension.extn_id == BaseCrlNumber::OID)
    }

    fn number(&self) -> Option<String> {
        let number = self
            .extensions()
            .iter()
            .find(|extension| extension.extn_id == CrlNumber::OID)?;
        CrlNumber::from_der(number.extn_value.as_bytes())
            .ok()
            .map(|number| words::decimal(number.0.as_bytes()))
    }

    fn extensions(&self) -> &[Extension] {
        self.parsed.tbs_cert_list.crl_extensions.as_deref().unwrap_or(&[])
    }

    fn entries(&self) -> &[RevokedCert] {
        self.parsed
            .tbs_cert_list
            .revoked_certificates
            .as_deref()
            .unwrap_or(&[])
    }
}

fn reason(entry: &RevokedCert) -> Option<u8> {
    let extensions = entry.crl_entry_extensions.as_deref().unwrap_or(&[]);
    let extension = extensions
        .iter()
        .find(|extension| extension.extn_id == CrlReason::OID)?;
    CrlReason::from_der(extension.extn_value.as_bytes())
        .ok()
        .and_then(|reason| u8::try_from(reason as u32).ok())
}

pub(super) fn explain(der: &[u8], now: Timestamp) -> Result<Explained, String> {
    let crl = Crl::from_der(der)?;
    let suspended = crl
        .entries()
        .iter()
        .filter(|entry| reason(entry) == Some(CrlReason::CertificateHold as u8))
        .count();
    Ok(Explained::Crl(Box::new(CrlFacts {
        issuer: words::name(crl.issuer()),
        issuer_cn: common_name(crl.issuer()),
        number: crl.number(),
        this_update: crl.this_update(),
        next_update: crl.next_update(),
        standing: crl.standing(now),
        remaining: crl.next_update().map(|end| words::distance(now, end)),
        revoked: crl.entries().len(),
        suspended,
        signature_algorithm: words::signature(crl.parsed.signature_algorithm.oid),
        findings: findings(&crl, now),
    })))
}

fn findings(crl: &Crl, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    match (crl.standing(now), crl.next_update()) {
        (Standing::Expired, Some(end)) => findings.push(Finding::error(
            format!(
                "It ran out on {} ({}): a broker that has it refuses every client of this CA.",
                words::moment(end),
                words::distance(now, end)
            ),
            FRESH,
        )),
        (Standing::NotYetValid, _) => findings.push(Finding::error(
            format!(
                "It is valid only from {} on ({}).",
                words::moment(crl.this_update()),
                words::distance(now, crl.this_update())
            ),
            "Compare this machine's clock and the CA's with the right time.",
        )),
        (Standing::Valid | Standing::Expired, None) => {
            findings.push(Finding::warning(
                "It does not say when the next one comes, so nobody notices when none does.",
                FRESH,
            ));
        }
        (Standing::Valid, Some(_)) => {}
    }
    if crl.is_delta() {
        findings.push(Finding::error(
            "It lists only what changed since another list; brokers want the whole one.",
            FRESH,
        ));
    }
    for oid in crl.restrictions().filter(|oid| *oid != BaseCrlNumber::OID) {
        findings.push(Finding::warning(
            format!(
                "It has the critical extension {}, which Mbed TLS cannot read and OpenSSL may refuse.",
                words::object(oid)
            ),
            FRESH,
        ));
    }
    findings
}

/// What mends every trouble with a list.
pub(super) const FRESH: &str = "Make a fresh whole one and reload the broker: muster ca crl --out FILE";
