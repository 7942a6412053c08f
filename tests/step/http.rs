//! What every route has in common: `HEAD`, `/1.0`, errors in JSON, request ids.

use serde_json::json;

use crate::world::World;

/// Every route that is read, with its status.
fn read_routes(world: &World) -> Vec<(String, u16)> {
    let list = world.https().get("/provisioners").json();
    let kid = list["provisioners"][0]["key"]["kid"].as_str().unwrap().to_owned();
    let fixed = [
        ("/version", 200),
        ("/health", 200),
        ("/roots", 201),
        ("/roots.pem", 200),
        ("/intermediates", 201),
        ("/intermediates.pem", 200),
        ("/federation", 201),
        ("/provisioners", 200),
        ("/crl", 200),
    ];
    let mut routes: Vec<_> = fixed
        .iter()
        .map(|(path, status)| ((*path).to_owned(), *status))
        .collect();
    routes.push((format!("/root/{}", world.fingerprint()), 200));
    routes.push((format!("/provisioners/{kid}/encrypted-key"), 200));
    routes
}

#[test]
fn every_read_route_answers_get_and_head_with_and_without_1_0() {
    let Some(world) = World::shared() else { return };
    for (path, status) in read_routes(&world) {
        for path in [path.clone(), format!("/1.0{path}")] {
            let got = world.https().get(&path);
            assert_eq!(got.status, status, "GET {path}");
            let head = world.https().send("HEAD", &path, &[], b"");
            assert_eq!(head.status, status, "HEAD {path}");
            assert!(head.body.is_empty(), "HEAD {path} has a body");
            assert_eq!(
                head.header("content-type"),
                got.header("content-type"),
                "HEAD {path}"
            );
        }
    }
}

#[test]
fn every_write_route_is_there_with_and_without_1_0() {
    let Some(world) = World::shared() else { return };
    for path in ["/sign", "/renew", "/re-sign", "/rekey", "/revoke"] {
        for path in [path.to_owned(), format!("/1.0{path}")] {
            world.https().post(&path, &json!({})).expect(400, "missing");
        }
    }
}

#[test]
fn errors_are_json_whatever_they_are_about() {
    let Some(world) = World::shared() else { return };
    let https = world.https();
    for path in [
        "/nothing",
        "/1.0/nothing",
        "/root",
        "/root/zz",
        "/provisioners/none/encrypted-key",
        "/admin/admins",
        "/ssh/roots",
        "/acme/x/directory",
        "/%00",
        "/1.0",
    ] {
        let answer = https.get(path);
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{path}: {answer:?}"
        );
        answer.expect(404, "");
    }
    https.send("DELETE", "/sign", &[], b"").expect(405, "");
    https.get("/sign").expect(405, "");
    https.post("/roots", &json!({})).expect(405, "");
    https.post("/ssh/sign", &json!({})).expect(501, "SSH");
    https
        .send("POST", "/sign", &[], &vec![b'x'; 100 * 1024])
        .expect(413, "64 KiB");
}

#[test]
fn a_request_id_comes_back_or_is_made() {
    let Some(world) = World::shared() else { return };
    let sent = world.https().send(
        "GET",
        "/health",
        &[("x-request-id", "6f9e2d1c-0000-4000-8000-000000000001")],
        b"",
    );
    assert_eq!(
        sent.header("x-request-id"),
        Some("6f9e2d1c-0000-4000-8000-000000000001")
    );
    let made = world.https().get("/health");
    assert_eq!(made.header("x-request-id").map(str::len), Some(36));
}

#[test]
fn the_admin_api_of_step_ca_is_absent_and_step_says_so() {
    let Some(world) = World::shared() else { return };
    // On 404 `step` would edit a ca.json on its own disk; there is none, so nothing happens.
    world.refused(
        "ca provisioner add extra --type JWK --create --password-file /dev/null",
        "",
    );
    world.refused("ca admin list", "");
}

#[test]
fn an_unneeded_client_certificate_is_tolerated() {
    let Some(world) = World::shared() else { return };
    world.certificate("shows", "");
    let shown = crate::common::https::Https::with_certificate(
        world.ca.api,
        &world.ca.root(),
        &world.path("shows.crt"),
        &world.path("shows.key"),
    );
    for path in ["/health", "/roots", "/provisioners", "/crl"] {
        assert!(shown.get(path).status < 300, "{path}");
    }
}
