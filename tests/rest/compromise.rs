//! A key that was revoked as compromised gets no certificate again, by whatever way.

use serde_json::json;

use crate::common::requester::{csr_with, new_key};
use crate::fleet::Fleet;
use crate::openssl;

const TOLD: &str = "compromised";

#[test]
fn a_compromised_key_gets_nothing_again() {
    let fleet = Fleet::start("");
    let (stolen, good) = (new_key(), new_key());
    fleet.sign("site-001", &stolen).expect(201, "");
    fleet.sign("site-001", &stolen).expect(201, "");
    let other = fleet.sign("site-002", &stolen).expect(201, "");
    let serial = fleet.serial("site-001");
    let rehearse = [
        "cert",
        "revoke",
        &serial,
        "--reason",
        "key-compromise",
        "--dry-run",
    ];
    let said = fleet.muster.ok(&rehearse);
    let all = fleet.serials("site-001");
    assert!(all.iter().all(|serial| said.contains(serial)), "{said}");
    let said = fleet.muster.exits(
        5,
        &["cert", "revoke", &serial, "--reason", "key-compromise", "--yes"],
    );
    assert!(said.contains(&serial), "{said}");
    // Whoever has the key has every certificate with it.
    let gone = "revoked key-compromise";
    assert_eq!(fleet.certificates("site-001"), [gone, gone]);

    let told = fleet.sign("site-001", &stolen).expect(403, TOLD);
    assert!(told.text().contains("make a new key"), "{}", told.text());
    fleet.sign("site-003", &stolen).expect(403, TOLD);
    let token = fleet.token(&["site-004"]);
    fleet.enrol(&token, "site-004", &stolen).expect(403, TOLD);
    fleet
        .holder(&other, &stolen)
        .post("/renew", &json!({}))
        .expect(403, TOLD);
    std::fs::write(
        fleet.muster.path().join("stolen.csr"),
        csr_with("site-005", &stolen),
    )
    .unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let sign = ["cert", "sign", "stolen.csr", "--out", "out"];
        let said = fleet.muster.exits(4, &[&sign, more].concat());
        assert!(said.contains(TOLD), "{said}");
    }
    for nobody in ["site-003", "site-004", "site-005"] {
        fleet.muster.exits(3, &["device", "show", nobody]);
    }

    // The device itself goes on with another key, and cannot go back.
    let first = fleet.sign("site-001", &good).expect(201, "");
    let holder = fleet.holder(&first, &good);
    holder
        .post("/rekey", &json!({ "csr": csr_with("site-001", &stolen) }))
        .expect(403, TOLD);
    holder
        .post("/rekey", &json!({ "csr": csr_with("site-001", &new_key()) }))
        .expect(201, "");
}

#[test]
fn another_reason_does_not_condemn_the_key() {
    let fleet = Fleet::start("");
    let key = new_key();
    fleet.sign("site-001", &key).expect(201, "");
    fleet.sign("site-001", &key).expect(201, "");
    let serial = fleet.serial("site-001");
    fleet
        .muster
        .exits(5, &["cert", "revoke", &serial, "--reason", "superseded", "--yes"]);
    assert_eq!(fleet.certificates("site-001"), ["revoked superseded", "active"]);
    fleet.sign("site-001", &key).expect(201, "");
}

#[test]
fn a_device_that_was_revoked_as_compromised_comes_back_with_a_new_key_only() {
    let fleet = Fleet::start("");
    let stolen = new_key();
    fleet.sign("site-001", &stolen).expect(201, "");
    let revoke = [
        "device",
        "revoke",
        "site-001",
        "--reason",
        "key-compromise",
        "--yes",
    ];
    fleet.muster.exits(5, &revoke);
    fleet.muster.ok(&["device", "rearm", "site-001"]);
    fleet.sign("site-001", &stolen).expect(403, TOLD);
    fleet.sign("site-001", &new_key()).expect(201, "");
}

#[test]
fn what_is_revoked_already_can_turn_out_to_be_compromised() {
    let fleet = Fleet::start("");
    let stolen = new_key();
    fleet.sign("site-001", &stolen).expect(201, "");
    fleet.sign("site-001", &stolen).expect(201, "");
    fleet.muster.ok(&["device", "rearm", "site-001"]);
    let good = new_key();
    fleet.sign("site-001", &good).expect(201, "");
    let gone = "revoked superseded";
    assert_eq!(fleet.certificates("site-001"), ["active", gone, gone]);
    let serials = fleet.serials("site-001");
    let revoked_at = fleet.shown("site-001", 1)["revoked_at"].clone();
    let revoke = |serial: &str, reason: &str, code| {
        let line = ["cert", "revoke", serial, "--reason", reason, "--yes"];
        fleet.muster.exits(code, &line)
    };
    revoke(&serials[1], "cessation-of-operation", 2);
    revoke(&serials[1], "key-compromise", 5);
    // The other with that key goes with it; the good one is not touched. Since when they are revoked stays true.
    let raised = "revoked key-compromise";
    assert_eq!(fleet.certificates("site-001"), ["active", raised, raised]);
    assert_eq!(fleet.shown("site-001", 1)["revoked_at"], revoked_at);
    let told = revoke(&serials[1], "key-compromise", 2);
    assert!(told.contains("already revoked"), "{told}");
    fleet.sign("site-002", &stolen).expect(403, TOLD);
    if openssl(&fleet.muster, "version").is_some() {
        fleet
            .muster
            .ok(&["ca", "crl", "--generation", "1", "--out", "crl.pem"]);
        let list = openssl(&fleet.muster, "crl -in crl.pem -noout -text").unwrap();
        assert_eq!(list.matches("Key Compromise").count(), 2, "{list}");
        assert!(!list.contains("Superseded"), "{list}");
    }
}

#[test]
fn a_device_that_was_revoked_or_retired_can_turn_out_to_be_compromised() {
    let fleet = Fleet::start("");
    for (name, first) in [("site-001", "revoke"), ("site-002", "retire")] {
        let stolen = new_key();
        fleet.sign(name, &stolen).expect(201, "");
        fleet.muster.exits(5, &["device", first, name, "--yes"]);
        let state = || fleet.muster.json(&["device", "show", name])["state"].clone();
        let before = state();
        let revoke = ["device", "revoke", name, "--reason", "key-compromise", "--yes"];
        fleet.muster.exits(5, &revoke);
        assert_eq!(fleet.certificates(name), ["revoked key-compromise"]);
        assert_eq!(state(), before);
        fleet.muster.exits(2, &revoke);
        fleet.sign("site-003", &stolen).expect(403, TOLD);
    }
}
