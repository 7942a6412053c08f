//! Enrolment tokens after their use: lost answers, confirmation of receipt, and taking back what was got.

use serde_json::{Value, json};

use crate::common::requester::{csr_with, new_key};
use crate::common::wait_for;
use crate::fleet::Fleet;

#[test]
fn the_same_key_gets_its_certificate_until_the_device_confirms_it() {
    let fleet = Fleet::start("");
    let (token, key) = (fleet.token(&["site-001"]), new_key());
    let first = fleet.enrol(&token, "site-001", &key).expect(200, "");
    fleet
        .https
        .post("/api/v1/enrol/confirm", &json!({}))
        .expect(401, "certificate");
    fleet.enrol(&token, "site-001", &key).expect(200, "");
    let holder = fleet.holder(&first, &key);
    let told = holder
        .post("/api/v1/enrol/confirm", &json!({}))
        .expect(200, "")
        .json();
    assert_eq!(told["serial"], first.json()["serial"]);
    let refused = fleet.enrol(&token, "site-001", &key).expect(403, "confirmed");
    assert!(
        refused.text().contains("muster device recover site-001"),
        "{}",
        refused.text()
    );
    // Saying it twice does no harm and is recorded once.
    holder.post("/api/v1/enrol/confirm", &json!({})).expect(200, "");
    let log = fleet.muster.ok(&["audit", "list", "--json"]);
    assert_eq!(log.matches("certificate.confirmed").count(), 1, "{log}");
}

#[test]
fn a_renewal_confirms_too_and_others_need_no_confirmation() {
    let fleet = Fleet::start("");
    let (token, key) = (fleet.token(&["site-001"]), new_key());
    let first = fleet.enrol(&token, "site-001", &key).expect(200, "");
    fleet
        .holder(&first, &key)
        .post("/renew", &json!({}))
        .expect(201, "");
    fleet.enrol(&token, "site-001", &key).expect(403, "confirmed");

    let (token, key) = (fleet.token(&["site-002"]), new_key());
    let first = fleet.enrol(&token, "site-002", &key).expect(200, "");
    let body = json!({ "csr": csr_with("site-002", &new_key()) });
    fleet.holder(&first, &key).post("/rekey", &body).expect(201, "");
    fleet.enrol(&token, "site-002", &key).expect(403, "confirmed");

    let other = fleet.sign("site-003", &key).expect(201, "");
    fleet
        .holder(&other, &key)
        .post("/api/v1/enrol/confirm", &json!({}))
        .expect(200, "");
}

#[test]
fn a_lost_answer_costs_nothing_even_if_the_token_has_ended_since() {
    let fleet = Fleet::start("");
    let (short, key) = (fleet.token(&["site-001", "--lifetime", "2s"]), new_key());
    let first = fleet.enrol(&short, "site-001", &key).expect(200, "");
    wait_for("the token to expire", || {
        fleet.enrol(&short, "site-001", &new_key()).status == 401
    });
    let again = fleet.enrol(&short, "site-001", &key).expect(200, "");
    assert_eq!(first.json()["pem"], again.json()["pem"]);

    let (token, key) = (fleet.token(&["--wave", "w", "--count", "9"]), new_key());
    let first = fleet.enrol(&token, "site-002", &key).expect(200, "");
    fleet
        .muster
        .ok(&["token", "revoke", token["id"].as_str().unwrap()]);
    fleet
        .enrol(&token, "site-003", &new_key())
        .expect(401, "withdrawn");
    let again = fleet.enrol(&token, "site-002", &key).expect(200, "");
    assert_eq!(first.json()["pem"], again.json()["pem"]);
}

#[test]
fn a_key_that_comes_back_too_late_hears_the_truth() {
    let fleet = Fleet::start("[profile.client]\nmin = \"1s\"\ndefault = \"2s\"\n");
    let token = fleet.token(&["--wave", "w", "--count", "9"]);
    let key = new_key();
    fleet.enrol(&token, "short", &key).expect(200, "");
    wait_for("the certificate to expire", || {
        fleet.certificates("short") == ["expired"]
    });
    let told = fleet.enrol(&token, "short", &key).expect(403, "expired on");
    assert!(told.text().contains("muster token create"), "{}", told.text());

    let fleet = Fleet::start("");
    let token = fleet.token(&["--wave", "w", "--count", "9"]);
    let keys = [new_key(), new_key()];
    fleet.enrol(&token, "gone", &keys[0]).expect(200, "");
    let tells = |what: &str, fix: &str| {
        let told = fleet.enrol(&token, "gone", &keys[0]).expect(403, what);
        assert!(told.text().contains(fix), "{}", told.text());
    };
    fleet.muster.exits(5, &["cert", "revoke", "gone", "--yes"]);
    tells("was revoked on", "muster device recover gone");
    fleet.muster.exits(5, &["device", "revoke", "gone", "--yes"]);
    tells("is revoked", "muster device rearm gone");
    fleet.enrol(&token, "held", &keys[1]).expect(200, "");
    fleet.muster.exits(5, &["device", "suspend", "held"]);
    fleet
        .enrol(&token, "held", &keys[1])
        .expect(403, "muster device resume held");
    fleet.muster.exits(5, &["device", "resume", "held"]);
    fleet.enrol(&token, "held", &keys[1]).expect(200, "");
}

#[test]
fn an_operator_takes_back_what_a_thief_got() {
    let fleet = Fleet::start("");
    let token = fleet.token(&["site-001"]);
    let id = token["id"].as_str().unwrap();
    let (thief, true_one) = (new_key(), new_key());
    let stolen = fleet.enrol(&token, "site-001", &thief).expect(200, "");
    // A thief who changed the key, too, keeps nothing.
    let body = json!({ "csr": csr_with("site-001", &new_key()) });
    fleet
        .holder(&stolen, &thief)
        .post("/rekey", &body)
        .expect(201, "");
    fleet.enrol(&token, "site-001", &true_one).expect(403, "");

    let said = fleet.muster.exits(
        5,
        &["token", "unbind", id, "site-001", "--note", "stolen on the way"],
    );
    assert!(said.contains("2 certificates"), "{said}");
    let gone = "revoked privilege-withdrawn";
    assert_eq!(fleet.certificates("site-001"), [gone, gone]);
    fleet
        .holder(&stolen, &thief)
        .post("/renew", &json!({}))
        .expect(401, "revoked");
    assert!(
        fleet
            .muster
            .ok(&["audit", "list", "--json"])
            .contains("stolen on the way")
    );

    fleet.enrol(&token, "site-001", &true_one).expect(200, "");
    let again = fleet.enrol(&token, "site-001", &thief).expect(403, "");
    assert!(!again.text().contains("confirmed"), "{}", again.text());
    assert_eq!(fleet.certificates("site-001"), ["active", gone, gone]);
    assert_eq!(fleet.muster.json(&["token", "list"])["items"][0]["used"], 1);
}

#[test]
fn only_what_is_bound_is_unbound() {
    let fleet = Fleet::start("");
    let token = fleet.token(&["--wave", "w", "--count", "9"]);
    let id = token["id"].as_str().unwrap();
    fleet.sign("site-001", &new_key()).expect(201, "");
    fleet.muster.exits(3, &["token", "unbind", id, "site-001"]);
    fleet.muster.exits(3, &["token", "unbind", id, "nobody"]);
    assert_eq!(fleet.certificates("site-001"), ["active"]);
    // A device that is out stays out.
    fleet.enrol(&token, "site-002", &new_key()).expect(200, "");
    fleet.muster.exits(5, &["device", "suspend", "site-002"]);
    fleet.muster.exits(5, &["token", "unbind", id, "site-002"]);
    assert_eq!(
        fleet.muster.json(&["device", "show", "site-002"])["state"],
        "suspended"
    );
    fleet
        .enrol(&token, "site-002", &new_key())
        .expect(403, "suspended");
    fleet.muster.exits(3, &["token", "unbind", id, "site-002"]);
}

/// A certificate lives for two seconds here, and may be renewed for so long after that.
fn short_lives(grace: &str) -> Fleet {
    let short = format!("min = \"1s\"\ndefault = \"2s\"\ngrace = \"{grace}\"\n");
    Fleet::start(&format!(
        "[profile.client]\n{short}\n[profile.long]\nbase = \"client\"\n"
    ))
}

fn runs_out(fleet: &Fleet, name: &str) {
    wait_for("the certificate to expire", || {
        fleet.certificates(name) == ["expired"]
    });
}

#[test]
fn a_name_that_may_still_renew_is_given_to_another_key_by_an_operator_alone() {
    let fleet = short_lives("1h");
    let (key, thief) = (new_key(), new_key());
    fleet.sign("site-001", &key).expect(201, "");
    runs_out(&fleet, "site-001");
    let wave = fleet.token(&["--wave", "w", "--count", "9"]);
    for told in [
        fleet.enrol(&wave, "site-001", &thief),
        fleet.sign("site-001", &thief),
    ] {
        let told = told.expect(403, "may still be renewed");
        assert!(
            told.text().contains("muster device recover site-001"),
            "{}",
            told.text()
        );
    }
    assert_eq!(fleet.certificates("site-001"), ["expired"]);
    // A token for this name takes the old key's right to renew.
    let named = fleet.token(&["site-001"]);
    fleet.enrol(&named, "site-001", &thief).expect(200, "");
    assert_eq!(fleet.certificates("site-001")[1], "revoked superseded");
}

#[test]
fn a_name_that_had_a_key_long_ago_is_not_a_waves_either() {
    let fleet = short_lives("0s");
    let (key, thief) = (new_key(), new_key());
    fleet.sign("site-001", &key).expect(201, "");
    runs_out(&fleet, "site-001");
    let wave = fleet.token(&["--wave", "w", "--count", "9"]);
    for told in [
        fleet.enrol(&wave, "site-001", &thief),
        fleet.sign("site-001", &thief),
    ] {
        told.expect(403, "another key, whose certificate ran out");
    }
    // The key that it had is the device.
    fleet.enrol(&wave, "site-001", &key).expect(200, "");
}

#[test]
fn a_wave_does_not_change_the_profile_of_a_known_device() {
    let fleet = short_lives("1h");
    let key = new_key();
    fleet.sign("site-001", &key).expect(201, "");
    let wave = fleet.token(&["--wave", "w", "--count", "9", "--profile", "long"]);
    let told = fleet
        .enrol(&wave, "site-001", &key)
        .expect(403, "follows the profile");
    assert!(
        told.text().contains("muster token create site-001"),
        "{}",
        told.text()
    );
    fleet.enrol(&wave, "site-002", &new_key()).expect(200, "");
    let named = fleet.token(&["site-001", "--profile", "long"]);
    fleet.enrol(&named, "site-001", &key).expect(200, "");
    assert_eq!(fleet.shown("site-001", 0)["profile"], "long");
}

#[test]
fn who_makes_a_token_hears_what_it_will_not_do() {
    let fleet = Fleet::start("");
    let token = fleet.token(&["site-001"]);
    let notes = |token: &Value| {
        let notes = token["notes"].as_array().unwrap().iter();
        notes
            .map(|note| note.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = notes(&token);
    assert!(
        first.len() == 1 && first[0].contains("localhost") && first[0].contains("muster up --dns"),
        "{first:?}"
    );
    fleet.enrol(&token, "site-001", &new_key()).expect(200, "");
    let again = notes(&fleet.token(&["site-001"]));
    assert!(
        again.len() == 2 && again[1].contains("muster device recover site-001"),
        "{again:?}"
    );
    assert_eq!(
        notes(&fleet.muster.json(&["device", "recover", "site-001"])).len(),
        1
    );
    fleet.muster.ok(&["device", "rearm", "site-001"]);
    assert_eq!(notes(&fleet.token(&["site-001"])).len(), 1, "it may have any key");

    let said = fleet
        .muster
        .exits(2, &["token", "create", "site-002", "--count", "3"]);
    assert!(said.contains("muster token create --wave"), "{said}");
    let printed = fleet
        .muster
        .ok(&["token", "create", "--wave", "=1+1,\"a", "--csv"]);
    assert!(printed.contains(r#",,"'=1+1,""a",1,"#), "{printed}");
}
