//! Enrolment tokens: `POST /api/v1/enrol` with a secret and a request, and no other proof.

use muster_pki::key::PrivateKey;
use serde_json::{Value, json};

use crate::common::https::{Answer, Https};
use crate::common::requester::{csr_with, new_key};
use crate::common::{Muster, wait_for};

struct Door {
    muster: Muster,
    https: Https,
}

impl Door {
    fn new() -> Self {
        let muster = Muster::start();
        Self {
            https: Https::new(muster.api, &muster.root()),
            muster,
        }
    }

    fn token(&self, args: &[&str]) -> Value {
        self.muster.json(&[&["token", "create"], args].concat())
    }

    fn enrol(&self, token: &Value, name: &str, key: &PrivateKey) -> Answer {
        let body = json!({ "token": token["secret"], "csr": csr_with(name, key) });
        self.https.post("/api/v1/enrol", &body)
    }

    fn state_of(&self, token: &Value) -> Value {
        let list = self.muster.json(&["token", "list"]);
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["id"] == token["id"])
            .unwrap()
            .clone()
    }
}

#[test]
fn the_same_key_gets_the_same_certificate_and_another_key_none() {
    let door = Door::new();
    let token = door.token(&["site-001", "--lifetime", "1h"]);
    let key = new_key();
    let first = door.enrol(&token, "site-001", &key).expect(200, "").json();
    assert_eq!(first["device"], "site-001");
    let again = door.enrol(&token, "site-001", &key).expect(200, "").json();
    assert_eq!(first["pem"], again["pem"], "a lost answer costs nothing");
    door.enrol(&token, "site-001", &new_key())
        .expect(403, "has been used 1 of 1 times (site-001)")
        .expect(
            403,
            &format!("muster token unbind {}", token["id"].as_str().unwrap()),
        );
    assert_eq!(
        door.muster.json(&["device", "show", "site-001"])["certificates"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let state = door.state_of(&token);
    assert_eq!(
        (state["used"].as_u64(), state["status"].as_str()),
        (Some(1), Some("used up"))
    );
    assert!(!state.to_string().contains(token["secret"].as_str().unwrap()));
}

#[test]
fn a_token_for_one_name_is_for_no_other() {
    let door = Door::new();
    let token = door.token(&["site-001"]);
    door.enrol(&token, "site-002", &new_key()).expect(403, "site-001");
    // The refused attempt has not used it up.
    door.enrol(&token, "site-001", &new_key()).expect(200, "");
}

#[test]
fn a_wave_binds_as_many_names_as_it_has_and_no_more() {
    let door = Door::new();
    let token = door.token(&["--wave", "spring", "--count", "3"]);
    let keys: Vec<_> = (0..4).map(|_| new_key()).collect();
    for (number, key) in keys[..3].iter().enumerate() {
        door.enrol(&token, &format!("wave-{number}"), key).expect(200, "");
    }
    door.enrol(&token, "wave-3", &keys[3]).expect(403, "3 of 3");
    // Those that are bound may still ask again.
    let again = door.enrol(&token, "wave-1", &keys[1]).expect(200, "").json();
    assert_eq!(again["device"], "wave-1");
    assert_eq!(door.state_of(&token)["used"], 3);
    // A bound name is not another key's, whatever is left of a wave.
    let more = door.token(&["--wave", "summer", "--count", "9"]);
    door.enrol(&more, "wave-1", &new_key()).expect(403, "another key");
}

#[test]
fn many_of_a_wave_at_once_bind_exactly_as_many() {
    let door = Door::new();
    let token = door.token(&["--wave", "rush", "--count", "5"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..12)
            .map(|number| {
                let (door, token) = (&door, &token);
                scope.spawn(move || door.enrol(token, &format!("rush-{number}"), &new_key()).status)
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        5,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| [200, 403].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(door.state_of(&token)["used"], 5);
    let issued = door.muster.json(&["cert", "list", "--limit", "500"]);
    let ours = issued["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["device"].as_str().unwrap().starts_with("rush-"));
    assert_eq!(ours.count(), 5);
}

#[test]
fn one_token_raced_by_two_keys_is_bound_to_one() {
    let door = Door::new();
    for round in 0..5 {
        let name = format!("raced-{round}");
        let token = door.token(&[&name]);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| door.enrol(&token, &name, &new_key()).status))
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(
            statuses.iter().filter(|status| **status == 200).count(),
            1,
            "{statuses:?}"
        );
        assert_eq!(
            door.muster.json(&["device", "show", &name])["certificates"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

#[test]
fn withdrawn_expired_and_unknown_tokens_are_refused() {
    let door = Door::new();
    let withdrawn = door.token(&["site-001"]);
    door.muster
        .ok(&["token", "revoke", withdrawn["id"].as_str().unwrap()]);
    door.enrol(&withdrawn, "site-001", &new_key())
        .expect(401, "withdrawn");
    assert_eq!(door.state_of(&withdrawn)["status"], "withdrawn");
    let short = door.token(&["site-002", "--lifetime", "1s"]);
    wait_for("the token to expire", || {
        door.state_of(&short)["status"] == "expired"
    });
    door.enrol(&short, "site-002", &new_key()).expect(401, "expired");
    door.enrol(&json!({ "secret": "mt_guess" }), "site-003", &new_key())
        .expect(401, "not known");
    for name in ["site-001", "site-002", "site-003"] {
        door.muster.exits(3, &["device", "show", name]);
    }
}

#[test]
fn a_token_gives_its_profile_and_nothing_more() {
    let door = Door::new();
    let token = door.token(&["--wave", "w", "--count", "2"]);
    let issued = door.enrol(&token, "plain", &new_key()).expect(200, "").json();
    assert_eq!(
        (
            issued["profile"].as_str(),
            issued["sans"].as_array().map(Vec::len)
        ),
        (Some("client"), Some(0))
    );
    door.muster
        .ok(&["device", "create", "mqtt.example.org", "--kind", "server"]);
    door.enrol(&token, "mqtt.example.org", &new_key())
        .expect(403, "registered as a server");
    let server = door.token(&["mqtt.example.org", "--profile", "server"]);
    let issued = door
        .enrol(&server, "mqtt.example.org", &new_key())
        .expect(200, "")
        .json();
    assert_eq!(issued["profile"], "server");
    door.muster.exits(2, &["token", "create"]);
    door.muster
        .exits(2, &["token", "create", "x", "--lifetime", "9000d"]);
}
