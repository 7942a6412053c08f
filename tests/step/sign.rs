//! `step ca sign`: keys and requests that come from elsewhere.

use serde_json::json;

use crate::world::World;

fn signs(name: &str, key: &str) {
    let Some(world) = World::shared() else { return };
    if world.csr(name, key, &[]).is_none() {
        return;
    }
    world.ok(&format!("ca sign {name}.csr {name}.crt {}", world.proof()));
    world.ok(&format!(
        "certificate verify {name}.crt --roots {}",
        world.ca.root().display()
    ));
    let certified = world
        .openssl(&format!("x509 -noout -pubkey -in {name}.crt"))
        .unwrap();
    assert_eq!(
        certified,
        world.openssl(&format!("pkey -pubout -in {name}.key")).unwrap()
    );
}

#[test]
fn a_p_256_key() {
    signs("key-p256", "ec -pkeyopt ec_paramgen_curve:P-256");
}

#[test]
fn a_p_384_key() {
    signs("key-p384", "ec -pkeyopt ec_paramgen_curve:P-384");
}

#[test]
fn a_p_521_key() {
    signs("key-p521", "ec -pkeyopt ec_paramgen_curve:P-521");
}

#[test]
fn an_rsa_2048_key() {
    signs("key-rsa2048", "rsa:2048");
}

#[test]
fn an_rsa_4096_key() {
    signs("key-rsa4096", "rsa:4096");
}

#[test]
fn an_ed25519_key() {
    signs("key-ed25519", "ed25519");
}

#[test]
fn keys_that_are_too_weak_are_forbidden() {
    let Some(world) = World::shared() else { return };
    for (name, key) in [
        ("weak-rsa1024", "rsa:1024"),
        ("weak-p224", "ec -pkeyopt ec_paramgen_curve:P-224"),
        ("weak-k256", "ec -pkeyopt ec_paramgen_curve:secp256k1"),
    ] {
        if world.csr(name, key, &[]).is_none() {
            return;
        }
        let answer = world.sign(&world.token(name, ""), &format!("{name}.csr"));
        assert!(
            [400, 403].contains(&answer.status),
            "{name}: {} {}",
            answer.status,
            answer.text()
        );
        if key.starts_with("rsa") {
            answer.expect(403, "2048");
        }
    }
}

#[test]
fn step_itself_asking_for_rsa_1024_is_forbidden() {
    let Some(world) = World::shared() else { return };
    if world.csr("small", "rsa:1024", &[]).is_none() {
        return;
    }
    world.refused(&format!("ca sign small.csr small.crt {}", world.proof()), "2048");
}

#[test]
fn a_token_pinned_to_one_request_signs_no_other() {
    let Some(world) = World::shared() else { return };
    let p256 = "ec -pkeyopt ec_paramgen_curve:P-256";
    if world.csr("pinned", p256, &[]).is_none() {
        return;
    }
    let token = world.token("pinned", "--cnf-file pinned.csr");
    std::fs::rename(world.path("pinned.csr"), world.path("true.csr")).unwrap();
    world.csr("pinned", p256, &[]).unwrap();
    world
        .sign(&token, "pinned.csr")
        .expect(403, "another certificate request");
    world.refused(
        &format!("ca sign pinned.csr stolen.crt --token {token}"),
        "another certificate request",
    );
    world.ok(&format!("ca sign true.csr pinned.crt --token {token}"));
}

#[test]
fn names_that_the_token_does_not_give_are_forbidden() {
    let Some(world) = World::shared() else { return };
    let p256 = "ec -pkeyopt ec_paramgen_curve:P-256";
    let san = ["-addext", "subjectAltName=DNS:named,DNS:another.example.org"];
    if world.csr("named", p256, &san).is_none() {
        return;
    }
    world
        .sign(&world.token("named", ""), "named.csr")
        .expect(403, "alternative names");
    world.csr("somebody", p256, &[]).unwrap();
    world
        .sign(&world.token("named", ""), "somebody.csr")
        .expect(403, "the token is for");
}

#[test]
fn a_request_to_become_a_ca_or_a_server_is_forbidden() {
    let Some(world) = World::shared() else { return };
    let p256 = "ec -pkeyopt ec_paramgen_curve:P-256";
    if world
        .csr("climber", p256, &["-addext", "basicConstraints=critical,CA:TRUE"])
        .is_none()
    {
        return;
    }
    world
        .sign(&world.token("climber", ""), "climber.csr")
        .expect(403, "CA:TRUE");
    world
        .csr("climber", p256, &["-addext", "extendedKeyUsage=serverAuth"])
        .unwrap();
    world
        .sign(&world.token("climber", ""), "climber.csr")
        .expect(403, "serverAuth");
}

#[test]
fn a_request_whose_signature_is_wrong_is_a_bad_request() {
    let Some(world) = World::shared() else { return };
    if world
        .csr(
            "forged",
            "ec -pkeyopt ec_paramgen_curve:P-256",
            &["-outform", "DER"],
        )
        .is_none()
    {
        return;
    }
    let mut der = std::fs::read(world.path("forged.csr")).unwrap();
    *der.last_mut().unwrap() ^= 1;
    std::fs::write(world.path("forged.der"), der).unwrap();
    // `openssl base64` adds the line breaks that PEM has.
    let body = world.openssl("base64 -in forged.der").unwrap();
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n");
    std::fs::write(world.path("forged.csr"), pem).unwrap();
    world
        .sign(&world.token("forged", ""), "forged.csr")
        .expect(400, "signature");
}

#[test]
fn bodies_that_lack_something_say_what() {
    let Some(world) = World::shared() else { return };
    let https = world.https();
    https.post("/sign", &json!({})).expect(400, "missing csr");
    https
        .post("/sign", &json!({ "csr": "no PEM", "ott": "x" }))
        .expect(400, "invalid csr");
    if world
        .csr("lacks", "ec -pkeyopt ec_paramgen_curve:P-256", &[])
        .is_some()
    {
        https
            .post("/sign", &json!({ "csr": world.read("lacks.csr") }))
            .expect(400, "missing ott");
        https
            .post(
                "/sign",
                &json!({ "csr": world.read("lacks.csr"), "ott": "x.y.z" }),
            )
            .expect(401, "");
    }
    https.send("POST", "/sign", &[], b"{\"csr\":").expect(400, "JSON");
}
