//! One certificate request.

use const_oid::AssociatedOid;
use der::Decode;
use x509_cert::ext::Extension;
use x509_cert::request::{CertReq, ExtensionReq};

use super::certificate::{self, BadSignature, check_signature};
use super::facts::{Explained, Finding, RequestFacts};
use super::known::Known;
use super::{key, words};
use crate::key::PublicKey;

pub(super) fn explain(der: &[u8]) -> Result<Explained, String> {
    let request = CertReq::from_der(der).map_err(|why| format!("it is no certificate request ({why})"))?;
    let known = Known::read(&wishes(&request));
    let signature = check_signature(
        der,
        request.algorithm.oid,
        &request.signature,
        &request.info.public_key,
    );
    Ok(Explained::Request(Box::new(RequestFacts {
        subject: words::name(&request.info.subject),
        cn: certificate::common_name(&request.info.subject),
        key: key::facts(&request.info.public_key),
        signature_algorithm: words::signature(request.algorithm.oid),
        proves_key: signature.is_ok(),
        alternative_names: known.alternative_names(),
        usages: known.usages_in_words(),
        public_key_sha256: certificate::key_fingerprint(&request.info.public_key),
        findings: findings(&request, &known, &signature),
    })))
}

fn wishes(request: &CertReq) -> Vec<Extension> {
    let attribute = request
        .info
        .attributes
        .iter()
        .find(|attribute| attribute.oid == ExtensionReq::OID);
    let value = attribute.and_then(|attribute| attribute.values.iter().next());
    value.and_then(|value| value.decode_as().ok()).unwrap_or_default()
}

fn findings(request: &CertReq, known: &Known, signature: &Result<(), BadSignature>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(why) = PublicKey::from_info(request.info.public_key.clone()) {
        findings.push(Finding::error(
            format!("Its key is not accepted: {why}."),
            "Make a P-256 key and a new request.",
        ));
    } else if let Err(why) = signature {
        let text = match why {
            BadSignature::Unsupported(why) => {
                format!("Its signature cannot be checked: {}.", words::clean(why))
            }
            BadSignature::Wrong => {
                "Its signature is wrong: it was changed, or made with another key.".to_owned()
            }
        };
        findings.push(Finding::error(
            text,
            "Make the request anew with the device's own key.",
        ));
    }
    if known.is_ca() {
        findings.push(Finding::warning(
            "It asks to become a CA, which no device is granted.",
            "Leave out CA:TRUE.",
        ));
    }
    if request.info.subject.is_empty() && known.names.is_empty() {
        findings.push(Finding::warning(
            "It asks for no name at all.",
            "Give it a common name.",
        ));
    }
    findings.push(Finding::note(
        "What it asks for are wishes: the CA decides by the profile what the certificate will hold.",
    ));
    findings
}
