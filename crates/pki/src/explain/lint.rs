//! What is remarkable about a certificate: what brokers and small TLS stacks stumble over.

use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use const_oid::db::rfc5912::ID_EC_PUBLIC_KEY;
use const_oid::db::rfc8410::ID_ED_25519;
use jiff::Timestamp;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::Cert;
use super::facts::{Finding, Standing};
use super::{host, key, words};

const DAY: i64 = 86_400;

/// All findings, gravest first.
pub(super) fn certificate(cert: &Cert, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<Finding> = dates(cert, now)
        .into_iter()
        .chain(strength(cert))
        .chain(extensions(cert))
        .chain(if cert.known.is_ca() {
            authority(cert)
        } else {
            leaf(cert)
        })
        .collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn dates(cert: &Cert, now: Timestamp) -> Option<Finding> {
    let (from, to) = (cert.not_before(), cert.not_after());
    if to < from {
        return Some(Finding::error("It ends before it begins.", "Issue it anew."));
    }
    match cert.standing(now) {
        Standing::Expired => Some(Finding::error(
            format!(
                "It expired on {} ({}).",
                words::date(to),
                words::distance(now, to)
            ),
            format!("Renew it: {}", renew(cert)),
        )),
        Standing::NotYetValid => Some(Finding::error(
            format!(
                "It is not valid before {} ({}).",
                words::moment(from),
                words::distance(now, from)
            ),
            "Compare this machine's clock and the CA's with the right time.",
        )),
        Standing::Valid if is_near_its_end(cert, now) => Some(Finding::warning(
            format!(
                "It ends soon: on {} ({}).",
                words::date(to),
                words::distance(now, to)
            ),
            format!("Renew it: {}", renew(cert)),
        )),
        Standing::Valid => None,
    }
}

/// The last sixth of its life, but at most the last 30 days.
fn is_near_its_end(cert: &Cert, now: Timestamp) -> bool {
    let life = cert.not_after().as_second() - cert.not_before().as_second();
    cert.not_after().as_second() - now.as_second() < (life / 6).min(30 * DAY)
}

fn renew(cert: &Cert) -> String {
    if cert.known.is_ca() {
        "muster ca rollover".to_owned()
    } else {
        format!("muster cert renew {}", cert.who())
    }
}

fn strength(cert: &Cert) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = key::facts(cert.spki());
    if key.algorithm == "RSA" && key.bits.is_some_and(|bits| bits < 2048) {
        findings.push(Finding::error(
            "Its RSA key is shorter than 2048 bits, which can be broken.",
            "Make a new key, P-256 or RSA with at least 2048 bits, and a new certificate.",
        ));
    }
    if words::is_broken_signature(cert.parsed.signature_algorithm().oid) {
        findings.push(Finding::error(
            "It is signed with a hash that can be forged; current TLS programs refuse it.",
            "Issue it anew with SHA-256.",
        ));
    }
    if cert.spki().algorithm.oid == ID_ED_25519 {
        findings.push(Finding::warning(
            "Its key is Ed25519, which programs built on Mbed TLS cannot read.",
            "Use P-256 where such devices connect.",
        ));
    }
    findings
}

fn extensions(cert: &Cert) -> Vec<Finding> {
    let mut findings = Vec::new();
    for oid in &cert.known.broken {
        findings.push(Finding::error(
            format!("Its extension {} is damaged or there twice.", words::object(*oid)),
            "Issue it anew; report it to whoever runs the CA.",
        ));
    }
    for oid in &cert.known.strange {
        findings.push(Finding::error(
            format!(
                "It has a critical extension that TLS programs do not know, and so must refuse: {}.",
                words::object(*oid)
            ),
            "Issue it without, or not critical.",
        ));
    }
    if cert.known.issuer_by_serial {
        findings.push(Finding::warning(
            "It names its issuer by serial number as well as by key: once the CA's certificate is renewed, Mosquitto refuses everybody.",
            "Issue it with the key identifier alone.",
        ));
    }
    let pointers = [
        &cert.known.crl_urls,
        &cert.known.ocsp_urls,
        &cert.known.issuer_urls,
    ];
    if pointers
        .into_iter()
        .flatten()
        .any(|url| url.contains("//localhost") || url.contains("//127."))
    {
        findings.push(Finding::warning(
            "It points to addresses on this very machine, which others cannot reach.",
            "Set public_url and issue it anew.",
        ));
    }
    findings
}

fn authority(cert: &Cert) -> Vec<Finding> {
    let mut findings = Vec::new();
    let usage = cert.known.usage;
    if !usage.as_ref().is_none_or(KeyUsage::key_cert_sign) {
        findings.push(Finding::error(
            "It is a CA's, but its key usage does not allow signing certificates.",
            "Issue it anew.",
        ));
    }
    if !usage.as_ref().is_none_or(KeyUsage::crl_sign) {
        findings.push(Finding::warning(
            "Its key usage does not allow signing revocation lists, so nothing it issues can be revoked.",
            "Issue it anew.",
        ));
    }
    if cert.known.name_constraints {
        findings.push(Finding::warning(
            "It has name constraints, which programs built on Mbed TLS cannot read.",
            "Issue it without.",
        ));
    }
    findings
}

fn leaf(cert: &Cert) -> Vec<Finding> {
    let known = &cert.known;
    let mut findings = Vec::new();
    if known.names_purpose(ID_KP_SERVER_AUTH) {
        findings.extend(server_names(cert));
    }
    if known.names_purpose(ID_KP_CLIENT_AUTH) {
        findings.extend(client_name(cert));
    }
    if known.extended.is_none() {
        findings.push(Finding::warning(
            "It does not say what it is for; some programs take that for everything, others refuse it.",
            "Issue it as a client's or a server's.",
        ));
    }
    if !known.usage.as_ref().is_none_or(KeyUsage::digital_signature) {
        findings.push(Finding::error(
            "Its key usage does not allow signing, which every TLS handshake needs.",
            "Issue it anew.",
        ));
    }
    let encipherment = known.usage.as_ref().is_some_and(KeyUsage::key_encipherment);
    if encipherment && cert.spki().algorithm.oid == ID_EC_PUBLIC_KEY {
        findings.push(Finding::note(
            "Its key usage has keyEncipherment, which means nothing for an EC key (RFC 8813).",
        ));
    }
    findings
}

fn server_names(cert: &Cert) -> Option<Finding> {
    let names = &cert.known.names;
    let dns: Vec<&str> = names.iter().filter_map(dns_name).collect();
    let has_address = names.iter().any(|name| matches!(name, GeneralName::IpAddress(_)));
    if let Some(address) = dns.iter().find(|name| host::parse_address(name).is_some()) {
        return Some(Finding::error(
            format!(
                "It holds the address {} as a DNS name, where no program looks for it.",
                words::clean(address)
            ),
            "Issue it anew with the address as an IP alternative name.",
        ));
    }
    match (dns.is_empty(), has_address) {
        (false, _) => None,
        (true, true) => Some(Finding::warning(
            "It has addresses but no DNS name; programs built on Mbed TLS 2.28 match names only.",
            "Issue it with a DNS name as well.",
        )),
        (true, false) => Some(Finding::error(
            "It is a server's, but has no alternative name: clients compare the host with those alone, never with the common name.",
            format!(
                "Issue it anew: muster cert issue {} --kind server --san NAME,ADDRESS",
                cert.who()
            ),
        )),
    }
}

fn dns_name(name: &GeneralName) -> Option<&str> {
    if let GeneralName::DnsName(text) = name {
        Some(text.as_str())
    } else {
        None
    }
}

fn client_name(cert: &Cert) -> Option<Finding> {
    let Some(name) = crate::name::first_common_name(cert.subject()) else {
        return Some(Finding::error(
            "It is a client's, but has no common name, which brokers take for the MQTT username.",
            "Issue it anew with a common name.",
        ));
    };
    let dangerous = |letter: char| letter.is_control() || "/+#".contains(letter);
    name.contains(dangerous).then(|| {
        Finding::error(
            "Its common name holds / + # or a control character: as an MQTT username it could match topics of others.",
            "Issue it anew under a name of letters, digits, - . and _.",
        )
    })
}
