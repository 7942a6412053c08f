//! `kill -9` at a random moment under load, again and again.
//!
//! What a client holds must be in the store, what was spent must stay spent, and the audit chain must have no gap. A
//! killed process leaves what it wrote to the operating system; that it reached the disk, too, is what the store's
//! `synchronous` setting promises and no test without a machine to unplug can show.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use muster_ca::certificate::Serial;
use muster_pki::cert::Certificate;
use serde_json::Value;

use crate::common::requester::{Requester, csr, random, sign_body};
use crate::common::wire::{Dialer, Wire};
use crate::common::{Muster, text};

/// Clients at once.
const CLIENTS: usize = 16;
/// The kill comes within so many milliseconds of the load's start.
const LONGEST_LOAD: u64 = 1_000;
/// Rows that are asked for at once.
const PAGE: usize = 500;

/// One request: its subject, its token, and the certificate if an answer came.
struct Asked {
    subject: String,
    body: String,
    received: Option<Certificate>,
}

#[test]
fn kill_nine_at_any_moment_loses_nothing() {
    let rounds =
        std::env::var("MUSTER_TEST_CRASHES").map_or(50, |text| text.parse().expect("a number of rounds"));
    let mut muster = Muster::start();
    let requester = Requester::of(&muster);
    let mut expected = BTreeMap::new();
    let mut starts = Vec::new();
    for round in 0..rounds {
        let asked = load_until_killed(&mut muster, &requester, round);
        let begun = Instant::now();
        muster.serve();
        starts.push(begun.elapsed());
        everything_received_is_stored(&muster, &asked);
        no_token_works_twice(&muster, &asked);
        expected.extend(asked.into_iter().map(|asked| (asked.subject, asked.received)));
    }
    each_subject_has_one_certificate(&muster, &expected);
    let verdict = muster.json(&["audit", "verify"]);
    assert_eq!(verdict["intact"], true, "{verdict}");
    starts.sort();
    let (median, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    let received = expected.values().flatten().count();
    eprintln!(
        "measured: {rounds} kills, {} requests, {received} certificates received; start after a kill: median {median:?}, slowest {slowest:?}",
        expected.len()
    );
    // What a debug build takes, or a machine that does other things, says nothing about the product.
    if !cfg!(debug_assertions) {
        assert!(median < Duration::from_secs(1), "a start takes {median:?}");
    }
}

/// Clients that ask as fast as they can until there is nobody to answer.
fn load_until_killed(muster: &mut Muster, requester: &Requester, round: usize) -> Vec<Asked> {
    let dialer = Dialer::new(muster.api, &muster.root());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let dialer = &dialer;
                scope.spawn(move || ask_until_cut(dialer, requester, &format!("site-{round}-{client}")))
            })
            .collect();
        thread::park_timeout(Duration::from_millis(u64::from_be_bytes(random()) % LONGEST_LOAD));
        muster.kill();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

fn ask_until_cut(dialer: &Dialer, requester: &Requester, name: &str) -> Vec<Asked> {
    let mut asked = Vec::new();
    let Ok(mut connection) = dialer.tls() else {
        return asked;
    };
    loop {
        let subject = format!("{name}-{}", asked.len());
        let body = sign_body(&csr(&subject), &requester.token(&subject));
        let answer = connection.post("/sign", &body);
        let received = answer
            .as_ref()
            .ok()
            .map(|(status, body)| certificate(*status, body));
        asked.push(Asked {
            subject,
            body,
            received,
        });
        if answer.is_err() {
            return asked;
        }
    }
}

fn certificate(status: u16, body: &[u8]) -> Certificate {
    assert_eq!(status, 201, "{}", text(body));
    let answer: Value = serde_json::from_slice(body).unwrap();
    Certificate::all_from_pem(answer["crt"].as_str().unwrap())
        .unwrap()
        .remove(0)
}

fn serial(certificate: &Certificate) -> String {
    Serial::from_bytes(certificate.serial()).unwrap().hex()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Byte for byte, as the fingerprint says.
fn everything_received_is_stored(muster: &Muster, asked: &[Asked]) {
    let mut local = Wire::local(&muster.data()).unwrap();
    for certificate in asked.iter().filter_map(|asked| asked.received.as_ref()) {
        let (status, body) = local
            .get(&format!("/api/v1/certificates/{}", serial(certificate)))
            .unwrap();
        assert_eq!(
            status,
            200,
            "a client holds a certificate that is not in the store: {}",
            text(&body)
        );
        let stored: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(stored["fingerprint"], hex(&certificate.fingerprint()));
    }
}

/// What was answered is spent. What was cut off was recorded whole, or not at all; then it works, once.
fn no_token_works_twice(muster: &Muster, asked: &[Asked]) {
    let dialer = Dialer::new(muster.api, &muster.root());
    thread::scope(|scope| {
        for part in asked.chunks(asked.len().div_ceil(4).max(1)) {
            let dialer = &dialer;
            scope.spawn(move || {
                let mut connection = dialer.tls().unwrap();
                for asked in part {
                    let (mut status, mut body) = connection.post("/sign", &asked.body).unwrap();
                    if asked.received.is_none() && status == 201 {
                        (status, body) = connection.post("/sign", &asked.body).unwrap();
                    }
                    assert_eq!(status, 401, "{}: {}", asked.subject, text(&body));
                    assert!(text(&body).contains("used already"), "{}", text(&body));
                }
            });
        }
    });
}

/// Walks the whole list: nobody has two certificates, nobody has none, and nobody is there who did not ask.
fn each_subject_has_one_certificate(muster: &Muster, expected: &BTreeMap<String, Option<Certificate>>) {
    let mut stored = BTreeMap::new();
    let mut local = Wire::local(&muster.data()).unwrap();
    let mut after = String::new();
    loop {
        let (status, body) = local
            .get(&format!("/api/v1/certificates?limit={PAGE}{after}"))
            .unwrap();
        assert_eq!(status, 200, "{}", text(&body));
        let page: Value = serde_json::from_slice(&body).unwrap();
        let rows = page["items"].as_array().unwrap().iter();
        for row in rows.filter(|row| row["how"].as_str().is_some_and(|how| how.starts_with("step:"))) {
            let (device, serial) = (row["device"].as_str().unwrap(), row["serial"].as_str().unwrap());
            let before = stored.insert(device.to_owned(), serial.to_owned());
            assert_eq!(before, None, "{device} has two certificates");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&cursor={next}");
    }
    assert!(
        stored.keys().eq(expected.keys()),
        "{} are stored, {} asked",
        stored.len(),
        expected.len()
    );
    for (subject, certificate) in expected {
        assert!(
            certificate
                .as_ref()
                .is_none_or(|certificate| stored[subject] == serial(certificate))
        );
    }
}
