//! One-time tokens: each is good once, for one operation, at this CA, for a short time; the answer says which it was not.

use serde_json::json;

use crate::world::{World, now};

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

#[test]
fn a_token_is_good_once() {
    let Some(world) = World::shared() else { return };
    let token = world.token("once", "");
    world.ok(&format!("ca certificate once once.crt once.key --token {token}"));
    world.refused(
        &format!("ca certificate once again.crt again.key --token {token}"),
        "has been used already",
    );
    if world.csr("once", P256, &[]).is_some() {
        world
            .sign(&token, "once.csr")
            .expect(401, "has been used already");
    }
}

#[test]
fn a_token_that_failed_is_not_spent() {
    let Some(world) = World::shared() else { return };
    let token = world.token("patient", "");
    world.refused(
        &format!("ca certificate patient p.crt p.key --not-after 9000h --token {token}"),
        "at most 366d",
    );
    world.ok(&format!("ca certificate patient p.crt p.key --token {token}"));
}

#[test]
fn an_expired_token_is_refused() {
    let Some(world) = World::shared() else { return };
    let mut claims = world.claims("expired");
    claims["exp"] = json!(now() - 120);
    refused(&world, "expired", &claims, "has expired");
}

#[test]
fn a_token_without_an_end_or_with_one_far_away_is_refused() {
    let Some(world) = World::shared() else { return };
    let mut claims = world.claims("endless");
    claims.as_object_mut().unwrap().remove("exp");
    refused(&world, "endless", &claims, "no end");
    let mut claims = world.claims("endless");
    claims["exp"] = json!(now() + 86_400);
    refused(&world, "endless", &claims, "at most an hour");
}

#[test]
fn a_token_from_the_future_is_refused() {
    let Some(world) = World::shared() else { return };
    let mut claims = world.claims("early");
    claims["nbf"] = json!(now() + 240);
    refused(&world, "early", &claims, "not valid yet");
}

#[test]
fn a_token_for_another_host_is_refused() {
    let Some(world) = World::shared() else { return };
    let mut claims = world.claims("elsewhere");
    claims["aud"] = json!("https://ca.elsewhere.example:9000/1.0/sign");
    refused(&world, "elsewhere", &claims, "not a name of this CA");
}

#[test]
fn a_token_of_an_unknown_provisioner_or_another_key_is_refused() {
    let Some(world) = World::shared() else { return };
    let mut claims = world.claims("unknown");
    claims["iss"] = json!("somebody-else");
    refused(&world, "unknown", &claims, "provisioner is not known");
    world.ok("crypto jwk create other.pub other.jwk --kty EC --crv P-256 --no-password --insecure --force");
    let token = world.signed(&world.path("other.jwk"), &world.claims("unknown"));
    if world.csr("unknown", P256, &[]).is_some() {
        world.sign(&token, "unknown.csr").expect(401, "");
    }
}

#[test]
fn a_token_for_signing_does_not_revoke() {
    let Some(world) = World::shared() else { return };
    world.certificate("keeps", "");
    let serial = world.serial("keeps.crt");
    let token = world.token(&serial, "");
    world.refused(
        &format!("ca revoke --token {token} {serial}"),
        "was not made to revoke",
    );
    let body = json!({ "serial": serial, "ott": token, "reasonCode": 0, "reason": "", "passive": true });
    world
        .https()
        .post("/revoke", &body)
        .expect(401, "was not made to revoke");
    assert_eq!(
        world.ca.json(&["device", "show", "keeps"])["certificates"][0]["status"],
        "active"
    );
}

#[test]
fn a_token_for_revoking_does_not_sign() {
    let Some(world) = World::shared() else { return };
    if world.csr("12345", P256, &[]).is_none() {
        return;
    }
    let token = world.token("12345", "--revoke");
    world
        .sign(&token, "12345.csr")
        .expect(401, "was not made to sign");
}

#[test]
fn a_ruined_copy_does_not_burn_the_true_token() {
    let Some(world) = World::shared() else { return };
    if world.csr("true", P256, &[]).is_none() {
        return;
    }
    let token = world.token("true", "");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(1);
    let ruined = format!("{signed}.{}{rest}", if first == "A" { "B" } else { "A" });
    world.sign(&ruined, "true.csr").expect(401, "");
    world.sign(&token, "true.csr").expect(201, "");
    world
        .sign(&token, "true.csr")
        .expect(401, "has been used already");
}

#[test]
fn an_audience_counts_without_its_port_and_with_or_without_1_0() {
    let Some(world) = World::shared() else { return };
    if world.csr("aud", P256, &[]).is_none() {
        return;
    }
    let key = world.private_jwk();
    for (number, audience) in ["https://localhost/sign", "https://127.0.0.1:443/1.0/sign"]
        .iter()
        .enumerate()
    {
        let mut claims = world.claims("aud");
        claims["aud"] = json!([audience]);
        claims["jti"] = json!(format!("audience {number}"));
        world
            .sign(&world.signed(&key, &claims), "aud.csr")
            .expect(201, "");
    }
}

/// By `step`, which shows the reason, and by hand for the status.
fn refused(world: &World, name: &str, claims: &serde_json::Value, words: &str) {
    if world.csr(name, P256, &[]).is_none() {
        return;
    }
    let token = world.signed(&world.private_jwk(), claims);
    world.refused(
        &format!(
            "ca certificate {name} x.crt x.key --ca-url {} --root {} --token {token}",
            world.ca.url(),
            world.ca.root().display()
        ),
        words,
    );
    world.sign(&token, &format!("{name}.csr")).expect(401, words);
}
