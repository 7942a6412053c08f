//! What a configured profile takes, lets in and points to; and what is said of one that makes no sense.

use muster_pki::key::{KeyKind, PrivateKey};
use serde_json::json;

use crate::common::Muster;
use crate::common::requester::{csr_with, new_key};
use crate::fleet::Fleet;
use crate::{openssl, without_server};

fn configure(muster: &Muster, more: &str) {
    let file = muster.data().join("muster.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{toml}\n{more}")).unwrap();
}

fn key(kind: KeyKind) -> PrivateKey {
    muster_backends::signer::generate(kind).unwrap()
}

/// `muster cert sign` of a request with this key; returns what it said.
fn sign(muster: &Muster, key: &PrivateKey, code: i32, more: &[&str]) -> String {
    std::fs::write(muster.path().join("a.csr"), csr_with("sensor-1", key)).unwrap();
    muster.exits(
        code,
        &[
            &["cert", "sign", "a.csr", "--kind", "sensor", "--out", "out"],
            more,
        ]
        .concat(),
    )
}

#[test]
fn every_mistake_is_told_at_once_with_its_key() {
    let muster = without_server();
    configure(
        &muster,
        "[profile.sensor]\nkeys = [\"p257\", \"dsa\"]\nsans = [\"dns:\", \"ip:10.0.0.0/99\", \"host:x\"]\n\
         pointers = [\"ocsp\"]\nmin = \"never\"\n[profile.server]\nkeys = [\"ed25519\"]\n[profile.none]\nkeys = []\n\
         [profile.\"a b\"]\n[profile.\"\"]\n",
    );
    let said = muster.exits(2, &["ca", "profile"]);
    for words in [
        "profile.sensor.keys: \"p257\"",
        "profile.sensor.keys: \"dsa\"",
        "profile.sensor.sans: \"dns:\"",
        "profile.sensor.sans: \"ip:10.0.0.0/99\"",
        "profile.sensor.sans: \"host:x\"",
        "profile.sensor.pointers: \"ocsp\"",
        "profile.sensor.min",
        "profile.server.keys: an Ed25519 key",
        "profile.none.keys",
        "profile.\"a b\": a profile is called",
        "profile.\"\": a profile is called",
    ] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
}

#[test]
fn an_authority_that_is_not_there_is_told_at_start() {
    let muster = without_server();
    configure(
        &muster,
        "[profile.sensor]\nauthority = \"sensors\"\n[profile.meter]\nauthority = \"meters\"\n",
    );
    let listen = ["--listen", "127.0.0.1:0", "--public-listen", "127.0.0.1:0"];
    for command in ["serve", "up"] {
        let said = muster.exits(2, &[&[command][..], &listen].concat());
        for words in [
            "profile.sensor.authority",
            "\"sensors\"",
            "profile.meter.authority",
            "muster ca create",
        ] {
            assert!(said.contains(words), "{words} is not in: {said}");
        }
    }
    // What it takes to mend it works meanwhile.
    muster.ok(&["ca", "create", "sensors", "--name", "Sensors"]);
    let said = muster.exits(2, &[&["serve"][..], &listen].concat());
    assert!(
        !said.contains("\"sensors\"") && said.contains("\"meters\""),
        "{said}"
    );
}

#[test]
fn only_keys_of_the_types_and_sizes_that_it_names() {
    let muster = without_server();
    configure(&muster, "[profile.sensor]\nkeys = [\"p256\", \"rsa3072\"]\n");
    for kind in [KeyKind::P256, KeyKind::Rsa(3072)] {
        sign(&muster, &key(kind), 0, &[]);
    }
    for kind in [KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
        let said = sign(&muster, &key(kind), 4, &[]);
        assert!(
            said.contains(&kind.to_string()) && said.contains("p256 or rsa3072"),
            "{said}"
        );
    }
}

#[test]
fn only_names_that_its_rules_let_in() {
    let muster = without_server();
    configure(
        &muster,
        "[profile.sensor]\nsans = [\"dns:*.plant.example.org\", \"ip:10.1.0.0/16\"]\n[profile.bare]\nsans = []\n",
    );
    let key = new_key();
    sign(&muster, &key, 0, &["--san", "a.plant.example.org,10.1.2.3"]);
    for bad in ["a.example.org", "10.2.0.1", "urn:dev:1", "me@plant.example.org"] {
        let said = sign(&muster, &key, 4, &["--san", bad]);
        assert!(
            said.contains(bad) && said.contains("dns:*.plant.example.org, ip:10.1.0.0/16"),
            "{said}"
        );
    }
    // A device's own name needs no rule.
    let issue = ["cert", "issue", "a.example.com", "--kind", "bare", "--out", "own"];
    muster.ok(&issue);
    let other = [
        "cert",
        "issue",
        "b.example.com",
        "--kind",
        "bare",
        "--san",
        "c.example.com",
    ];
    muster.exits(4, &other);
}

#[test]
fn a_rule_holds_for_tokens_and_renewals_too() {
    let mut fleet = Fleet::start("");
    let key = new_key();
    let claims = |fleet: &Fleet| {
        let mut claims = fleet.requester.claims("site-001");
        claims["sans"] = json!(["site-001", "alias.example.org"]);
        fleet.requester.signed(&claims)
    };
    let with = fleet.sign_with(&claims(&fleet), "site-001", &key).expect(201, "");
    let without = fleet.sign("site-001", &key).expect(201, "");
    fleet.muster.stop();
    configure(&fleet.muster, "[profile.client]\nsans = []\nkeys = [\"p256\"]\n");
    fleet.muster.serve();
    let told = "does not let the name";
    fleet
        .sign_with(&claims(&fleet), "site-001", &key)
        .expect(403, told);
    fleet
        .holder(&with, &key)
        .post("/renew", &json!({}))
        .expect(403, told);
    let holder = fleet.holder(&without, &key);
    holder.post("/renew", &json!({})).expect(201, "");
    let body =
        json!({ "csr": csr_with("site-001", &muster_backends::signer::generate(KeyKind::P384).unwrap()) });
    holder.post("/rekey", &body).expect(403, "p384");
}

#[test]
fn pointers_go_in_as_it_says_and_all_of_it_is_shown() {
    let muster = without_server();
    configure(
        &muster,
        "[profile.sensor]\nkeys = [\"p256\"]\nsans = [\"ip\", \"dns:*.example.org\"]\npointers = [\"issuer\"]\n\
         [profile.plain]\npointers = []\n",
    );
    let file = muster.data().join("muster.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        format!("public_url = \"http://ca.example.org:9080\"\n{toml}"),
    )
    .unwrap();
    let shown = muster.json(&["ca", "profile"]);
    let one = |name: &str| {
        shown["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name)
            .unwrap()
    };
    assert_eq!(one("sensor")["keys"], json!(["p256"]));
    assert_eq!(one("sensor")["sans"], json!(["ip", "dns:*.example.org"]));
    assert_eq!(one("sensor")["pointers"], json!(["issuer"]));
    assert_eq!(one("client")["sans"], json!(["dns", "ip", "email", "uri"]));
    assert_eq!(one("client")["pointers"], json!(["crl", "issuer"]));
    assert_eq!(one("server")["keys"], json!(["p256", "p384", "p521", "rsa2048"]));
    let table = muster.ok(&["ca", "profile"]);
    assert!(table.contains("dns:*.example.org"), "{table}");
    for (kind, crl, issuer) in [
        ("client", true, true),
        ("sensor", false, true),
        ("plain", false, false),
    ] {
        let name = format!("{kind}-1");
        muster.ok(&["cert", "issue", &name, "--kind", kind, "--out", &name]);
        let Some(text) = openssl(&muster, &format!("x509 -noout -text -in {name}/{name}.crt")) else {
            return;
        };
        assert_eq!(text.contains("CRL Distribution Points"), crl, "{kind}: {text}");
        assert_eq!(text.contains("CA Issuers"), issuer, "{kind}: {text}");
    }
}
