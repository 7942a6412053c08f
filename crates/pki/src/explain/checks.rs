//! The steps of a verification, but for revocation.

use const_oid::ObjectIdentifier;
use jiff::Timestamp;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::Cert;
use super::chain::{Break, Path};
use super::facts::Standing;
use super::verdict::{Outcome, Step};
use super::verify::Purpose;
use super::{host, words};

/// Who issued whom, and the dates.
pub(super) fn links(path: &Path<'_>, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, cert) in path.certs.iter().enumerate() {
        let issuer = path.certs.get(index + 1);
        let is_root = issuer.is_none() && path.broken.is_none();
        let known = if is_root {
            Some(("root", format!("'{}' is a root that you trust", cert.who())))
        } else {
            issuer.map(|issuer| {
                (
                    "issuer",
                    format!("{} was issued by '{}'", cert.who(), issuer.who()),
                )
            })
        };
        match (known, dates(cert, index == 0, now)) {
            (Some((check, text)), Ok(until)) => steps.push(Step::ok(check, format!("{text}, {until}."))),
            (Some((check, text)), Err(step)) => steps.extend([Step::ok(check, format!("{text}.")), step]),
            (None, Ok(until)) => steps.push(Step::ok("dates", format!("{} is {until}.", cert.who()))),
            (None, Err(step)) => steps.push(step),
        }
    }
    steps
}

fn dates(cert: &Cert, is_leaf: bool, now: Timestamp) -> Result<String, Step> {
    let (who, from, to) = (cert.who(), cert.not_before(), cert.not_after());
    match cert.standing(now) {
        Standing::Valid => Ok(format!(
            "valid until {} ({})",
            words::date(to),
            words::distance(now, to)
        )),
        Standing::Expired => {
            let text = format!(
                "{who} expired on {} ({}).",
                words::date(to),
                words::distance(now, to)
            );
            let renew = if is_leaf {
                format!("muster cert renew {who}")
            } else {
                "muster ca rollover".to_owned()
            };
            Err(Step::failed(
                "dates",
                text,
                format!("Renew it: {renew}. If the date is wrong, set this machine's clock."),
            ))
        }
        Standing::NotYetValid => {
            let text = format!(
                "{who} is not valid before {} ({}).",
                words::moment(from),
                words::distance(now, from)
            );
            let fix = format!(
                "Set this machine's clock, which says {}; if it is right, the CA's is ahead.",
                words::moment(now)
            );
            Err(Step::failed("dates", text, fix))
        }
    }
}

pub(super) fn broken(why: &Break, last: &Cert, leaf: &Cert) -> Step {
    let (who, issuer) = (last.who(), last.by_whom());
    let (check, text, fix) = match why {
        Break::IssuerMissing => (
            "issuer",
            format!("{who} was issued by '{issuer}', whose certificate is neither sent along nor among the trusted ones."),
            format!("If '{issuer}' is your issuing CA, append its certificate after that of {}; if not, this is another CA's certificate: issue one of your own.", leaf.who()),
        ),
        Break::AnchorIsNoRoot => (
            "root",
            format!("'{who}' is trusted, but it is no root, and the root '{issuer}' is not there; OpenSSL, and so Mosquitto, asks for the root."),
            "Put the root and the issuing CA into the CA file: muster ca root".to_owned(),
        ),
        Break::WrongIssuer => (
            "issuer",
            format!("{who} names '{issuer}' as its issuer, but was not signed by the certificate that you have of it: another CA of the same name, or it was changed."),
            "Compare the CA's fingerprint on both sides (muster ca fingerprint), and bring the current ca.crt to where it differs.".to_owned(),
        ),
        Break::Unsupported(reason) => (
            "issuer",
            format!("The signature of {who} cannot be checked: {}.", words::clean(reason)),
            "Issue it anew with an ECDSA, Ed25519 or RSA key and SHA-256 or better.".to_owned(),
        ),
        Break::UntrustedRoot => (
            "root",
            format!("The chain ends at the root '{who}', which is not among the trusted ones."),
            "If this root is yours, put it into the CA file; if not, this is another CA's certificate.".to_owned(),
        ),
        Break::TooComplex => (
            "issuer",
            "The chain is longer than 8 certificates or branches without end.".to_owned(),
            "Send only the certificate and the CAs between it and the root.".to_owned(),
        ),
    };
    Step::failed(check, text, fix)
}

/// Extensions that forbid going on (RFC 5280, section 4.2).
pub(super) fn damaged(cert: &Cert) -> Vec<Step> {
    let step = |text: String| Step::failed("extensions", text, "Issue it anew, without the extension.");
    let name = |oid: &ObjectIdentifier| words::object(*oid);
    let broken = cert.known.broken.iter().map(|oid| {
        step(format!(
            "In {} the extension {} is damaged or there twice.",
            cert.who(),
            name(oid)
        ))
    });
    let strange = cert.known.strange.iter().map(|oid| {
        step(format!(
            "{} has a critical extension that is not understood: {}.",
            cert.who(),
            name(oid)
        ))
    });
    let constraints = cert.known.name_constraints.then(|| {
        step(format!(
            "{} has name constraints, which are not checked here; Mbed TLS cannot read them either.",
            cert.who()
        ))
    });
    broken.chain(strange).chain(constraints).collect()
}

/// Whether everybody above the leaf may issue (RFC 5280, section 6.1.4, k to n).
pub(super) fn authorities(path: &Path<'_>) -> Vec<Step> {
    let above = path.certs.iter().enumerate().skip(1);
    let failed: Vec<Step> = above
        .filter_map(|(index, cert)| authority(cert, index, path))
        .collect();
    if failed.is_empty() && path.certs.len() > 1 {
        vec![Step::ok("ca", "Everybody above it may issue certificates.")]
    } else {
        failed
    }
}

fn authority(cert: &Cert, index: usize, path: &Path<'_>) -> Option<Step> {
    let who = cert.who();
    // The leaf does not count, nor do certificates that a CA issued to itself at a key change.
    let below = path.certs[1..index]
        .iter()
        .filter(|cert| !cert.is_self_issued())
        .count();
    let text = if !cert.known.is_ca() {
        format!("{who} issued a certificate, but is no CA.")
    } else if !cert.known.usage.as_ref().is_none_or(KeyUsage::key_cert_sign) {
        format!("{who} issued a certificate, but its key usage does not allow that.")
    } else if cert
        .known
        .path_len()
        .is_some_and(|most| usize::from(most) < below)
    {
        format!("{who} allows fewer levels of CAs below it than the {below} that are there.")
    } else {
        return None;
    };
    Some(Step::failed(
        "ca",
        text,
        "Have it issued by a CA that may: muster ca show",
    ))
}

pub(super) fn purpose(path: &Path<'_>, wanted: Option<Purpose>) -> Option<Step> {
    let (purpose, leaf) = (wanted?, path.certs.first()?);
    let (who, word) = (leaf.who(), purpose.word());
    let reissue = format!("Issue one for it: muster cert issue {who} --kind {word}");
    if !leaf.known.usage.as_ref().is_none_or(KeyUsage::digital_signature) {
        return Some(Step::failed(
            "purpose",
            format!("{who}'s key usage does not allow signing, which TLS needs."),
            reissue,
        ));
    }
    // OpenSSL wants the purpose all the way up where CAs are limited at all.
    if let Some(forbidding) = path.certs.iter().find(|cert| !cert.known.allows(purpose.oid())) {
        let may = forbidding.known.usages_in_words().join(", ");
        let text = format!(
            "{} may not identify itself as a {word}; it may {may}.",
            forbidding.who()
        );
        return Some(Step::failed("purpose", text, reissue));
    }
    Some(if leaf.known.extended.is_none() {
        let text = format!("{who} does not say what it is for; not every program takes that for a {word}'s.");
        Step::bad("purpose", Outcome::Warning, text, reissue)
    } else {
        Step::ok("purpose", format!("{who} may identify itself as a {word}."))
    })
}

pub(super) fn host_name(leaf: &Cert, wanted: &str) -> Step {
    let shown = words::clean(wanted);
    if host::matches(&leaf.known.names, wanted) {
        return Step::ok("host", format!("It is for {shown}."));
    }
    let names: Vec<String> = leaf
        .known
        .alternative_names()
        .into_iter()
        .map(|name| name.value)
        .collect();
    let text = match (names.is_empty(), leaf.who() == shown) {
        (true, true) => {
            format!("{shown} stands only in its common name, which no program compares any more.")
        }
        (true, false) => format!("It is not for {shown}: it has no alternative name at all."),
        (false, _) => format!("It is not for {shown}, only for {}.", names.join(", ")),
    };
    let reachable = names
        .iter()
        .zip(&leaf.known.names)
        .find(|(_, name)| matches!(name, GeneralName::DnsName(_)));
    let instead = reachable
        .map(|(name, _)| format!("Connect to {name} instead, or issue"))
        .unwrap_or_else(|| "Issue".to_owned());
    Step::failed(
        "host",
        text,
        format!(
            "{instead} one with that name too: muster cert issue {} --kind server --san {shown}",
            leaf.who()
        ),
    )
}
