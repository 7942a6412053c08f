//! What a device keeps, and how much of it: its names when one becomes a server's, and the number of its certificates.

use serde_json::json;

use crate::common::requester::{csr_with, new_key};
use crate::fleet::Fleet;

/// So many certificates of one device may live.
const MOST: usize = 32;

#[test]
fn a_client_does_not_keep_a_name_that_became_a_servers() {
    let fleet = Fleet::start("");
    let key = new_key();
    let mut claims = fleet.requester.claims("site-001");
    claims["sans"] = json!(["site-001", "mqtt.example.org"]);
    let token = fleet.requester.signed(&claims);
    let first = fleet.sign_with(&token, "site-001", &key).expect(201, "");
    let holder = fleet.holder(&first, &key);
    holder.post("/renew", &json!({})).expect(201, "");
    let create = ["device", "create", "mqtt.example.org", "--kind", "server"];
    fleet.muster.ok(&create);
    let rekey = json!({ "csr": csr_with("site-001", &new_key()) });
    for (path, body) in [("/renew", json!({})), ("/rekey", rekey)] {
        let told = holder
            .post(path, &body)
            .expect(403, "mqtt.example.org is another server's name");
        assert!(
            told.text().contains("muster cert issue site-001"),
            "{}",
            told.text()
        );
    }
    fleet.muster.ok(&["cert", "issue", "site-001", "--out", "again"]);
    let again = fleet.shown("site-001", 0);
    assert!(!again.to_string().contains("mqtt.example.org"), "{again}");
}

#[test]
fn a_server_keeps_the_name_that_an_operator_gave_it() {
    let fleet = Fleet::start("");
    let issue = ["cert", "issue", "mqtt-1.example.org", "--kind", "server"];
    let more = ["--san", "mqtt.example.org", "--out", "one"];
    fleet.muster.ok(&[&issue[..], &more[..]].concat());
    let create = ["device", "create", "mqtt.example.org", "--kind", "server"];
    fleet.muster.ok(&create);
    let path = |end: &str| fleet.muster.path().join(format!("one/mqtt-1.example.org.{end}"));
    let holder = crate::common::https::Https::with_certificate(
        fleet.muster.api,
        &fleet.muster.root(),
        &path("crt"),
        &path("key"),
    );
    holder.post("/renew", &json!({})).expect(201, "");
}

#[test]
fn a_device_has_so_many_certificates_and_no_more() {
    let fleet = Fleet::start("");
    let key = new_key();
    let first = fleet.sign("site-001", &key).expect(201, "");
    let holder = fleet.holder(&first, &key);
    for _ in 1..MOST {
        holder.post("/renew", &json!({})).expect(201, "");
    }
    let told = holder
        .post("/renew", &json!({}))
        .expect(403, "32 living certificates");
    assert!(
        told.text().contains("muster cert revoke SERIAL"),
        "{}",
        told.text()
    );
    fleet.sign("site-001", &key).expect(403, "32 living certificates");
    fleet
        .muster
        .exits(4, &["cert", "issue", "site-001", "--out", "more"]);
    assert_eq!(fleet.serials("site-001").len(), MOST, "nothing was recorded");
    let revoke = ["cert", "revoke", &fleet.serials("site-001")[1], "--yes"];
    fleet.muster.exits(5, &revoke);
    holder.post("/renew", &json!({})).expect(201, "");
    holder.post("/renew", &json!({})).expect(403, "32 living");
    // A new one in the place of all the others is not one more.
    fleet.muster.ok(&["device", "rearm", "site-001"]);
    fleet.sign("site-001", &new_key()).expect(201, "");
}
