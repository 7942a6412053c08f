//! Whether a chain holds, step by step, each step a sentence (RFC 5280, section 6).

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use jiff::Timestamp;
use serde::Serialize;

use super::certificate::Cert;
use super::chain::Pool;
use super::crl::{Crl, FRESH};
use super::verdict::{Outcome, Step, Verdict};
use super::{Error, checks, read, revocation, words};

/// What a certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To identify a device to a broker.
    Client,
    /// To identify a broker to its clients.
    Server,
}

impl Purpose {
    pub(super) fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Client => ID_KP_CLIENT_AUTH,
            Self::Server => ID_KP_SERVER_AUTH,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What is to be verified.
#[derive(Debug, Clone, Copy)]
pub struct VerifyInput<'a> {
    /// The certificate, then what its holder sends with it: PEM, or one certificate in DER. Other objects, keys for
    /// instance, are passed over.
    pub leaf_chain: &'a [u8],
    /// The roots that are trusted, and perhaps issuing CAs (a `ca.crt`): PEM, or one certificate in DER.
    pub trust_anchors: &'a [u8],
    /// Revocation lists, PEM (several in one) or DER. With none, revocation is not checked; with any, the leaf's issuer
    /// must have one among them, as in Mosquitto.
    pub crls: &'a [&'a [u8]],
    /// What the certificate must be good for; `None` for not asked.
    pub purpose: Option<Purpose>,
    /// The name or address that clients connect to; `None` for not asked.
    pub host: Option<&'a str>,
    /// The moment at which it must hold.
    pub now: Timestamp,
}

/// Builds the chain from the certificate to a trusted root and checks signatures, dates, CA flags, path lengths, key usage,
/// purpose, host name and revocation.
///
/// Only a self-signed certificate among the anchors ends a chain: OpenSSL, and with it Mosquitto and HAProxy, asks for that.
/// Signatures: ECDSA on P-256, P-384 and P-521, Ed25519, and RSA of 2048 to 4096 bits with PKCS#1 padding, with SHA-256,
/// SHA-384 and SHA-512. Bad input of any kind gives a verdict that is not `ok`, with the reason as its sentence.
pub fn verify(input: &VerifyInput<'_>) -> Verdict {
    let (pool, crls) = match (certificates(input), crls(input)) {
        (Ok(pool), Ok(crls)) => (pool, crls),
        (Err(step), _) | (_, Err(step)) => return verdict(None, vec![step]),
    };
    let (leaf, order) = find_leaf(&pool);
    let path = pool.path_from(leaf);
    let Some(first) = path.certs.first() else {
        return verdict(
            None,
            vec![Step::failed(
                "read",
                "There is no certificate to verify.",
                "Give a certificate file.",
            )],
        );
    };

    let mut steps: Vec<Step> = order.into_iter().collect();
    steps.extend(checks::links(&path, input.now));
    steps.extend(
        path.broken
            .as_ref()
            .and_then(|why| path.certs.last().map(|last| checks::broken(why, last, first))),
    );
    steps.extend(path.certs.iter().flat_map(|cert| checks::damaged(cert)));
    steps.extend(checks::authorities(&path));
    steps.extend(checks::purpose(&path, input.purpose));
    steps.extend(input.host.map(|wanted| checks::host_name(first, wanted)));
    steps.extend(revocation::revocation(&path, &crls, input));
    verdict(Some(first), steps)
}

fn verdict(leaf: Option<&Cert>, steps: Vec<Step>) -> Verdict {
    let name = leaf.map(Cert::who);
    let failed = steps.iter().find(|step| step.outcome == Outcome::Failed);
    let sentence = match (failed, leaf) {
        (Some(step), Some(leaf)) => format!("{} must not be trusted: {}", leaf.who(), step.text),
        (Some(step), None) => step.text.clone(),
        (None, _) => format!(
            "{} is in order.{}",
            name.as_deref().unwrap_or_default(),
            unchecked(&steps)
        ),
    };
    Verdict {
        ok: failed.is_none(),
        name,
        sentence,
        fix: failed.and_then(|step| step.fix.clone()),
        steps,
    }
}

fn unchecked(steps: &[Step]) -> &'static str {
    let lists: Vec<bool> = steps
        .iter()
        .filter(|step| step.check == "crl")
        .map(|step| step.outcome == Outcome::Skipped)
        .collect();
    match (lists.contains(&true), lists.contains(&false)) {
        (true, true) => " The CAs above it were not checked for revocation.",
        (true, false) => " Revocation was not checked.",
        (false, _) => "",
    }
}

fn certificates(input: &VerifyInput<'_>) -> Result<Pool, Step> {
    let sent = parse(input.leaf_chain, "the certificate")?;
    let anchors = parse(input.trust_anchors, "the trusted CA")?;
    Ok(Pool::new(sent, anchors))
}

fn parse(bytes: &[u8], what: &str) -> Result<Vec<Cert>, Step> {
    let unreadable = |why: String| {
        let text = format!("The file of {what} cannot be read: {}.", words::clean(&why));
        Step::failed(
            "read",
            text,
            "Give a PEM file with -----BEGIN CERTIFICATE----- lines.",
        )
    };
    let ders = read::certificates(bytes).map_err(|why: Error| unreadable(why.to_string()))?;
    if ders.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    ders.iter()
        .map(|der| Cert::from_der(der).map_err(unreadable))
        .collect()
}

fn crls(input: &VerifyInput<'_>) -> Result<Vec<Crl>, Step> {
    let unreadable = |why: String| {
        Step::failed(
            "read",
            format!("A revocation list cannot be read: {}.", words::clean(&why)),
            FRESH,
        )
    };
    let mut found = Vec::new();
    for bytes in input.crls {
        let ders = read::crls(bytes).map_err(|why| unreadable(why.to_string()))?;
        if ders.is_empty() {
            return Err(unreadable("the file holds none".to_owned()));
        }
        for der in ders {
            found.push(Crl::from_der(&der).map_err(unreadable)?);
        }
    }
    Ok(found)
}

/// The leaf comes first. If a CA does, and somebody else follows, that one is meant, and brokers will stumble over the order.
fn find_leaf(pool: &Pool) -> (usize, Option<Step>) {
    let certs = pool.certs();
    if certs.first().is_some_and(|cert| !cert.known.is_ca()) {
        return (0, None);
    }
    match certs.iter().position(|cert| !cert.known.is_ca()) {
        None => (0, None),
        Some(leaf) => {
            let text = format!(
                "The file begins with the CA {}, not with {}.",
                certs[0].who(),
                certs[leaf].who()
            );
            let fix = "Put the certificate itself first, then the CA that issued it: brokers take the first for their own.";
            (leaf, Some(Step::bad("order", Outcome::Warning, text, fix)))
        }
    }
}
