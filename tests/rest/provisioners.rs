//! What a provisioner may ask for, and what its tokens may revoke.

use serde_json::{Value, json};

use crate::common::https::Answer;
use crate::common::requester::{Requester, new_key};
use crate::fleet::Fleet;

/// `muster ca provisioner add NAME …`, and its key opened.
fn add(fleet: &Fleet, name: &str, more: &[&str]) -> Requester {
    let file = format!("{name}.password");
    let add = ["ca", "provisioner", "add", name, "--password-file", &file];
    fleet.muster.ok(&[&add[..], more].concat());
    Requester::named(&fleet.muster, name, &fleet.muster.path().join(file))
}

fn token(requester: &Requester, name: &str, sans: &[&str]) -> String {
    let mut claims = requester.claims(name);
    claims["sans"] = json!(sans);
    requester.signed(&claims)
}

/// `POST /revoke` with a token for this serial number, decimal.
fn revoke(fleet: &Fleet, requester: &Requester, serial: &Value) -> Answer {
    let mut claims = requester.claims(serial.as_str().unwrap());
    claims["aud"] = json!(format!("{}/1.0/revoke", fleet.muster.url()));
    let body = json!({
        "serial": serial, "ott": requester.signed(&claims), "reasonCode": 0, "reason": "", "passive": true
    });
    fleet.https.post("/revoke", &body)
}

fn newest(fleet: &Fleet, device: &str) -> Value {
    let list = fleet.muster.json(&["cert", "list", "--device", device]);
    list["items"][0]["serial_decimal"].clone()
}

#[test]
fn names_and_profiles_bound_what_it_may_ask_for() {
    let fleet = Fleet::start("");
    let sites = add(
        &fleet,
        "sites",
        &["--profile", "client", "--names", "site-*,*.site.example.org"],
    );
    let listed = fleet.muster.json(&["ca", "provisioner", "list"]);
    let shown = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "sites")
        .unwrap();
    assert_eq!(shown["profiles"], json!(["client"]));
    assert_eq!(shown["names"], json!(["site-*", "*.site.example.org"]));
    assert_eq!(shown["may_replace"], false);
    assert!(fleet.muster.ok(&["ca", "provisioner", "list"]).contains("site-*"));

    fleet
        .sign_with(&sites.token("site-001"), "site-001", &new_key())
        .expect(201, "");
    let told = fleet
        .sign_with(&sites.token("meter-1"), "meter-1", &new_key())
        .expect(403, "may not ask for");
    assert!(told.text().contains("site-*"), "{}", told.text());
    let alias = |name| token(&sites, "site-002", &["site-002", name]);
    fleet
        .sign_with(&alias("meter-1.example.org"), "site-002", &new_key())
        .expect(403, "meter-1.example.org");
    fleet
        .sign_with(&alias("a.site.example.org"), "site-002", &new_key())
        .expect(201, "");

    fleet
        .muster
        .ok(&["device", "create", "mqtt.site.example.org", "--kind", "server"]);
    let server = "mqtt.site.example.org";
    fleet
        .sign_with(&sites.token(server), server, &new_key())
        .expect(403, "the profile");
    fleet
        .sign_with(&fleet.requester.token(server), server, &new_key())
        .expect(201, "");
}

#[test]
fn one_that_cannot_be_meant_is_not_made() {
    let fleet = Fleet::start("");
    for (more, code) in [
        (["--profile", "sensors"], 3),
        (["--names", "Site*"], 2),
        (["--names", "a/b"], 2),
        (["--names", ""], 2),
    ] {
        let add = [
            "ca",
            "provisioner",
            "add",
            "odd",
            "--password-file",
            "odd.password",
        ];
        fleet.muster.exits(code, &[&add[..], &more].concat());
    }
    let listed = fleet.muster.json(&["ca", "provisioner", "list"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_revokes_what_it_could_have_asked_for_and_nothing_else() {
    let fleet = Fleet::start("");
    let sites = add(&fleet, "sites", &["--names", "site-*"]);
    for name in ["site-001", "meter-1"] {
        fleet.sign(name, &new_key()).expect(201, "");
    }
    revoke(&fleet, &sites, &newest(&fleet, "meter-1")).expect(403, "may not ask for");
    revoke(&fleet, &sites, &newest(&fleet, "site-001")).expect(200, "");
    let own = newest(&fleet, "muster-ca");
    for requester in [&sites, &fleet.requester] {
        revoke(&fleet, requester, &own).expect(403, "reserved");
    }
    assert_eq!(fleet.certificates("muster-ca")[0], "active");
    assert_eq!(fleet.certificates("meter-1"), ["active"]);
}

#[test]
fn a_client_is_not_called_as_the_ca_is() {
    let fleet = Fleet::start("");
    let told = "name of this CA";
    fleet.sign("localhost", &new_key()).expect(403, told);
    let enrolment = fleet.token(&["localhost"]);
    fleet.enrol(&enrolment, "localhost", &new_key()).expect(403, told);
    let alias = token(&fleet.requester, "site-001", &["site-001", "localhost"]);
    fleet
        .sign_with(&alias, "site-001", &new_key())
        .expect(403, "localhost");
    fleet.muster.exits(3, &["device", "show", "localhost"]);
    fleet.sign("site-001", &new_key()).expect(201, "");
}

#[test]
fn what_the_audit_log_tells_is_json_whatever_a_provisioner_is_called() {
    let fleet = Fleet::start("");
    let name = r#"of "the site""#;
    let sites = add(&fleet, name, &[]);
    fleet
        .sign_with(&sites.token("site-001"), "site-001", &new_key())
        .expect(201, "");
    let log = fleet.muster.json(&["audit", "list"]);
    let mut entries = log["items"].as_array().unwrap().iter();
    let issued = entries
        .find(|entry| entry["action"] == "certificate.issued")
        .unwrap();
    let detail: Value = serde_json::from_str(issued["detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["how"], format!("step:{name}"));
}
