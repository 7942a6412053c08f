//! A key that was revoked as compromised gets no certificate again, by whatever way.

use serde_json::json;

use crate::common::requester::{csr_with, new_key};
use crate::fleet::Fleet;

const TOLD: &str = "compromised";

#[test]
fn a_compromised_key_gets_nothing_again() {
    let fleet = Fleet::start("");
    let (stolen, good) = (new_key(), new_key());
    fleet.sign("site-001", &stolen).expect(201, "");
    fleet.sign("site-001", &stolen).expect(201, "");
    let other = fleet.sign("site-002", &stolen).expect(201, "");
    let serial = fleet.serial("site-001");
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
