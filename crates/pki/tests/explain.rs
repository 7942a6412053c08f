//! Certificates of another program's making, explained and verified.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{CLIENT, DAYS, ISSUING_CA, Lab, SERVER};
use jiff::{SignedDuration, Timestamp};
use muster_pki::explain::{
    Error, Explained, MAX_INPUT, Outcome, Purpose, Severity, Verdict, VerifyInput, inspect, verify,
};

/// Verifies files of the lab; the fields are the questions.
struct Ask<'a> {
    lab: &'a Lab,
    chain: &'a [&'a str],
    anchors: &'a [&'a str],
    crls: &'a [&'a str],
    purpose: Option<Purpose>,
    host: Option<&'a str>,
    now: Timestamp,
}

impl<'a> Ask<'a> {
    fn of(lab: &'a Lab, chain: &'a [&'a str]) -> Self {
        Self {
            lab,
            chain,
            anchors: &["root.crt"],
            crls: &[],
            purpose: None,
            host: None,
            now: lab.now(),
        }
    }

    fn verdict(&self) -> Verdict {
        let (chain, anchors) = (self.lab.join(self.chain), self.lab.join(self.anchors));
        let crls: Vec<String> = self.crls.iter().map(|file| self.lab.read(file)).collect();
        let crls: Vec<&[u8]> = crls.iter().map(String::as_bytes).collect();
        verify(&VerifyInput {
            leaf_chain: chain.as_bytes(),
            trust_anchors: anchors.as_bytes(),
            crls: &crls,
            purpose: self.purpose,
            host: self.host,
            now: self.now,
        })
    }

    #[track_caller]
    fn holds(&self) -> Verdict {
        let verdict = self.verdict();
        assert!(verdict.ok && verdict.fix.is_none(), "{verdict}");
        verdict
    }

    #[track_caller]
    fn fails(&self, check: &str, words: &str) -> Verdict {
        let verdict = self.verdict();
        let failed = verdict
            .steps
            .iter()
            .find(|step| step.outcome == Outcome::Failed)
            .unwrap();
        assert_eq!(failed.check, check, "{verdict}");
        assert!(!verdict.ok && verdict.sentence.contains(words), "{verdict}");
        assert!(verdict.fix.is_some());
        verdict
    }
}

#[test]
fn a_good_chain_is_told_step_by_step() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("mqtt", "mqtt.ak-sg.com", "ca", SERVER);
    lab.crl("ca", &[]);
    lab.crl("root", &[]);
    let mut ask = Ask::of(&lab, &["mqtt.crt", "ca.crt"]);
    ask.purpose = Some(Purpose::Server);
    ask.host = Some("mqtt.ak-sg.com");
    ask.crls = &["ca.crl", "root.crl"];
    let verdict = ask.holds();
    let text = verdict.to_string();
    for want in [
        "mqtt.ak-sg.com was issued by 'AK-SG IoT CA issuing CA 1', valid until ",
        "(in 29 days).",
        "'AK-SG IoT CA' is a root that you trust",
        "mqtt.ak-sg.com may identify itself as a server.",
        "It is for mqtt.ak-sg.com.",
        "mqtt.ak-sg.com is not revoked, says the list of 'AK-SG IoT CA issuing CA 1' of ",
        "\nmqtt.ak-sg.com is in order.\n",
    ] {
        assert!(text.contains(want), "{want:?} is not in:\n{text}");
    }
    ask.crls = &[];
    assert!(ask.holds().sentence.ends_with("Revocation was not checked."));
    ask.crls = &["ca.crl"];
    assert!(
        ask.holds()
            .sentence
            .ends_with("The CAs above it were not checked for revocation.")
    );
    // The issuing CA may also come from the CA file, as it does in ca.crt.
    ask.chain = &["mqtt.crt"];
    ask.anchors = &["root.crt", "ca.crt"];
    ask.holds();
}

#[test]
fn every_accepted_algorithm_is_checked() {
    let Some(lab) = Lab::new() else { return };
    for (id, algorithm, hash) in [
        ("p256", "EC -pkeyopt ec_paramgen_curve:P-256", "-sha512"),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384", "-sha384"),
        ("p521", "EC -pkeyopt ec_paramgen_curve:P-521", "-sha512"),
        ("ed", "ED25519", ""),
        ("rsa256", "RSA -pkeyopt rsa_keygen_bits:2048", "-sha256"),
        ("rsa384", "RSA -pkeyopt rsa_keygen_bits:2048", "-sha384"),
        ("rsa512", "RSA -pkeyopt rsa_keygen_bits:2048", "-sha512"),
    ] {
        lab.root(id, id, algorithm);
        lab.key("leaf", algorithm);
        lab.certify("leaf", "site-001", id, CLIENT, hash);
        let chain = lab.read("leaf.crt");
        let anchors = lab.read(&format!("{id}.crt"));
        let Explained::Certificate(facts) = &inspect(chain.as_bytes(), Timestamp::UNIX_EPOCH).unwrap()[0]
        else {
            panic!()
        };
        let verdict = verify(&VerifyInput {
            leaf_chain: chain.as_bytes(),
            trust_anchors: anchors.as_bytes(),
            crls: &[],
            purpose: Some(Purpose::Client),
            host: None,
            now: facts.not_before,
        });
        assert!(verdict.ok, "{id}: {verdict}");
    }
}

#[test]
fn dates_are_judged_by_the_given_moment() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    let mut ask = Ask::of(&lab, &["site.crt", "ca.crt"]);
    ask.now = lab.now() + SignedDuration::from_hours(24 * (DAYS + 3));
    let verdict = ask.fails("dates", "site-001 must not be trusted: site-001 expired on ");
    assert!(verdict.fix.unwrap().contains("muster cert renew site-001"));
    ask.now = lab.now() - SignedDuration::from_hours(5);
    ask.fails("dates", "is not valid before");
}

#[test]
fn a_break_in_the_chain_is_named() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.root("other", "AK-SG IoT CA", "EC -pkeyopt ec_paramgen_curve:P-256");
    lab.root("stranger", "Somebody else", "EC -pkeyopt ec_paramgen_curve:P-256");
    lab.issue("foreign", "site-001", "stranger", CLIENT);

    let mut ask = Ask::of(&lab, &["site.crt"]);
    let verdict = ask.fails(
        "issuer",
        "'AK-SG IoT CA issuing CA 1', whose certificate is neither sent along nor among",
    );
    assert!(
        verdict
            .fix
            .unwrap()
            .contains("append its certificate after that of site-001")
    );
    ask.chain = &["foreign.crt"];
    ask.fails("issuer", "'Somebody else', whose certificate is neither");
    ask.chain = &["foreign.crt", "stranger.crt"];
    ask.fails(
        "root",
        "the root 'Somebody else', which is not among the trusted ones",
    );
    ask.chain = &["site.crt", "ca.crt"];
    ask.anchors = &["other.crt"];
    ask.fails("issuer", "another CA of the same name");
    // What Mosquitto and HAProxy refuse, too: no root.
    ask.chain = &["site.crt"];
    ask.anchors = &["ca.crt"];
    ask.fails("root", "it is no root");
}

#[test]
fn a_changed_certificate_is_noticed() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.openssl("x509 -in site.crt -outform DER -out site.der");
    let mut der = std::fs::read(lab.path("site.der")).unwrap();
    let anchors = lab.join(&["root.crt", "ca.crt"]);
    let mut ask = VerifyInput {
        leaf_chain: &der.clone(),
        trust_anchors: anchors.as_bytes(),
        crls: &[],
        purpose: None,
        host: None,
        now: lab.now(),
    };
    assert!(verify(&ask).ok);
    let name = der.windows(8).position(|window| window == b"site-001").unwrap();
    der[name + 7] = b'2';
    ask.leaf_chain = &der;
    let verdict = verify(&ask);
    assert!(
        !verdict.ok
            && verdict
                .sentence
                .contains("site-002 names 'AK-SG IoT CA issuing CA 1'"),
        "{verdict}"
    );
}

#[test]
fn an_unordered_chain_is_understood_and_blamed() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    let verdict = Ask::of(&lab, &["root.crt", "ca.crt", "site.crt", "site.crt"]).holds();
    assert_eq!(verdict.name.as_deref(), Some("site-001"));
    assert!(
        verdict
            .steps
            .iter()
            .any(|step| step.check == "order" && step.outcome == Outcome::Warning),
        "{verdict}"
    );
}

#[test]
fn who_may_issue_is_checked() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.issue("forged", "site-002", "site", CLIENT);
    Ask::of(&lab, &["forged.crt", "site.crt", "ca.crt"])
        .fails("ca", "site-001 issued a certificate, but is no CA");
    lab.issue("sub", "CA below", "ca", ISSUING_CA);
    lab.issue("deep", "site-003", "sub", CLIENT);
    Ask::of(&lab, &["deep.crt", "sub.crt", "ca.crt"]).fails("ca", "allows fewer levels of CAs");
}

#[test]
fn purpose_and_host_are_checked() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("mqtt", "mqtt.ak-sg.com", "ca", SERVER);
    lab.issue("bare", "broker.ak-sg.com", "ca", "keyUsage=digitalSignature\n");
    let mut ask = Ask::of(&lab, &["mqtt.crt", "ca.crt"]);
    ask.purpose = Some(Purpose::Client);
    ask.fails(
        "purpose",
        "may not identify itself as a client; it may identify itself as a server",
    );
    ask.purpose = None;
    for host in ["mqtt.ak-sg.com", "a.fleet.ak-sg.com", "10.0.80.50"] {
        ask.host = Some(host);
        ask.holds();
    }
    for host in [
        "10.0.80.51",
        "fleet.ak-sg.com",
        "a.b.fleet.ak-sg.com",
        "ak-sg.com",
        "",
    ] {
        ask.host = Some(host);
        ask.fails("host", "only for mqtt.ak-sg.com, *.fleet.ak-sg.com, 10.0.80.50");
    }
    ask.chain = &["bare.crt", "ca.crt"];
    ask.host = Some("broker.ak-sg.com");
    ask.fails("host", "stands only in its common name");
    ask.host = None;
    ask.purpose = Some(Purpose::Client);
    assert!(
        ask.holds()
            .steps
            .iter()
            .any(|step| step.check == "purpose" && step.outcome == Outcome::Warning)
    );
}

#[test]
fn revocation_is_checked() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.issue("held", "site-002", "ca", CLIENT);
    lab.issue("good", "site-003", "ca", CLIENT);
    lab.crl("ca", &[("site", "keyCompromise"), ("held", "certificateHold")]);
    lab.crl("root", &[]);
    let mut ask = Ask::of(&lab, &["site.crt", "ca.crt"]);
    ask.crls = &["root.crl", "ca.crl"];
    ask.fails("crl", "because somebody else may hold its key");
    ask.chain = &["held.crt", "ca.crt"];
    assert!(
        ask.fails("crl", "(suspended)")
            .fix
            .unwrap()
            .contains("muster device resume site-002")
    );
    ask.chain = &["good.crt", "ca.crt"];
    ask.holds();
    ask.crls = &["root.crl"];
    ask.fails(
        "crl",
        "There is no revocation list of 'AK-SG IoT CA issuing CA 1'",
    );
    ask.crls = &["ca.crl"];
    ask.now = lab.now() + SignedDuration::from_hours(24 * 8);
    ask.fails("crl", "ran out on ");
    // A list of the right name, signed by somebody else.
    ask.now = lab.now();
    lab.issue("false", "AK-SG IoT CA issuing CA 1", "root", ISSUING_CA);
    lab.crl("false", &[]);
    ask.crls = &["false.crl"];
    ask.fails("crl", "was not signed by");
    // The issuing CA itself, revoked by the root.
    lab.crl("ca", &[]);
    lab.crl("root", &[("ca", "cACompromise")]);
    ask.crls = &["ca.crl", "root.crl"];
    ask.fails("crl", "AK-SG IoT CA issuing CA 1 was revoked on ");
}

#[test]
fn files_are_explained() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("mqtt", "mqtt.ak-sg.com", "ca", SERVER);
    lab.openssl("ec -in mqtt.key -out mqtt.sec1");
    let all = format!(
        "a remark\n{}{}{}{}{}",
        lab.openssl("x509 -in mqtt.crt -text"),
        lab.join(&["ca.crt", "root.crt"]).replace('\n', "\r\n"),
        lab.join(&["mqtt.csr", "mqtt.key", "mqtt.sec1", "ca.key"]),
        lab.crl("ca", &[("mqtt", "superseded")]),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let explained = inspect(all.as_bytes(), lab.now()).unwrap();
    let text: String = explained.iter().map(|object| format!("{object}\n")).collect();
    let serial = lab
        .openssl("x509 -in mqtt.crt -noout -serial")
        .trim()
        .replace("serial=", "")
        .to_lowercase();
    let fingerprint = lab.openssl("x509 -in mqtt.crt -noout -fingerprint -sha256");
    let fingerprint = fingerprint
        .trim()
        .split('=')
        .next_back()
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    for want in [
        "Certificate of mqtt.ak-sg.com\n",
        "issued by    AK-SG IoT CA issuing CA 1\n",
        "(ends in 29 days)",
        "may          identify itself as a server\n",
        "names        DNS mqtt.ak-sg.com\n               DNS *.fleet.ak-sg.com\n               IP 10.0.80.50\n",
        "key          ECDSA P-256\n",
        "signed with  ECDSA with SHA-256\n",
        &format!("serial       {serial} (decimal "),
        &format!("fingerprint  {fingerprint}\n"),
        "CRL          http://pki.ak-sg.com:9080/crl\n",
        "Certificate of the CA AK-SG IoT CA issuing CA 1\n",
        "below it     devices and servers, no further CA\n",
        "issued by    itself (a root)\n",
        "Certificate request of mqtt.ak-sg.com\n",
        "proof        signed with its own key\n",
        "Private key\n  form         PKCS#8, not encrypted\n",
        "form         SEC1, not encrypted\n",
        "It belongs to the certificate of mqtt.ak-sg.com.",
        "It belongs to the certificate of AK-SG IoT CA issuing CA 1.",
        "Revocation list of AK-SG IoT CA issuing CA 1\n",
        "number       10\n",
        "revokes      1 (0 of them suspended)\n",
        "A block called \"CERTIFICATE\" that cannot be explained",
    ] {
        assert!(text.contains(want), "{want:?} is not in:\n{text}");
    }
    assert_eq!(explained.len(), 9);
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json[0]["kind"], "certificate");
    assert_eq!(json[0]["cn"], "mqtt.ak-sg.com");
    assert_eq!(
        json[0]["not_after"].as_str().unwrap().len(),
        "2026-11-21T04:00:00Z".len()
    );
}

#[test]
fn a_key_beside_another_keys_certificate_is_noticed() {
    let Some(lab) = Lab::with_cas() else { return };
    let explained = inspect(lab.join(&["root.crt", "ca.key"]).as_bytes(), lab.now()).unwrap();
    let finding = &explained[1].findings()[0];
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.text.contains("belongs to none of the certificates"));
    // A private key never shows in any form.
    let shown = format!(
        "{} {:?} {}",
        explained[1],
        explained[1],
        serde_json::to_string(&explained[1]).unwrap()
    );
    let secret = lab.openssl("pkey -in ca.key -noout -text").to_lowercase();
    let secret: String = secret
        .split("pub:")
        .next()
        .unwrap()
        .chars()
        .filter(char::is_ascii_hexdigit)
        .collect();
    assert!(!shown.contains(&secret[secret.len() - 32..]));
}

#[test]
fn mistakes_are_found() {
    let Some(lab) = Lab::with_cas() else { return };
    let has = |id: &str, words: &str| {
        let explained = inspect(lab.read(&format!("{id}.crt")).as_bytes(), lab.now()).unwrap();
        assert!(
            explained[0]
                .findings()
                .iter()
                .any(|finding| finding.text.contains(words)),
            "{words}: {}",
            explained[0]
        );
    };
    lab.issue("san", "mqtt", "ca", "extendedKeyUsage=serverAuth\n");
    has("san", "has no alternative name");
    lab.issue(
        "ipdns",
        "mqtt",
        "ca",
        "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:10.0.80.50\n",
    );
    has("ipdns", "holds the address 10.0.80.50 as a DNS name");
    lab.issue("wild", "a#b", "ca", CLIENT);
    has("wild", "could match topics of others");
    lab.issue("none", "x", "ca", "keyUsage=digitalSignature\n");
    has("none", "does not say what it is for");
    lab.issue("odd", "x", "ca", "1.2.3.4=critical,ASN1:NULL\n");
    has("odd", "critical extension that TLS programs do not know");
    lab.key("weak", "RSA -pkeyopt rsa_keygen_bits:1024");
    lab.certify("weak", "x", "ca", CLIENT, "-sha1");
    has("weak", "shorter than 2048 bits");
    has("weak", "hash that can be forged");
    Ask::of(&lab, &["odd.crt", "ca.crt"]).fails("extensions", "is not understood");
    Ask::of(&lab, &["weak.crt", "ca.crt"]).fails("issuer", "cannot be checked");
}

#[test]
fn garbage_is_refused_politely() {
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(inspect(b"", now), Err(Error::Nothing));
    assert_eq!(inspect(b"hello\0\xff", now), Err(Error::Nothing));
    assert_eq!(
        inspect(&vec![b'-'; MAX_INPUT + 1], now),
        Err(Error::TooLarge(MAX_INPUT + 1))
    );
    let many = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".repeat(65);
    assert_eq!(inspect(many.as_bytes(), now), Err(Error::TooMany));
    for bytes in [
        &b""[..],
        b"-----BEGIN ",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END",
        many.as_bytes(),
    ] {
        let input = VerifyInput {
            leaf_chain: bytes,
            trust_anchors: bytes,
            crls: &[bytes],
            purpose: None,
            host: Some("x"),
            now,
        };
        let verdict = verify(&input);
        assert!(!verdict.ok && verdict.fix.is_some(), "{verdict}");
        assert_eq!(verdict.steps.len(), 1);
    }
}
