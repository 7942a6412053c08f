//! `step ca revoke`: by serial number with a token, by the certificate itself.

use serde_json::json;

use crate::common::https::Https;
use crate::world::World;

/// `step ca revoke` has no flag for a password, so scripts make the token first.
fn revocation_token(world: &World, serial: &str) -> String {
    world.token(serial, "--revoke")
}

fn status(world: &World, device: &str) -> String {
    let shown = world.ca.json(&["device", "show", device]);
    shown["certificates"][0]["status"].as_str().unwrap().to_owned()
}

#[test]
fn revoke_by_decimal_serial_number() {
    let Some(world) = World::shared() else { return };
    world.certificate("by-decimal", "");
    let serial = world.serial("by-decimal.crt");
    let token = revocation_token(&world, &serial);
    world.ok(&format!(
        "ca revoke --reasonCode 1 --reason stolen --token {token} {serial}"
    ));
    assert_eq!(status(&world, "by-decimal"), "revoked");
    let shown = world.ca.json(&["device", "show", "by-decimal"]);
    assert_eq!(shown["certificates"][0]["reason"], "key-compromise");
    assert!(world.ca.ok(&["audit", "list", "--json"]).contains("stolen"));
}

#[test]
fn revoke_by_hexadecimal_serial_number() {
    let Some(world) = World::shared() else { return };
    world.certificate("by-hex", "");
    let shown = world.ca.json(&["device", "show", "by-hex"]);
    let hex = shown["certificates"][0]["serial"].as_str().unwrap();
    // `step` turns the number into decimal before it compares it with the token's subject.
    let token = revocation_token(&world, &world.serial("by-hex.crt"));
    world.ok(&format!("ca revoke --token {token} 0x{hex}"));
    assert_eq!(status(&world, "by-hex"), "revoked");
}

#[test]
fn revoke_by_the_certificate_itself() {
    let Some(world) = World::shared() else { return };
    world.certificate("itself", "");
    world.ok("ca revoke --cert itself.crt --key itself.key");
    assert_eq!(status(&world, "itself"), "revoked");
    world.certificate("other-one", "");
    let shown = Https::with_certificate(
        world.ca.api,
        &world.ca.root(),
        &world.path("other-one.crt"),
        &world.path("other-one.key"),
    );
    let body = json!({ "serial": world.serial("itself.crt"), "ott": "", "reasonCode": 0, "reason": "", "passive": true });
    shown.post("/revoke", &body).expect(403, "itself only");
}

#[test]
fn revoking_twice_is_a_bad_request() {
    let Some(world) = World::shared() else { return };
    world.certificate("twice", "");
    let serial = world.serial("twice.crt");
    world.ok(&format!(
        "ca revoke --token {} {serial}",
        revocation_token(&world, &serial)
    ));
    let again = format!("ca revoke --token {} {serial}", revocation_token(&world, &serial));
    world.refused(
        &again,
        &format!("certificate with serial number '{serial}' is already revoked"),
    );
    let body = json!({ "serial": serial, "ott": revocation_token(&world, &serial), "reasonCode": 0, "reason": "", "passive": true });
    world
        .https()
        .post("/revoke", &body)
        .expect(400, "is already revoked");
}

#[test]
fn a_token_for_another_serial_number_is_forbidden() {
    let Some(world) = World::shared() else { return };
    world.certificate("right", "");
    world.certificate("wrong", "");
    let (right, wrong) = (world.serial("right.crt"), world.serial("wrong.crt"));
    let body = json!({ "serial": right, "ott": revocation_token(&world, &wrong), "reasonCode": 0, "reason": "", "passive": true });
    world
        .https()
        .post("/revoke", &body)
        .expect(403, "another serial number");
    assert_eq!(status(&world, "right"), "active");
}

#[test]
fn a_revocation_token_is_good_once() {
    let Some(world) = World::shared() else { return };
    world.certificate("held", "");
    let serial = world.serial("held.crt");
    let token = revocation_token(&world, &serial);
    world.ok(&format!("ca revoke --token {token} {serial}"));
    let body = json!({ "serial": serial, "ott": token, "reasonCode": 0, "reason": "", "passive": true });
    let answer = world.https().post("/revoke", &body);
    assert!([400, 401].contains(&answer.status), "{}", answer.text());
}

#[test]
fn a_serial_number_that_was_never_issued_is_refused() {
    let Some(world) = World::shared() else { return };
    let token = revocation_token(&world, "12345");
    world.refused(&format!("ca revoke --token {token} 12345"), "12345");
    let crl = world.https().get("/crl?pem").text();
    assert!(crl.starts_with("-----BEGIN X509 CRL-----"));
}

#[test]
fn bodies_that_make_no_sense_are_bad_requests() {
    let Some(world) = World::shared() else { return };
    let post = |body| world.https().post("/revoke", &body);
    post(json!({ "serial": "", "ott": "x", "passive": true })).expect(400, "missing serial");
    post(json!({ "serial": "aa:bb", "ott": "x", "passive": true })).expect(400, "serial");
    post(json!({ "serial": "7", "ott": "x", "reasonCode": 11, "passive": true })).expect(400, "reasonCode");
    post(json!({ "serial": "7", "ott": "x", "passive": false })).expect(501, "passive");
    post(json!({ "serial": "7", "ott": "", "passive": true }))
        .expect(400, "missing ott or client certificate");
    post(json!({ "serial": "7", "ott": "x", "passive": true })).expect(401, "");
}
