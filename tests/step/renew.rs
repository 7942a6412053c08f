//! `step ca renew`: by mutual TLS, by token, in time and too late.

use std::process::Stdio;

use serde_json::json;

use crate::common::{Running, wait_for};
use crate::world::World;

/// Lives of seconds, for tests that wait for an end.
fn short_lives(grace: &str) -> String {
    format!("[profile.client]\nmin = \"1s\"\ngrace = \"{grace}\"\n")
}

fn wait_for_the_end_of(world: &World, file: &str) {
    let seen = world.inspect(file)["validity"]["end"]
        .as_str()
        .unwrap()
        .to_owned();
    let end: jiff::Timestamp = seen.parse().unwrap();
    wait_for("a certificate to expire", || {
        crate::world::now() > end.as_second()
    });
}

#[test]
fn renew_by_mutual_tls() {
    let Some(world) = World::shared() else { return };
    world.certificate("renews", "--not-after 2h");
    let before = world.inspect("renews.crt");
    world.ok("ca renew renews.crt renews.key --force");
    let after = world.inspect("renews.crt");
    assert_ne!(before["serial_number"], after["serial_number"]);
    assert_eq!(before["extensions"], after["extensions"]);
    assert_eq!(before["subject_key_info"], after["subject_key_info"]);
    assert_eq!(
        before["validity"]["length"], after["validity"]["length"],
        "the length is kept"
    );
    world.ok(&format!(
        "certificate verify renews.crt --roots {}",
        world.ca.root().display()
    ));
}

#[test]
fn renew_keeps_its_length_however_often() {
    let Some(world) = World::shared() else { return };
    world.certificate("steady", "");
    let length = world.inspect("steady.crt")["validity"]["length"].clone();
    for _ in 0..3 {
        world.ok("ca renew steady.crt steady.key --force");
        assert_eq!(world.inspect("steady.crt")["validity"]["length"], length);
    }
}

#[test]
fn renew_by_token() {
    let Some(world) = World::shared() else { return };
    world.certificate("by-token", "");
    let before = world.serial("by-token.crt");
    world.ok("ca renew by-token.crt by-token.key --mtls=false --force");
    assert_ne!(before, world.serial("by-token.crt"));
}

#[test]
fn renew_by_token_with_every_key() {
    let Some(world) = World::shared() else { return };
    for (name, key) in [
        ("t-p384", "--kty EC --crv P-384"),
        ("t-p521", "--kty EC --crv P-521"),
        ("t-ed", "--kty OKP --crv Ed25519"),
        ("t-rsa", "--kty RSA --size 2048"),
    ] {
        world.certificate(name, key);
        world.ok(&format!("ca renew {name}.crt {name}.key --mtls=false --force"));
        world.ok(&format!("ca renew {name}.crt {name}.key --force"));
    }
}

#[test]
fn a_renewal_token_made_for_curl_works() {
    let Some(world) = World::shared() else { return };
    world.certificate("by-curl", "");
    let token = world.ok("ca token --renew --x5c-cert by-curl.crt --x5c-key by-curl.key by-curl");
    let bearer = format!("Bearer {}", token.trim());
    let answer = world
        .https()
        .send("POST", "/1.0/renew", &[("authorization", &bearer)], b"")
        .expect(201, "")
        .json();
    assert_eq!(answer["certChain"].as_array().unwrap().len(), 2);
    world
        .https()
        .send("POST", "/1.0/renew", &[("authorization", &bearer)], b"")
        .expect(401, "used already");
    world
        .https()
        .send("POST", "/renew", &[], b"")
        .expect(400, "missing client certificate");
    world
        .https()
        .send("POST", "/renew", &[("authorization", "Bearer nonsense")], b"")
        .expect(401, "");
}

#[test]
fn an_expired_certificate_renews_within_its_time_of_grace() {
    let Some(world) = World::own(&short_lives("1h")) else {
        return;
    };
    world.certificate("late", "--not-after 2s");
    wait_for_the_end_of(&world, "late.crt");
    let before = world.serial("late.crt");
    world.ok("ca renew late.crt late.key --force");
    assert_ne!(before, world.serial("late.crt"));
}

#[test]
fn an_expired_certificate_does_not_renew_without_grace() {
    let Some(world) = World::own(&short_lives("0s")) else {
        return;
    };
    let claims = world.https().get("/provisioners").json()["provisioners"][0]["claims"].clone();
    assert_eq!(claims["allowRenewalAfterExpiry"], json!(false));
    world.certificate("too-late", "--not-after 2s");
    wait_for_the_end_of(&world, "too-late.crt");
    world.refused("ca renew too-late.crt too-late.key --force", "expired on");
    let token = world.ok("ca token --renew --x5c-cert too-late.crt --x5c-key too-late.key too-late");
    let bearer = format!("Bearer {}", token.trim());
    world
        .https()
        .send("POST", "/renew", &[("authorization", &bearer)], b"")
        .expect(401, "expired on");
}

#[test]
fn a_revoked_certificate_does_not_renew() {
    let Some(world) = World::shared() else { return };
    world.certificate("gone", "");
    world.ca.exits(5, &["cert", "revoke", "gone", "--yes"]);
    world.refused("ca renew gone.crt gone.key --force", "was revoked on");
    world.refused(
        "ca renew gone.crt gone.key --force --mtls=false",
        "was revoked on",
    );
    let shown = crate::common::https::Https::with_certificate(
        world.ca.api,
        &world.ca.root(),
        &world.path("gone.crt"),
        &world.path("gone.key"),
    );
    shown
        .send("POST", "/renew", &[], b"")
        .expect(401, "was revoked on");
}

#[test]
fn a_suspended_device_renews_again_once_it_is_resumed() {
    let Some(world) = World::shared() else { return };
    world.certificate("paused", "");
    world.ca.exits(5, &["device", "suspend", "paused"]);
    world.refused("ca renew paused.crt paused.key --force", "revoked");
    world.ca.run(&["device", "resume", "paused"]);
    world.ok("ca renew paused.crt paused.key --force");
}

#[test]
fn a_certificate_of_another_ca_does_not_renew() {
    let Some(world) = World::shared() else { return };
    world.ok("certificate create foreign foreign.crt foreign.key --profile self-signed --subtle --no-password --insecure");
    world.refused(
        "ca renew foreign.crt foreign.key --force --mtls=false",
        "was not issued here",
    );
    world.refused("ca renew foreign.crt foreign.key --force", "");
}

#[test]
fn renew_as_a_daemon_for_two_cycles() {
    let Some(world) = World::shared() else { return };
    world.certificate("daemon", "--not-after 1h");
    let mut serials = std::collections::HashSet::from([world.serial("daemon.crt")]);
    let mut command = world.command("ca renew daemon.crt daemon.key --daemon --renew-period 1s --force");
    let daemon = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for("two renewals", || {
        // The file is being replaced while it is read.
        let output = world
            .command("certificate inspect --format json daemon.crt")
            .output()
            .unwrap();
        if let Ok(seen) = serde_json::from_slice::<serde_json::Value>(&output.stdout) {
            serials.insert(seen["serial_number"].to_string());
        }
        serials.len() >= 4
    });
    drop(daemon);
}
