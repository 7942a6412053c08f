//! Finds the objects in foreign bytes.
//!
//! More patient than [`crate::pem`], which reads what is to be acted on: here a torn block is itself something to explain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::Decode;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::request::CertReq;
use zeroize::Zeroizing;

use super::{Error, MAX_CRL, MAX_INPUT, MAX_OBJECTS};

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
/// What OpenSSL wrote before RFC 7468.
pub(super) const OLD_CERTIFICATE: &str = "X509 CERTIFICATE";
pub(super) const REQUEST: &str = "CERTIFICATE REQUEST";
pub(super) const CRL: &str = "X509 CRL";
pub(super) const PKCS8: &str = "PRIVATE KEY";
pub(super) const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
pub(super) const SEC1: &str = "EC PRIVATE KEY";
pub(super) const PKCS1: &str = "RSA PRIVATE KEY";

/// Curve parameters, which `openssl ecparam` puts before the key; nobody needs them explained.
const PARAMETERS: &str = "EC PARAMETERS";

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
const MAX_LABEL: usize = 64;

/// One object: a PEM label, and the DER (empty if it was not base64).
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Zeroizing<Vec<u8>>,
}

pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, Error> {
    if bytes.len() > MAX_CRL || (bytes.len() > MAX_INPUT && !begins_with_crl(bytes)) {
        return Err(Error::TooLarge(bytes.len()));
    }
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((block, after)) = next_block(rest) {
        if block.label != PARAMETERS {
            found.push(block);
        }
        if found.len() > MAX_OBJECTS {
            return Err(Error::TooMany);
        }
        rest = after;
    }
    if found.is_empty() {
        found.extend(whole(bytes));
    }
    if found.is_empty() {
        Err(Error::Nothing)
    } else {
        Ok(found)
    }
}

/// The certificates among the objects, DER; a torn one is left out.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let is_certificate = |block: &Block| [CERTIFICATE, OLD_CERTIFICATE].contains(&block.label.as_str());
    Ok(blocks(bytes)?
        .into_iter()
        .filter(is_certificate)
        .map(|block| block.der.to_vec())
        .collect())
}

/// The CRLs among the objects, DER.
pub(super) fn crls(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    Ok(blocks(bytes)?
        .into_iter()
        .filter(|block| block.label == CRL)
        .map(|block| block.der.to_vec())
        .collect())
}

fn begins_with_crl(bytes: &[u8]) -> bool {
    match find(bytes, BEGIN) {
        Some(at) => bytes[at + BEGIN.len()..].starts_with(CRL.as_bytes()),
        None => CertificateList::<x509_cert::certificate::Rfc5280>::from_der(bytes).is_ok(),
    }
}

/// The next PEM block and what follows it. A block without an end takes everything up to the next one.
fn next_block(bytes: &[u8]) -> Option<(Block, &[u8])> {
    let after_begin = &bytes[find(bytes, BEGIN)? + BEGIN.len()..];
    let label_end = find(
        &after_begin[..after_begin.len().min(MAX_LABEL + DASHES.len())],
        DASHES,
    )
    .unwrap_or(0);
    let label = String::from_utf8_lossy(&after_begin[..label_end]).into_owned();
    let body = &after_begin[(label_end + DASHES.len()).min(after_begin.len())..];
    let body_end = find(body, DASHES).unwrap_or(body.len());
    let der = decode(&body[..body_end]).unwrap_or_default();
    Some((Block { label, der }, &body[body_end..]))
}

/// Base64 with white space anywhere; headers as in encrypted PKCS#1 keys make it fail.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut clean = Zeroizing::new(Vec::with_capacity(text.len()));
    clean.extend(text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()));
    STANDARD.decode(clean.as_slice()).ok().map(Zeroizing::new)
}

/// The whole input as one object in DER.
fn whole(der: &[u8]) -> Option<Block> {
    let label = if Certificate::from_der(der).is_ok() {
        CERTIFICATE
    } else if CertReq::from_der(der).is_ok() {
        REQUEST
    } else if CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der).is_ok() {
        CRL
    } else if pkcs8::PrivateKeyInfoRef::try_from(der).is_ok() {
        PKCS8
    } else if pkcs8::EncryptedPrivateKeyInfoRef::from_der(der).is_ok() {
        ENCRYPTED
    } else if super::key::is_sec1(der) {
        SEC1
    } else {
        return None;
    };
    Some(Block {
        label: label.to_owned(),
        der: Zeroizing::new(der.to_vec()),
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
