//! Names: reserved, foreign, or such that they would be something else to a file system or a broker.

use serde_json::json;

use crate::common::requester::{csr, sign_body};
use crate::world::World;

#[test]
fn a_name_that_is_nobodys_to_have_is_refused() {
    let world = World::start();
    let long = "x".repeat(65);
    for (name, words) in [
        ("muster-ca", "reserved"),
        ("muster", "reserved"),
        ("muster-agent-7", "reserved"),
        ("muster.canary", "reserved"),
        ("../../../etc/passwd", "cannot be"),
        ("..", "cannot be"),
        ("/etc/passwd", "cannot be"),
        ("site-001/..", "cannot be"),
        ("site\\001", "cannot be"),
        ("site\u{0}001", "cannot be"),
        ("site\n001", "cannot be"),
        ("site/+/#", "cannot be"),
        ("$SYS", "cannot be"),
        ("Site-001", "cannot be"),
        ("sité", "cannot be"),
        ("-rf", "cannot be"),
        (&long, "cannot be"),
    ] {
        let mut claims = world.requester.claims(name);
        // So that only the name itself can be what is wrong.
        claims["sans"] = json!(["site-001"]);
        let body = sign_body(&csr(""), &world.requester.signed(&claims));
        world.refuses(name, &body, 403, words);
    }
}

#[test]
fn an_alternative_name_that_nobody_could_match_is_refused() {
    let world = World::start();
    let many: Vec<String> = (0..101).map(|number| format!("a{number}.example.org")).collect();
    for (sans, status) in [
        (json!(["a b"]), 403),
        (json!(["a\u{0}.example.org"]), 403),
        (json!(["a..example.org"]), 403),
        (json!(["bücher.example"]), 403),
        (json!(["x".repeat(300)]), 403),
        (json!(many), 400),
        (json!("site-001"), 401),
        (json!([1, 2]), 401),
    ] {
        let mut claims = world.requester.claims("site-001");
        claims["sans"] = sans.clone();
        let body = sign_body(&csr("site-001"), &world.requester.signed(&claims));
        world.refuses(&sans.to_string(), &body, status, "");
    }
}

#[test]
fn a_device_never_gets_a_brokers_name() {
    let world = World::start();
    world
        .muster
        .ok(&["device", "create", "mqtt.ak-sg.com", "--kind", "server"]);
    for sans in [
        json!(["mqtt.ak-sg.com"]),
        json!(["site-001", "mqtt.ak-sg.com"]),
        json!(["MQTT.ak-sg.com"]),
    ] {
        let mut claims = world.requester.claims("site-001");
        claims["sans"] = sans.clone();
        let body = sign_body(&csr("site-001"), &world.requester.signed(&claims));
        world.refuses(&sans.to_string(), &body, 403, "another server's name");
    }
    let mut claims = world.requester.claims("site-001");
    claims["sans"] = json!(["*.ak-sg.com"]);
    let body = sign_body(&csr("site-001"), &world.requester.signed(&claims));
    world.refuses("a name for all brokers", &body, 403, "*.ak-sg.com");
    // A wildcard under which there is no server is nobody's.
    claims["sans"] = json!(["*.fleet.ak-sg.com"]);
    let body = sign_body(&csr("site-001"), &world.requester.signed(&claims));
    assert_eq!(world.post("/sign", &body).0, 201);
    // The operator registered it, so the broker itself obtains it with the same kind of token.
    world.serves("mqtt.ak-sg.com");
}

#[test]
fn a_request_must_name_whom_its_token_names() {
    let world = World::start();
    let token = world.requester.token("site-001");
    world.refuses(
        "another name",
        &sign_body(&csr("site-002"), &token),
        403,
        "site-002",
    );
    world.refuses(
        "a longer name",
        &sign_body(&csr("site-001x"), &token),
        403,
        "site-001x",
    );
    world.still_works(&token, "site-001");
}

/// What is a device's name and no DNS name is refused as an alternative name, and good as a name.
#[test]
fn a_name_that_dns_does_not_know_is_a_name() {
    let world = World::start();
    for name in ["a..b", "site-", "site_.", "0.0", "10.0.80.50"] {
        world.muster.ok(&["cert", "issue", name, "--out", name]);
        assert!(
            world
                .muster
                .path()
                .join(name)
                .join(format!("{name}.crt"))
                .is_file()
        );
    }
}
