//! `step ca bootstrap`, `health`, `root`, `roots`, `federation`.

use crate::world::World;

#[test]
fn bootstrap_with_the_right_fingerprint() {
    let Some(world) = World::shared() else { return };
    let defaults: serde_json::Value = serde_json::from_str(&world.read("step/config/defaults.json")).unwrap();
    assert_eq!(defaults["ca-url"], world.ca.url());
    assert_eq!(defaults["fingerprint"], world.fingerprint());
    assert_eq!(
        world.read("step/certs/root_ca.crt"),
        std::fs::read_to_string(world.ca.root()).unwrap()
    );
}

#[test]
fn bootstrap_with_a_fingerprint_in_upper_case() {
    let Some(world) = World::shared() else { return };
    let line = format!(
        "ca bootstrap --force --ca-url {} --fingerprint {}",
        world.ca.url(),
        world.fingerprint().to_uppercase()
    );
    world.ok(&line);
    assert_eq!(world.ok("ca health").trim(), "ok");
}

#[test]
fn bootstrap_with_a_fingerprint_with_dashes() {
    let Some(world) = World::shared() else { return };
    let dashed = dashed(&world.fingerprint());
    world.ok(&format!(
        "ca bootstrap --force --ca-url {} --fingerprint {dashed}",
        world.ca.url()
    ));
    assert_eq!(
        world.read("step/certs/root_ca.crt"),
        std::fs::read_to_string(world.ca.root()).unwrap()
    );
    let answer = world.https().get(&format!("/1.0/root/{}", dashed.to_uppercase()));
    assert!(
        answer.expect(200, "").json()["ca"]
            .as_str()
            .unwrap()
            .ends_with("-----END CERTIFICATE-----\n")
    );
}

#[test]
fn bootstrap_with_a_wrong_fingerprint_is_refused() {
    let Some(known) = World::shared() else { return };
    let world = World::stranger(known.ca).unwrap();
    let wrong = "00".repeat(32);
    world.refused(
        &format!("ca bootstrap --ca-url {} --fingerprint {wrong}", world.ca.url()),
        &wrong,
    );
    assert!(!world.path("step/certs/root_ca.crt").exists());
    world.https().get(&format!("/root/{wrong}")).expect(404, &wrong);
}

#[test]
fn health_over_verified_tls() {
    let Some(world) = World::shared() else { return };
    assert_eq!(world.ok("ca health").trim(), "ok");
    assert_eq!(
        world.https().get("/health").expect(200, "").text(),
        "{\"status\":\"ok\"}\n"
    );
}

#[test]
fn root_to_a_file_and_to_standard_output() {
    let Some(world) = World::shared() else { return };
    let root = std::fs::read_to_string(world.ca.root()).unwrap();
    assert_eq!(world.ok("ca root"), root);
    world.ok(&format!(
        "ca root fetched.crt --ca-url {} --fingerprint {}",
        world.ca.url(),
        world.fingerprint()
    ));
    assert_eq!(world.read("fetched.crt"), root);
}

#[test]
fn roots_and_federation() {
    let Some(world) = World::shared() else { return };
    let root = std::fs::read_to_string(world.ca.root()).unwrap();
    assert_eq!(world.ok("ca roots"), root);
    assert_eq!(world.ok("ca federation"), root);
    for path in ["/roots", "/federation", "/intermediates"] {
        let list = world.https().get(path).expect(201, "").json();
        assert!(
            list["crts"][0]
                .as_str()
                .unwrap()
                .starts_with("-----BEGIN CERTIFICATE-----\n"),
            "{path}: {list}"
        );
    }
}

fn dashed(fingerprint: &str) -> String {
    let pairs: Vec<_> = fingerprint
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap())
        .collect();
    pairs.join("-")
}
