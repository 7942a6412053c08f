//! Two devices with one identity: what a renewal takes the place of, and when that is an alarm.

use muster_pki::key::PrivateKey;
use serde_json::{Value, json};

use crate::common::https::{Answer, Https};
use crate::common::requester::{csr_with, new_key};
use crate::fleet::Fleet;

fn rekey(holder: &Https, name: &str, key: &PrivateKey) -> Answer {
    holder.post("/api/v1/agent/renew", &json!({ "csr": csr_with(name, key) }))
}

fn confirm(holder: &Https) -> Answer {
    holder.post("/api/v1/enrol/confirm", &json!({}))
}

/// What `muster status` says about copies.
fn told(fleet: &Fleet) -> Vec<String> {
    let output = fleet.muster.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let todos = status["todos"].as_array().unwrap().iter();
    let words = todos.map(Value::to_string);
    words.filter(|text| text.contains("was copied")).collect()
}

#[test]
fn another_key_takes_the_place_of_what_was_not_confirmed() {
    let fleet = Fleet::start("");
    let keys = [new_key(), new_key(), new_key()];
    let first = fleet
        .enrol(&fleet.token(&["site-001"]), "site-001", &keys[0])
        .expect(200, "");
    let holder = fleet.holder(&first, &keys[0]);
    let lost = rekey(&holder, "site-001", &keys[1]).expect(200, "");
    let again = rekey(&holder, "site-001", &keys[1]).expect(200, "");
    assert_eq!(
        lost.json()["pem"],
        again.json()["pem"],
        "a lost answer costs nothing"
    );
    let taken = rekey(&holder, "site-001", &keys[2]).expect(200, "");
    let gone = "revoked superseded";
    assert_eq!(fleet.certificates("site-001"), ["active", gone, "active"]);
    let log = fleet.muster.json(&["audit", "list"]).to_string();
    assert!(
        log.contains(&format!(
            r#"superseded\":[\"{}"#,
            lost.json()["serial"].as_str().unwrap()
        )),
        "{log}"
    );
    confirm(&fleet.holder(&taken, &keys[2])).expect(200, "");
    assert_eq!(fleet.certificates("site-001"), ["active", gone, gone]);
    assert_eq!(
        told(&fleet),
        [""; 0],
        "a fork of which one side is used is no alarm"
    );
    // The other side comes after all.
    confirm(&fleet.holder(&lost, &keys[1])).expect(401, "superseded");
    let alarm = told(&fleet);
    assert!(
        alarm[0].matches("from 127.0.0.1 at ").count() == 2
            && alarm[0].contains("muster device recover site-001"),
        "{alarm:?}"
    );
    // It is said once, and until somebody sees to it.
    holder
        .post(
            "/api/v1/agent/renew",
            &json!({ "csr": csr_with("site-001", &keys[1]) }),
        )
        .expect(401, "superseded");
    let log = fleet.muster.json(&["audit", "list"]).to_string();
    assert_eq!(log.matches("device.cloned").count(), 1, "{log}");
    let code = fleet.muster.json(&["device", "recover", "site-001"]);
    // A key that it had may be a copy's, too.
    for key in &keys {
        let told = fleet
            .enrol(&code, "site-001", key)
            .expect(403, "had this key before");
        assert!(told.text().contains("make a new key"), "{}", told.text());
    }
    assert_eq!(
        told(&fleet).len(),
        1,
        "a code that nobody used has mended nothing"
    );
    let key = new_key();
    fleet.enrol(&code, "site-001", &key).expect(200, "");
    assert_eq!(told(&fleet), [""; 0]);
    assert_eq!(fleet.certificates("site-001"), ["active", gone, gone, gone]);
}

#[test]
fn two_lines_that_step_renewed_are_two_devices_once_both_are_used() {
    let fleet = Fleet::start("");
    let key = new_key();
    let first = fleet.sign("site-001", &key).expect(201, "");
    let renew = |answer: &Answer| fleet.holder(answer, &key).post("/renew", &json!({}));
    let one = renew(&first).expect(201, "");
    let other = renew(&first).expect(201, "");
    assert_eq!(told(&fleet), [""; 0], "the first answer may have been lost");
    let next = renew(&one).expect(201, "");
    renew(&next).expect(201, "");
    assert_eq!(told(&fleet), [""; 0]);
    renew(&other).expect(201, "");
    assert!(told(&fleet)[0].contains("site-001 was copied"));
}

#[test]
fn a_profile_may_suspend_who_is_two() {
    let fleet = Fleet::start("[profile.client]\nsuspend_clones = true\n");
    let key = new_key();
    let first = fleet.sign("site-001", &key).expect(201, "");
    let renew = |answer: &Answer| fleet.holder(answer, &key).post("/renew", &json!({}));
    let (one, other) = (renew(&first).expect(201, ""), renew(&first).expect(201, ""));
    let next = renew(&one).expect(201, "");
    renew(&other).expect(403, "another device has renewed the same certificate");
    renew(&next).expect(401, "is suspended");
    assert_eq!(
        fleet.muster.json(&["device", "show", "site-001"])["state"],
        "suspended"
    );
    assert_eq!(told(&fleet).len(), 1);
    fleet.muster.exits(4, &["device", "recover", "site-001"]);
    fleet.muster.run(&["device", "resume", "site-001"]);
    assert_eq!(told(&fleet), [""; 0]);
}

#[test]
fn a_recovery_code_is_for_one_device_once() {
    let fleet = Fleet::start("");
    let (old, new) = (new_key(), new_key());
    fleet.sign("site-001", &old).expect(201, "");
    fleet.muster.exits(3, &["device", "recover", "site-002"]);
    let rehearsed = fleet.muster.ok(&["device", "recover", "site-001", "--dry-run"]);
    assert!(rehearsed.contains("Nothing was changed"), "{rehearsed}");
    assert_eq!(
        fleet.muster.json(&["token", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let code = fleet.muster.json(&["device", "recover", "site-001"]);
    assert!(
        code["secret"].as_str().unwrap().len() >= 22 + "mt_".len(),
        "128 bits: {}",
        code["id"]
    );
    fleet.enrol(&code, "site-002", &new).expect(403, "for site-001");
    assert_eq!(
        fleet.certificates("site-001"),
        ["active"],
        "what it has works until then"
    );
    fleet.enrol(&code, "site-001", &new).expect(200, "");
    assert_eq!(fleet.certificates("site-001"), ["active", "revoked superseded"]);
    fleet
        .enrol(&code, "site-001", &new_key())
        .expect(403, "has been used 1 of 1 times");
    fleet.muster.run(&["device", "revoke", "site-001", "--yes"]);
    let said = fleet.muster.exits(4, &["device", "recover", "site-001"]);
    assert!(said.contains("muster device rearm site-001"), "{said}");
}

#[test]
fn of_codes_that_are_made_at_one_instant_one_is_good() {
    let fleet = Fleet::start("");
    fleet.sign("site-001", &new_key()).expect(201, "");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| fleet.muster.ok(&["device", "recover", "site-001"]));
        }
    });
    let list = fleet.muster.json(&["token", "list"]);
    let status = |word: &str| {
        let tokens = list["items"].as_array().unwrap().iter();
        tokens.filter(|token| token["status"] == word).count()
    };
    assert_eq!((status("open"), status("withdrawn")), (1, 5), "{list}");
}

#[test]
fn another_code_withdraws_the_one_before() {
    let fleet = Fleet::start("");
    fleet.sign("site-001", &new_key()).expect(201, "");
    fleet.sign("site-002", &new_key()).expect(201, "");
    fleet.token(&["site-001"]);
    let other = fleet.muster.json(&["device", "recover", "site-002"]);
    let first = fleet.muster.json(&["device", "recover", "site-001"]);
    let second = fleet.muster.json(&["device", "recover", "site-001"]);
    fleet
        .enrol(&first, "site-001", &new_key())
        .expect(401, "withdrawn");
    fleet.enrol(&second, "site-001", &new_key()).expect(200, "");
    fleet.enrol(&other, "site-002", &new_key()).expect(200, "");
    let list = fleet.muster.json(&["token", "list"]);
    let tokens = list["items"].as_array().unwrap().iter();
    let withdrawn: Vec<_> = tokens
        .filter(|token| token["status"] == "withdrawn")
        .map(|token| token["id"].clone())
        .collect();
    assert_eq!(withdrawn, [first["id"].clone()]);
    let log = fleet.muster.json(&["audit", "list"]).to_string();
    let told = format!(r#"\"withdrawn\":[\"{}\"]"#, first["id"].as_str().unwrap());
    assert!(log.contains(&told), "{log}");
}

#[test]
fn one_certificate_is_not_rekeyed_without_end() {
    let fleet = Fleet::start("");
    let key = new_key();
    let first = fleet
        .enrol(&fleet.token(&["site-001"]), "site-001", &key)
        .expect(200, "");
    let holder = fleet.holder(&first, &key);
    let keys: Vec<_> = (0..9).map(|_| new_key()).collect();
    for key in &keys {
        rekey(&holder, "site-001", key).expect(200, "");
    }
    let recorded = fleet.certificates("site-001").len();
    let told = rekey(&holder, "site-001", &new_key()).expect(403, "none of them was kept");
    assert!(
        told.text().contains("muster device recover site-001"),
        "{}",
        told.text()
    );
    let body = json!({ "csr": csr_with("site-001", &new_key()) });
    holder.post("/rekey", &body).expect(403, "none of them was kept");
    assert_eq!(fleet.certificates("site-001").len(), recorded);
    // The newest is still handed out, and who keeps the key renews.
    rekey(&holder, "site-001", &keys[8]).expect(200, "");
    holder.post("/renew", &json!({})).expect(201, "");
    let code = fleet.muster.json(&["device", "recover", "site-001"]);
    fleet.enrol(&code, "site-001", &new_key()).expect(200, "");
}
