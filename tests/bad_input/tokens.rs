//! One-time tokens: used, too old, too young, somebody else's, for something else, or signed with nothing.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use crate::common::https::Https;
use crate::common::requester::{PROVISIONER, csr, now, sign_body, unsigned};
use crate::world::World;

const SITE: &str = "site-001";

#[test]
fn a_token_is_good_once() {
    let world = World::start();
    let token = world.requester.token(SITE);
    let body = sign_body(&csr(SITE), &token);
    assert_eq!(world.post("/sign", &body).0, 201);
    world.refuses("the same again", &body, 401, "used already");
    world.refuses("another key", &sign_body(&csr(SITE), &token), 401, "");
}

#[test]
fn a_token_that_says_something_else_is_refused() {
    let world = World::start();
    let at = now();
    let changes: [(&str, &str, Value, &str); 17] = [
        ("expired", "exp", json!(at - 120), "expired"),
        ("from the future", "nbf", json!(at + 600), "not valid yet"),
        ("made in the future", "iat", json!(at + 600), "not valid yet"),
        ("for ever", "exp", Value::Null, "no end"),
        ("for a day", "exp", json!(at + 86_400), "too long"),
        ("for ages", "exp", json!(i64::MAX), "too long"),
        ("since ever", "exp", json!(i64::MIN), "expired"),
        ("beyond numbers", "exp", json!(1e300), "too long"),
        (
            "for another host",
            "aud",
            json!("https://ca.example.org/1.0/sign"),
            "not a name of this CA",
        ),
        (
            "for a host that looks alike",
            "aud",
            json!("https://localhost.example.org/1.0/sign"),
            "not a name of this CA",
        ),
        (
            "for a user at a host",
            "aud",
            json!("https://localhost@example.org/1.0/sign"),
            "not a name of this CA",
        ),
        ("for nobody", "aud", json!([]), "nobody"),
        (
            "for another purpose",
            "aud",
            json!("https://localhost/1.0/revoke"),
            "not made to sign",
        ),
        (
            "for SSH",
            "aud",
            json!("https://localhost/1.0/ssh/sign"),
            "not made to sign",
        ),
        (
            "of nobody's provisioner",
            "iss",
            json!("nobody"),
            "provisioner is not known",
        ),
        ("about nobody", "sub", json!(""), "no subject"),
        ("about a number", "sub", json!(7), "claims"),
    ];
    for (what, claim, value, words) in changes {
        let mut claims = world.requester.claims(SITE);
        claims[claim] = value;
        world.refuses(
            what,
            &sign_body(&csr(SITE), &world.requester.signed(&claims)),
            401,
            words,
        );
    }
    // Each differs from a good one in nothing else.
    world.still_works(&world.requester.signed(&world.requester.claims(SITE)), SITE);
}

#[test]
fn a_token_that_the_provisioner_did_not_sign_is_refused() {
    let world = World::start();
    let requester = &world.requester;
    let claims = requester.claims(SITE);
    let header = |alg: &str| json!({ "alg": alg, "kid": requester.kid(), "typ": "JWT" });
    let good = requester.signed(&claims);
    let (_, signature) = good.rsplit_once('.').unwrap();
    let mut others = claims.clone();
    others["sub"] = json!("site-002");
    // What a careless verifier takes for a shared secret: the public key, in the forms in which it is published.
    let public = published_key(&world);
    let hs256 = |secret: &[u8]| {
        let signed = unsigned(&header("HS256"), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", BASE64URL.encode(tag.as_ref()))
    };
    let stranger = muster_backends::signer::generate(muster_pki::key::KeyKind::P256).unwrap();
    let strange = {
        let signed = unsigned(&header("ES256"), &claims);
        let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            stranger.pkcs8(),
        );
        let made = pair
            .unwrap()
            .sign(&aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", BASE64URL.encode(made.as_ref()))
    };
    for (what, token) in [
        ("alg none", format!("{}.", unsigned(&header("none"), &claims))),
        (
            "alg none with a signature",
            format!("{}.{signature}", unsigned(&header("none"), &claims)),
        ),
        ("alg None", format!("{}.", unsigned(&header("None"), &claims))),
        (
            "no alg",
            format!(
                "{}.{signature}",
                unsigned(&json!({ "kid": requester.kid() }), &claims)
            ),
        ),
        ("HS256 with the public JWK", hs256(public.to_string().as_bytes())),
        ("HS256 with the public point", hs256(&point(&public))),
        ("HS256 with nothing", hs256(b"")),
        (
            "RS256 over an EC key",
            requester.signed_with(&header("RS256"), &claims),
        ),
        (
            "ES384 over a P-256 key",
            requester.signed_with(&header("ES384"), &claims),
        ),
        ("another's key", strange),
        ("its own key in the header", {
            let header = json!({ "alg": "ES256", "kid": "mine", "jwk": public });
            requester.signed_with(&header, &claims)
        }),
        (
            "other claims under a good signature",
            format!("{}.{signature}", unsigned(&header("ES256"), &others)),
        ),
        (
            "a zero signature",
            format!(
                "{}.{}",
                unsigned(&header("ES256"), &claims),
                BASE64URL.encode([0; 64])
            ),
        ),
        (
            "an empty signature",
            format!("{}.", unsigned(&header("ES256"), &claims)),
        ),
        ("an extension that must be known", {
            let header = json!({ "alg": "ES256", "kid": requester.kid(), "crit": ["b64"], "b64": false });
            requester.signed_with(&header, &claims)
        }),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("padding", format!("{good}=")),
        ("blanks", format!("{good} ")),
        ("20 KB", format!("{good}{}", "A".repeat(20_000))),
        ("no token at all", "hello".to_owned()),
    ] {
        world.refuses(what, &sign_body(&csr(SITE), &token), 401, "");
    }
    world.still_works(&good, SITE);
}

#[test]
fn a_token_for_one_request_is_not_good_for_another() {
    let world = World::start();
    let mut claims = world.requester.claims(SITE);
    claims["cnf"] = json!({ "x5rt#S256": BASE64URL.encode([7; 32]) });
    let token = world.requester.signed(&claims);
    world.refuses(
        "another request",
        &sign_body(&csr(SITE), &token),
        403,
        "another certificate request",
    );
    claims["cnf"] = json!({ "x5rt#S256": "***" });
    let token = world.requester.signed(&claims);
    world.refuses("no hash", &sign_body(&csr(SITE), &token), 401, "cnf");
}

#[test]
fn revoking_needs_a_token_for_this_very_certificate() {
    let world = World::start();
    world.serves(SITE);
    let list = world.muster.json(&["cert", "list"]);
    let ours = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["device"] == SITE)
        .unwrap();
    let serial = ours["serial_decimal"].as_str().unwrap();
    let body = |token: &str| {
        json!({ "serial": serial, "ott": token, "reasonCode": 1, "reason": "", "passive": true }).to_string()
    };
    let claims = |subject: &str, purpose: &str| {
        let mut claims = world.requester.claims(subject);
        claims["aud"] = json!(format!("{}/1.0/{purpose}", world.muster.url()));
        claims
    };
    let refuses = |what: &str, claims: &Value, status: u16, words: &str| {
        let token = world.requester.signed(claims);
        world.refuses_at("/revoke", what, &body(&token), status, words);
    };
    refuses("made to sign", &claims(serial, "sign"), 401, "not made to revoke");
    refuses("for another serial", &claims("12345", "revoke"), 403, "");
    refuses("for the name", &claims(SITE, "revoke"), 403, "");
    let mut old = claims(serial, "revoke");
    old["exp"] = json!(now() - 120);
    refuses("expired", &old, 401, "expired");
    let unknown = world.requester.signed(&claims("12345", "revoke"));
    let unknown = json!({ "serial": "12345", "ott": unknown, "reasonCode": 1, "passive": true }).to_string();
    world.refuses_at(
        "/revoke",
        "a serial that was never issued",
        &unknown,
        404,
        "12345",
    );
    let token = world.requester.signed(&claims(serial, "revoke"));
    let (status, answer) = world.post("/revoke", &body(&token));
    assert_eq!(status, 200, "{answer}");
    world.list_is_made();
    let again = world.requester.signed(&claims(serial, "revoke"));
    world.refuses_at("/revoke", "revoked before", &body(&again), 400, "already revoked");
}

/// The provisioner's key as everybody can read it.
fn published_key(world: &World) -> Value {
    let list = Https::new(world.muster.api, &world.muster.root())
        .get("/provisioners")
        .json();
    let listed = list["provisioners"].as_array().unwrap();
    listed
        .iter()
        .find(|provisioner| provisioner["name"] == PROVISIONER)
        .unwrap()["key"]
        .clone()
}

/// SEC1 section 2.3.3.
fn point(jwk: &Value) -> Vec<u8> {
    let part = |name: &str| BASE64URL.decode(jwk[name].as_str().unwrap()).unwrap();
    [&[4][..], &part("x"), &part("y")].concat()
}
