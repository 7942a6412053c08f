//! What holds for any bytes whatever: the parsers of foreign files neither panic nor believe a changed certificate.
//!
//! Runs briefly as a test; `cargo bolero test` runs it as long as wanted.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jiff::Timestamp;
use muster_pki::explain::{Purpose, VerifyInput, inspect, verify};
use muster_pki::pem;

/// Root, issuing CA, server certificate, its request and a CRL, all valid until 2045.
const FLEET: &str = include_str!("fixtures/fleet.pem");

/// Within everybody's dates.
fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

fn objects() -> Vec<Vec<u8>> {
    pem::decode_all(FLEET)
        .unwrap()
        .into_iter()
        .map(|block| block.der)
        .collect()
}

fn armoured(label: &'static str, der: &[u8]) -> String {
    pem::encode(label, der).unwrap()
}

/// Overwrites single bytes; positions wrap around.
fn patch(bytes: &mut [u8], patches: &[(u16, u8)]) {
    for (at, value) in patches {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *value;
    }
}

/// Explaining must succeed or refuse, and what it says must not drive a terminal.
fn explain(bytes: &[u8], now: Timestamp) {
    let Ok(explained) = inspect(bytes, now) else {
        return;
    };
    for object in &explained {
        let text = object.to_string();
        assert!(
            text.chars().all(|letter| letter == '\n' || !letter.is_control()),
            "{text:?}"
        );
        serde_json::to_string(object).unwrap();
    }
}

fn judge(leaf_chain: &[u8], trust_anchors: &[u8], crl: &[u8], host: Option<&str>, now: Timestamp) -> bool {
    let input = VerifyInput {
        leaf_chain,
        trust_anchors,
        crls: &[crl],
        purpose: Some(Purpose::Server),
        host,
        now,
    };
    let verdict = verify(&input);
    let text = verdict.to_string();
    assert!(
        text.chars().all(|letter| letter == '\n' || !letter.is_control()),
        "{text:?}"
    );
    assert!(verdict.ok || !verdict.sentence.is_empty());
    verdict.ok
}

#[test]
fn the_untouched_files_are_in_order() {
    let [root, ca, leaf, request, crl] = objects().try_into().unwrap();
    let anchors = armoured(pem::CERTIFICATE, &root) + &armoured(pem::CERTIFICATE, &ca);
    assert!(judge(
        &leaf,
        anchors.as_bytes(),
        &crl,
        Some("mqtt.ak-sg.com"),
        now()
    ));
    assert_eq!(inspect(FLEET.as_bytes(), now()).unwrap().len(), 5);
    explain(&request, now());
}

#[test]
fn any_bytes_are_explained_or_refused() {
    bolero::check!()
        .with_type::<(Vec<u8>, i64)>()
        .for_each(|(bytes, second)| {
            let now = Timestamp::from_second(*second).unwrap_or(Timestamp::MAX);
            explain(bytes, now);
            assert!(!judge(bytes, FLEET.as_bytes(), bytes, None, now));
            assert!(!judge(FLEET.as_bytes(), bytes, FLEET.as_bytes(), None, now));
        });
}

#[test]
fn any_bytes_between_pem_lines_are_explained() {
    bolero::check!()
        .with_type::<(Vec<u8>, u8)>()
        .for_each(|(bytes, label)| {
            const LABELS: [&str; 7] = [
                "CERTIFICATE",
                "CERTIFICATE REQUEST",
                "X509 CRL",
                "PRIVATE KEY",
                "ENCRYPTED PRIVATE KEY",
                "EC PRIVATE KEY",
                "RSA PRIVATE KEY",
            ];
            let label = LABELS[usize::from(*label) % LABELS.len()];
            explain(armoured(label, bytes).as_bytes(), now());
        });
}

#[test]
fn damaged_objects_are_explained_or_refused() {
    let objects = objects();
    bolero::check!()
        .with_type::<(u8, Vec<(u16, u8)>, u16)>()
        .for_each(|(which, patches, length)| {
            let mut der = objects[usize::from(*which) % objects.len()].clone();
            patch(&mut der, patches);
            explain(&der, now());
            explain(&der[..usize::from(*length) % der.len()], now());
            let mut text = FLEET.as_bytes().to_vec();
            patch(&mut text, patches);
            explain(&text, now());
        });
}

#[test]
fn no_changed_certificate_or_list_is_believed() {
    let [root, ca, leaf, _, crl] = objects().try_into().unwrap();
    let anchors = armoured(pem::CERTIFICATE, &root) + &armoured(pem::CERTIFICATE, &ca);
    bolero::check!()
        .with_type::<(Vec<(u16, u8)>, bool)>()
        .for_each(|(patches, list)| {
            let (mut changed_leaf, mut changed_crl) = (leaf.clone(), crl.clone());
            patch(
                if *list {
                    &mut changed_crl
                } else {
                    &mut changed_leaf
                },
                patches,
            );
            let same = changed_leaf == leaf && changed_crl == crl;
            assert_eq!(
                judge(
                    &changed_leaf,
                    anchors.as_bytes(),
                    &changed_crl,
                    Some("mqtt.ak-sg.com"),
                    now()
                ),
                same
            );
        });
}

/// RFC 5280 signatures are whole octets. A count of unused bits other than zero is a second encoding of one certificate.
#[test]
fn a_second_encoding_of_the_signature_is_not_believed() {
    let [root, ca, mut leaf, _, crl] = objects().try_into().unwrap();
    let anchors = armoured(pem::CERTIFICATE, &root) + &armoured(pem::CERTIFICATE, &ca);
    // BIT STRING, its length, the count of unused bits, then the ECDSA sequence at the end of the certificate.
    let unused = (0..leaf.len() - 4)
        .rfind(|at| leaf[*at] == 3 && leaf[at + 2] == 0 && leaf[at + 3] == 0x30)
        .map(|at| at + 2)
        .unwrap();
    for bits in 1..8 {
        leaf[unused] = bits;
        assert!(!judge(&leaf, anchors.as_bytes(), &crl, None, now()));
    }
}
