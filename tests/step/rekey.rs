//! `step ca rekey`.

use serde_json::json;

use crate::common::https::Https;
use crate::common::wait_for;
use crate::world::World;

#[test]
fn rekey_makes_a_new_key_and_keeps_the_names() {
    let Some(world) = World::shared() else { return };
    world.certificate("rekeys", "--san rekeys --san 10.0.0.9");
    let (before, key) = (world.inspect("rekeys.crt"), world.read("rekeys.key"));
    world.ok("ca rekey rekeys.crt rekeys.key --force");
    let after = world.inspect("rekeys.crt");
    assert_ne!(key, world.read("rekeys.key"));
    assert_ne!(before["subject_key_info"], after["subject_key_info"]);
    assert_ne!(
        before["extensions"]["subject_key_id"],
        after["extensions"]["subject_key_id"]
    );
    assert_eq!(
        before["extensions"]["subject_alt_name"],
        after["extensions"]["subject_alt_name"]
    );
    assert_eq!(before["validity"]["length"], after["validity"]["length"]);
    world.ok("ca renew rekeys.crt rekeys.key --force");
}

#[test]
fn rekey_with_a_key_that_is_there() {
    let Some(world) = World::shared() else { return };
    world.certificate("own-key", "");
    world.ok("crypto keypair next.pub next.key --kty EC --crv P-384 --no-password --insecure");
    world.ok("ca rekey own-key.crt own-key.key --private-key next.key --out-cert next.crt --force");
    let certified = world.ok("certificate key next.crt");
    assert_eq!(certified, world.read("next.pub"));
}

#[test]
fn rekey_to_a_weak_key_is_forbidden() {
    let Some(world) = World::shared() else { return };
    world.certificate("downgrade", "");
    if world.csr("weaker", "rsa:1024", &[]).is_none() {
        return;
    }
    let shown = Https::with_certificate(
        world.ca.api,
        &world.ca.root(),
        &world.path("downgrade.crt"),
        &world.path("downgrade.key"),
    );
    shown
        .post("/rekey", &json!({ "csr": world.read("weaker.csr") }))
        .expect(403, "2048");
    world
        .https()
        .post("/rekey", &json!({ "csr": world.read("weaker.csr") }))
        .expect(400, "missing client certificate");
}

#[test]
fn rekey_after_the_end_is_refused_by_step_itself() {
    let Some(world) = World::own("[profile.client]\nmin = \"1s\"\n") else {
        return;
    };
    world.certificate("over", "--not-after 2s");
    let end: jiff::Timestamp = world.inspect("over.crt")["validity"]["end"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    wait_for("a certificate to expire", || {
        crate::world::now() > end.as_second()
    });
    world.refused("ca rekey over.crt over.key --force", "expired");
}
