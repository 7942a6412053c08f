//! `/crl`: what relying parties fetch.

use crate::common::{http_get, text, wait_for};
use crate::world::World;

#[test]
fn the_crl_comes_as_der_and_as_pem_and_openssl_verifies_both() {
    let Some(world) = World::shared() else { return };
    let der = world.https().get("/crl").expect(200, "");
    assert_eq!(der.header("content-type"), Some("application/pkix-crl"));
    assert!(der.header("content-disposition").unwrap().contains("crl.crl"));
    assert!(
        der.header("expires").unwrap().ends_with(" GMT"),
        "{:?}",
        der.header("expires")
    );
    std::fs::write(world.path("crl.der"), &der.body).unwrap();
    let pem = world.https().get("/1.0/crl?pem=true").expect(200, "");
    assert_eq!(pem.header("content-type"), Some("application/x-pem-file"));
    std::fs::write(world.path("crl.pem"), &pem.body).unwrap();
    let chain: Vec<_> = ["/intermediates.pem", "/roots.pem"]
        .iter()
        .map(|path| world.https().get(path).text())
        .collect();
    std::fs::write(world.path("ca.pem"), chain.concat()).unwrap();
    for form in ["-inform DER -in crl.der", "-in crl.pem"] {
        if let Some(said) = world.openssl(&format!("crl {form} -CAfile ca.pem -verify -noout")) {
            assert!(said.contains("verify OK"), "{said}");
        }
    }
    std::fs::write(world.path("issuing.pem"), &chain[0]).unwrap();
    let seen: serde_json::Value =
        serde_json::from_str(&world.ok("crl inspect --format json --ca issuing.pem crl.pem")).unwrap();
    assert_eq!(seen["issuer"]["common_name"], "Test Issuing CA 1");
    assert_eq!(seen["signature"]["valid"], true);
}

#[test]
fn the_number_rises_with_a_revocation_and_the_entry_is_there() {
    let Some(world) = World::shared() else { return };
    let Some(before) = number(&world) else { return };
    world.certificate("listed", "");
    let serial = world.serial("listed.crt");
    let token = world.token(&serial, "--revoke");
    world.ok(&format!(
        "ca revoke --reasonCode superseded --token {token} {serial}"
    ));
    let hex = world.ca.json(&["device", "show", "listed"])["certificates"][0]["serial"]
        .as_str()
        .unwrap()
        .to_uppercase();
    // The list is signed off the request path.
    wait_for("the CRL to list it", || {
        text_of_crl(&world).is_some_and(|text| text.contains(&hex))
    });
    let after = number(&world).unwrap();
    assert!(after > before, "{after} after {before}");
    let public = http_get(&format!("http://127.0.0.1:{}/crl?pem", world.ca.public)).unwrap();
    assert_eq!(
        (public.0, text(&public.1)),
        (200, world.https().get("/crl?pem").text())
    );
}

fn text_of_crl(world: &World) -> Option<String> {
    std::fs::write(world.path("now.pem"), world.https().get("/crl?pem").body).unwrap();
    world.openssl("crl -in now.pem -noout -text")
}

fn number(world: &World) -> Option<u64> {
    std::fs::write(world.path("number.pem"), world.https().get("/crl?pem").body).unwrap();
    let said = world.openssl("crl -in number.pem -noout -crlnumber")?;
    let hex = said.trim().strip_prefix("crlNumber=").unwrap();
    Some(u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap())
}
