//! Certificate requests: damaged, weak, or asking for more than their profile gives.
//!
//! Those that no well-behaved library makes were made with openssl, each for the name `site-bad`.

use muster_pki::csr::Csr;
use muster_pki::pem;

use crate::common::requester::{csr, csr_with, new_key, sign_body};
use crate::world::World;

const BAD: &str = "site-bad";

#[test]
fn a_damaged_request_is_refused() {
    let world = World::start();
    let token = world.requester.token(BAD);
    let der = Csr::build(BAD, &[], &new_key()).unwrap();
    let last = der.len() - 1;
    let changed = |at: usize| {
        let mut der = der.clone();
        der[at] ^= 1;
        der
    };
    let subject = der
        .windows(BAD.len())
        .position(|part| part == BAD.as_bytes())
        .unwrap();
    for (what, der, words) in [
        ("a changed signature", changed(last), "signature"),
        ("a changed name", changed(subject), "signature"),
        (
            "a byte after its end",
            [&der[..], &[0]].concat(),
            "certificate request",
        ),
        ("a byte too few", der[..last].to_vec(), "certificate request"),
        ("nothing", Vec::new(), "certificate request"),
        ("one byte", vec![0x30], "certificate request"),
        (
            "a length of gigabytes",
            vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            "certificate request",
        ),
        ("an endless length", vec![0x30, 0x80, 0, 0], "certificate request"),
        ("another structure", vec![0x02, 1, 5], "certificate request"),
        ("20 KiB", vec![0x30; 20_000], "longer"),
    ] {
        let armoured = pem::encode(pem::CSR, &der).unwrap();
        world.refuses(what, &sign_body(&armoured, &token), 400, words);
    }
    world.still_works(&token, BAD);
}

#[test]
fn a_weak_or_foreign_key_is_refused() {
    let world = World::start();
    let token = world.requester.token(BAD);
    for (request, status, words) in [
        (include_str!("requests/rsa-1024.pem"), 403, "1024"),
        (include_str!("requests/rsa-8192.pem"), 403, "8192"),
        (include_str!("requests/p-224.pem"), 403, "P-256"),
        (include_str!("requests/secp256k1.pem"), 403, "P-256"),
        (include_str!("requests/ed448.pem"), 403, ""),
        (include_str!("requests/sha1.pem"), 403, "SHA-256 or better"),
    ] {
        world.refuses(words, &sign_body(request, &token), status, words);
    }
    world.still_works(&token, BAD);
}

#[test]
fn a_request_for_more_than_the_profile_gives_is_refused() {
    let world = World::start();
    let token = world.requester.token(BAD);
    for (request, status, words) in [
        (include_str!("requests/ca-true.pem"), 403, "CA:TRUE"),
        (include_str!("requests/server-auth.pem"), 403, "serverAuth"),
        (
            include_str!("requests/code-signing.pem"),
            403,
            "1.3.6.1.5.5.7.3.3",
        ),
        (include_str!("requests/other-san.pem"), 403, "alternative names"),
        (include_str!("requests/other-cn.pem"), 403, "site-other"),
        (include_str!("requests/other-name.pem"), 400, "alternative name"),
    ] {
        world.refuses(words, &sign_body(request, &token), status, words);
    }
    world.still_works(&token, BAD);
}

#[test]
fn a_name_that_lives_with_another_key_is_refused() {
    let world = World::start();
    let key = new_key();
    let enrol = |csr: &str| sign_body(csr, &world.requester.token("site-001"));
    assert_eq!(world.post("/sign", &enrol(&csr_with("site-001", &key))).0, 201);
    let other = world.requester.token("site-001");
    world.refuses(
        "another key",
        &sign_body(&csr("site-001"), &other),
        403,
        "another key",
    );
    // The refused token is good for the true key, and for any key once an operator says so.
    let (status, answer) = world.post("/sign", &sign_body(&csr_with("site-001", &key), &other));
    assert_eq!(status, 201, "{answer}");
    world.muster.ok(&["device", "rearm", "site-001"]);
    world.serves("site-001");
}
