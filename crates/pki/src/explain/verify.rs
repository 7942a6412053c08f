//! Whether a chain holds, step by step, each step a sentence (RFC 5280, section 6).

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use jiff::Timestamp;
use serde::Serialize;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::Cert;
use super::chain::{Break, Path, Pool};
use super::crl::{Crl, FRESH};
use super::facts::Standing;
use super::{Error, host, read, words};

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
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Client => ID_KP_CLIENT_AUTH,
            Self::Server => ID_KP_SERVER_AUTH,
        }
    }

    fn word(self) -> &'static str {
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

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It holds, but not with every program.
    Warning,
    /// It does not hold.
    Failed,
    /// There was nothing to check it with.
    Skipped,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was checked, stable for scripts: `read`, `order`, `issuer`, `root`, `dates`, `ca`, `extensions`, `purpose`,
    /// `host`, `crl`.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence.
    pub text: String,
    /// What mends it.
    pub fix: Option<String>,
}

impl Step {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, text: text.into(), fix: None }
    }

    fn bad(check: &'static str, outcome: Outcome, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, outcome, text: text.into(), fix: Some(fix.into()) }
    }

    fn failed(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::bad(check, Outcome::Failed, text, fix)
    }

    fn skipped(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Skipped, text: text.into(), fix: None }
    }
}

/// The answer of [`verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether everything that was asked holds.
    pub ok: bool,
    /// What the certificate's holder is called.
    pub name: Option<String>,
    /// The answer in one sentence.
    pub sentence: String,
    /// What mends the first thing that failed.
    pub fix: Option<String>,
    /// Everything that was checked, in order.
    pub steps: Vec<Step>,
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
        return verdict(None, vec![Step::failed("read", "There is no certificate to verify.", "Give a certificate file.")]);
    };

    let mut steps: Vec<Step> = order.into_iter().collect();
    steps.extend(links(&path, input.now));
    steps.extend(path.broken.as_ref().and_then(|why| path.certs.last().map(|last| broken(why, last, first))));
    steps.extend(path.certs.iter().flat_map(|cert| damaged(cert)));
    steps.extend(authorities(&path));
    steps.extend(purpose(&path, input.purpose));
    steps.extend(input.host.map(|wanted| host_name(first, wanted)));
    steps.extend(revocation(&path, &crls, input));
    verdict(Some(first), steps)
}

fn verdict(leaf: Option<&Cert>, steps: Vec<Step>) -> Verdict {
    let name = leaf.map(Cert::who);
    let failed = steps.iter().find(|step| step.outcome == Outcome::Failed);
    let sentence = match (failed, leaf) {
        (Some(step), Some(leaf)) => format!("{} must not be trusted: {}", leaf.who(), step.text),
        (Some(step), None) => step.text.clone(),
        (None, _) => format!("{} is in order.{}", name.as_deref().unwrap_or_default(), unchecked(&steps)),
    };
    Verdict { ok: failed.is_none(), name, sentence, fix: failed.and_then(|step| step.fix.clone()), steps }
}

fn unchecked(steps: &[Step]) -> &'static str {
    let lists: Vec<bool> =
        steps.iter().filter(|step| step.check == "crl").map(|step| step.outcome == Outcome::Skipped).collect();
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
        Step::failed("read", text, "Give a PEM file with -----BEGIN CERTIFICATE----- lines.")
    };
    let ders = read::certificates(bytes).map_err(|why: Error| unreadable(why.to_string()))?;
    if ders.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    ders.iter().map(|der| Cert::from_der(der).map_err(unreadable)).collect()
}

fn crls(input: &VerifyInput<'_>) -> Result<Vec<Crl>, Step> {
    let unreadable = |why: String| {
        Step::failed("read", format!("A revocation list cannot be read: {}.", words::clean(&why)), FRESH)
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
            let text = format!("The file begins with the CA {}, not with {}.", certs[0].who(), certs[leaf].who());
            let fix = "Put the certificate itself first, then the CA that issued it: brokers take the first for their own.";
            (leaf, Some(Step::bad("order", Outcome::Warning, text, fix)))
        }
    }
}

/// Who issued whom, and the dates.
fn links(path: &Path<'_>, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, cert) in path.certs.iter().enumerate() {
        let issuer = path.certs.get(index + 1);
        let is_root = issuer.is_none() && path.broken.is_none();
        let known = if is_root {
            Some(("root", format!("'{}' is a root that you trust", cert.who())))
        } else {
            issuer.map(|issuer| ("issuer", format!("{} was issued by '{}'", cert.who(), issuer.who())))
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
        Standing::Valid => Ok(format!("valid until {} ({})", words::date(to), words::distance(now, to))),
        Standing::Expired => {
            let text = format!("{who} expired on {} ({}).", words::date(to), words::distance(now, to));
            let renew = if is_leaf { format!("muster cert renew {who}") } else { "muster ca rollover".to_owned() };
            Err(Step::failed("dates", text, format!("Renew it: {renew}. If the date is wrong, set this machine's clock.")))
        }
        Standing::NotYetValid => {
            let text = format!("{who} is not valid before {} ({}).", words::moment(from), words::distance(now, from));
            let fix = format!("Set this machine's clock, which says {}; if it is right, the CA's is ahead.", words::moment(now));
            Err(Step::failed("dates", text, fix))
        }
    }
}

fn broken(why: &Break, last: &Cert, leaf: &Cert) -> Step {
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
fn damaged(cert: &Cert) -> Vec<Step> {
    let step = |text: String| Step::failed("extensions", text, "Issue it anew, without the extension.");
    let name = |oid: &ObjectIdentifier| words::object(*oid);
    let broken = cert.known.broken.iter().map(|oid| step(format!("In {} the extension {} is damaged or there twice.", cert.who(), name(oid))));
    let strange = cert.known.strange.iter().map(|oid| {
        step(format!("{} has a critical extension that is not understood: {}.", cert.who(), name(oid)))
    });
    let constraints = cert.known.name_constraints.then(|| {
        step(format!("{} has name constraints, which are not checked here; Mbed TLS cannot read them either.", cert.who()))
    });
    broken.chain(strange).chain(constraints).collect()
}

/// Whether everybody above the leaf may issue (RFC 5280, section 6.1.4, k to n).
fn authorities(path: &Path<'_>) -> Vec<Step> {
    let above = path.certs.iter().enumerate().skip(1);
    let failed: Vec<Step> = above.filter_map(|(index, cert)| authority(cert, index, path)).collect();
    if failed.is_empty() && path.certs.len() > 1 {
        vec![Step::ok("ca", "Everybody above it may issue certificates.")]
    } else {
        failed
    }
}

fn authority(cert: &Cert, index: usize, path: &Path<'_>) -> Option<Step> {
    let who = cert.who();
    // The leaf does not count, nor do certificates that a CA issued to itself at a key change.
    let below = path.certs[1..index].iter().filter(|cert| !cert.is_self_issued()).count();
    let text = if !cert.known.is_ca() {
        format!("{who} issued a certificate, but is no CA.")
    } else if !cert.known.usage.as_ref().is_none_or(KeyUsage::key_cert_sign) {
        format!("{who} issued a certificate, but its key usage does not allow that.")
    } else if cert.known.path_len().is_some_and(|most| usize::from(most) < below) {
        format!("{who} allows fewer levels of CAs below it than the {below} that are there.")
    } else {
        return None;
    };
    Some(Step::failed("ca", text, "Have it issued by a CA that may: muster ca show"))
}

fn purpose(path: &Path<'_>, wanted: Option<Purpose>) -> Option<Step> {
    let (purpose, leaf) = (wanted?, path.certs.first()?);
    let (who, word) = (leaf.who(), purpose.word());
    let reissue = format!("Issue one for it: muster cert issue {who} --kind {word}");
    if !leaf.known.usage.as_ref().is_none_or(KeyUsage::digital_signature) {
        return Some(Step::failed("purpose", format!("{who}'s key usage does not allow signing, which TLS needs."), reissue));
    }
    // OpenSSL wants the purpose all the way up where CAs are limited at all.
    if let Some(forbidding) = path.certs.iter().find(|cert| !cert.known.allows(purpose.oid())) {
        let may = forbidding.known.usages_in_words().join(", ");
        let text = format!("{} may not identify itself as a {word}; it may {may}.", forbidding.who());
        return Some(Step::failed("purpose", text, reissue));
    }
    Some(if leaf.known.extended.is_none() {
        let text = format!("{who} does not say what it is for; not every program takes that for a {word}'s.");
        Step::bad("purpose", Outcome::Warning, text, reissue)
    } else {
        Step::ok("purpose", format!("{who} may identify itself as a {word}."))
    })
}

fn host_name(leaf: &Cert, wanted: &str) -> Step {
    let shown = words::clean(wanted);
    if host::matches(&leaf.known.names, wanted) {
        return Step::ok("host", format!("It is for {shown}."));
    }
    let names: Vec<String> = leaf.known.alternative_names().into_iter().map(|name| name.value).collect();
    let text = match (names.is_empty(), leaf.who() == shown) {
        (true, true) => format!("{shown} stands only in its common name, which no program compares any more."),
        (true, false) => format!("It is not for {shown}: it has no alternative name at all."),
        (false, _) => format!("It is not for {shown}, only for {}.", names.join(", ")),
    };
    let reachable = names.iter().zip(&leaf.known.names).find(|(_, name)| matches!(name, GeneralName::DnsName(_)));
    let instead = reachable.map(|(name, _)| format!("Connect to {name} instead, or issue")).unwrap_or_else(|| "Issue".to_owned());
    Step::failed("host", text, format!("{instead} one with that name too: muster cert issue {} --kind server --san {shown}", leaf.who()))
}

/// One step for each certificate whose issuer is known; the root cannot be revoked by a list.
fn revocation(path: &Path<'_>, crls: &[Crl], input: &VerifyInput<'_>) -> Vec<Step> {
    if input.crls.is_empty() {
        return vec![Step::skipped("crl", "Revocation was not checked: no revocation list was given.")];
    }
    let pairs = path.certs.iter().zip(path.certs.iter().skip(1)).enumerate();
    pairs.map(|(index, (cert, issuer))| revoked(cert, issuer, crls, index == 0, input.now)).collect()
}

fn revoked(cert: &Cert, issuer: &Cert, crls: &[Crl], is_leaf: bool, now: Timestamp) -> Step {
    let (who, by) = (cert.who(), issuer.who());
    let named: Vec<&Crl> = crls.iter().filter(|crl| crl.issuer() == cert.issuer()).collect();
    if named.is_empty() {
        let text = format!("There is no revocation list of '{by}'");
        return if is_leaf {
            Step::failed("crl", format!("{text}; a broker that checks lists would refuse {who}."), FRESH)
        } else {
            Step::skipped("crl", format!("{text}, so {who} was not checked."))
        };
    }
    let may_sign = issuer.known.usage.as_ref().is_none_or(KeyUsage::crl_sign);
    let signed = named.into_iter().filter(|crl| may_sign && crl.signed_by(issuer).is_ok());
    let Some(crl) = signed.max_by_key(|crl| crl.this_update()) else {
        return Step::failed("crl", format!("The revocation list of '{by}' was not signed by the '{by}' of this chain."), FRESH);
    };
    if let Some(found) = crl.revocation(cert.serial()) {
        let text = format!("{who} was revoked on {} {}.", words::date(found.at), words::reason(found.reason));
        let fix = match found.reason {
            Some(6) => format!("If it may come back: muster device resume {who}"),
            _ => format!("Find out why; if it may come back, issue a new one: muster cert issue {who}"),
        };
        return Step::failed("crl", text, fix);
    }
    usable(crl, now).unwrap_or_else(|| Step::ok("crl", format!("{who} is not revoked, says the list of '{by}' of {}.", words::moment(crl.this_update()))))
}

/// Whether silence of the list means anything.
fn usable(crl: &Crl, now: Timestamp) -> Option<Step> {
    let by = crl.by_whom();
    if let Some(restriction) = crl.restrictions().next() {
        let text = format!("The revocation list of '{by}' is not a whole one ({}).", words::object(restriction));
        return Some(Step::failed("crl", text, FRESH));
    }
    match crl.standing(now) {
        Standing::Valid => None,
        Standing::Expired => {
            let end = crl.next_update().unwrap_or(now);
            let text = format!(
                "The revocation list of '{by}' ran out on {} ({}); brokers that have it refuse everybody.",
                words::moment(end),
                words::distance(now, end)
            );
            Some(Step::failed("crl", text, FRESH))
        }
        Standing::NotYetValid => {
            let text = format!("The revocation list of '{by}' is valid only from {} on.", words::moment(crl.this_update()));
            Some(Step::failed("crl", text, "Set this machine's clock, or the CA's."))
        }
    }
}
