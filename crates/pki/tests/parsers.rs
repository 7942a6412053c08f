//! Any bytes whatever into the parsers that strangers reach: requests, tokens, keys, names, PEM, durations.
//!
//! None panics, none believes what was changed, and what one accepts comes back the same. Each target takes a second;
//! `BOLERO_RANDOM_TEST_TIME_MS` gives it longer.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::SignedDuration;
use muster_pki::cert::Certificate;
use muster_pki::csr::{Csr, MAX_DER, MAX_SANS};
use muster_pki::jose::{Jwk, Jws, MAX_TOKEN, decrypt_private_jwk};
use muster_pki::key::{PrivateKey, PublicKey};
use muster_pki::name::San;
use muster_pki::time::{format_duration, format_go_duration, parse_duration};
use muster_pki::{name, pem};
use zeroize::Zeroizing;

/// Root, issuing CA, server certificate, its request and a CRL.
const FLEET: &str = include_str!("fixtures/fleet.pem");
/// A hundred years.
const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

static PAIR: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

fn key() -> PrivateKey {
    let pkcs8 = PAIR.to_pkcs8v1().unwrap().as_ref().to_vec();
    PrivateKey::from_pkcs8(Zeroizing::new(pkcs8)).unwrap()
}

/// A good token of that key.
fn token(claims: &str) -> String {
    let header = BASE64URL.encode(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#);
    let signed = format!("{header}.{}", BASE64URL.encode(claims));
    let signature = PAIR.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL.encode(signature.as_ref()))
}

/// Overwrites single bytes; positions wrap around.
fn patched(bytes: &[u8], patches: &[(u16, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, value) in patches {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *value;
    }
    bytes
}

/// What is made of these words, so that more than noise gets past the first character.
fn sentence(words: &[&str], choice: &[u8]) -> String {
    choice
        .iter()
        .map(|at| words[usize::from(*at) % words.len()])
        .collect()
}

fn request_within_bounds(der: &[u8]) -> Option<Csr> {
    let csr = Csr::from_der(der).ok()?;
    assert!(der.len() <= MAX_DER && csr.sans().len() <= MAX_SANS);
    assert_eq!(csr.der(), der);
    Some(csr)
}

#[test]
fn any_bytes_as_a_request() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        request_within_bounds(bytes);
    });
}

#[test]
fn no_changed_request_is_believed() {
    let sans =
        ["a.example.org", "10.0.0.1", "ops@example.org", "urn:a:b"].map(|san| San::parse(san).unwrap());
    let good = Csr::build("site-001", &sans, &key()).unwrap();
    assert!(request_within_bounds(&good).is_some());
    bolero::check!()
        .with_type::<(Vec<(u16, u8)>, u16)>()
        .for_each(|(patches, length)| {
            let changed = patched(&good, patches);
            assert_eq!(request_within_bounds(&changed).is_some(), changed == good);
            assert!(request_within_bounds(&good[..usize::from(*length) % good.len()]).is_none());
        });
}

#[test]
fn any_bytes_as_a_certificate() {
    let objects: Vec<_> = pem::decode_all(FLEET)
        .unwrap()
        .into_iter()
        .map(|block| block.der)
        .collect();
    bolero::check!()
        .with_type::<(Vec<u8>, u8, Vec<(u16, u8)>)>()
        .for_each(|(bytes, which, patches)| {
            let changed = patched(&objects[usize::from(*which) % objects.len()], patches);
            for der in [bytes, &changed] {
                if let Ok(certificate) = Certificate::from_der(der) {
                    assert_eq!(certificate.der(), der);
                    let _ = (
                        certificate.common_name(),
                        certificate.sans(),
                        certificate.usages(),
                    );
                    let _ = (
                        certificate.authority(),
                        certificate.key_id(),
                        certificate.as_issuer(),
                    );
                    assert!(!certificate.serial().is_empty());
                }
                let _ = name::from_der(der).map(|name| name::first_common_name(&name));
                let _ = PublicKey::from_spki(der);
            }
        });
}

#[test]
fn any_text_as_a_token() {
    bolero::check!().with_type::<String>().for_each(|text| {
        let _ = Jws::parse(text);
        let dotted = format!("{}.{text}.{text}", BASE64URL.encode(text));
        let _ = Jws::parse(&dotted);
    });
}

#[test]
fn any_json_as_a_tokens_header() {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"alg\"",
        "\"kid\"",
        "\"crit\"",
        "\"x5cInsecure\"",
        "\"a\"",
        "null",
        "1",
    ];
    let public = key();
    bolero::check!().with_type::<Vec<u8>>().for_each(|choice| {
        let header = BASE64URL.encode(sentence(&words, choice));
        let text = format!("{header}.e30.AAAA");
        if let Ok(jws) = Jws::parse(&text) {
            let _ = jws.header.leaf();
            assert!(jws.verify(public.public()).is_err());
        }
    });
}

#[test]
fn no_changed_token_is_believed() {
    let good = token(r#"{"sub":"site-001","sans":["site-001"],"exp":1}"#);
    let public = key();
    assert!(Jws::parse(&good).unwrap().verify(public.public()).is_ok());
    bolero::check!()
        .with_type::<Vec<(u16, u8)>>()
        .for_each(|patches| {
            let Ok(changed) = String::from_utf8(patched(good.as_bytes(), patches)) else {
                return;
            };
            let believed = Jws::parse(&changed).is_ok_and(|jws| jws.verify(public.public()).is_ok());
            assert_eq!(believed, changed == good);
        });
    assert!(Jws::parse(&"a".repeat(MAX_TOKEN + 1)).is_err());
}

#[test]
fn any_members_as_a_key() {
    let kinds = ["EC", "OKP", "RSA", "oct"];
    let curves = ["P-256", "P-384", "P-521", "Ed25519", "P-224"];
    bolero::check!().with_type::<(u8, u8, [Option<Vec<u8>>; 4], bool)>().for_each(|(kind, curve, parts, raw)| {
        let part = |at: usize| {
            let bytes = parts[at].as_ref()?;
            Some(if *raw { String::from_utf8_lossy(bytes).into_owned() } else { BASE64URL.encode(bytes) })
        };
        let json = serde_json::json!({
            "kty": kinds[usize::from(*kind) % kinds.len()], "crv": curves[usize::from(*curve) % curves.len()],
            "x": part(0), "y": part(1), "n": part(2), "e": part(3),
        });
        let Ok(jwk) = serde_json::from_value::<Jwk>(json) else { return };
        let _ = jwk.thumbprint();
        if let Ok(key) = jwk.public_key() {
            assert!(PublicKey::from_spki(key.spki()).unwrap() == key);
        }
    });
}

#[test]
fn any_text_as_a_key() {
    bolero::check!()
        .with_type::<(Vec<u8>, String, u8)>()
        .for_each(|(der, text, label)| {
            let labels = [
                "PRIVATE KEY",
                "EC PRIVATE KEY",
                "RSA PRIVATE KEY",
                "ENCRYPTED PRIVATE KEY",
                "X PRIVATE KEY",
            ];
            let _ = serde_json::from_str::<Jwk>(text);
            let _ = PrivateKey::from_pem(text);
            let _ =
                PrivateKey::from_pem(&pem::encode(labels[usize::from(*label) % labels.len()], der).unwrap());
        });
}

#[test]
fn any_text_as_an_alternative_name() {
    let words = [
        "a", "B", "0", "1.2", ".", "-", "_", "*", ":", "/", "@", " ", "%", "[", "::", "urn", "\u{0}", "é",
        "xn--",
    ];
    let key = key();
    bolero::check!()
        .with_type::<(String, Vec<u8>)>()
        .for_each(|(text, choice)| {
            for text in [text.as_str(), &sentence(&words, choice)] {
                let Ok(san) = San::parse(text) else { continue };
                assert_eq!(San::parse(&san.text()).unwrap(), san, "{text:?}");
                // What is accepted can be written, and is read as the same.
                let request =
                    Csr::from_der(&Csr::build("", std::slice::from_ref(&san), &key).unwrap()).unwrap();
                assert_eq!(request.sans(), [san], "{text:?}");
            }
        });
}

#[test]
fn any_text_as_pem() {
    let words = [
        "-----BEGIN ",
        "-----END ",
        "-----",
        "A",
        "X509 CRL",
        "\n",
        "\r\n",
        " ",
        "AAAA",
        "QQ==",
        "$",
        "é",
    ];
    bolero::check!()
        .with_type::<(String, Vec<u8>, Vec<u8>)>()
        .for_each(|(text, choice, der)| {
            let _ = pem::decode_all(text);
            let _ = pem::decode_all(&sentence(&words, choice));
            let _ = pem::decode(pem::CSR, text);
            let _ = Csr::der_from_pem(text);
            let armoured = pem::encode(pem::CSR, der).unwrap();
            assert_eq!(Csr::der_from_pem(&armoured).unwrap(), *der);
            if !text.contains("-----") {
                assert_eq!(
                    pem::decode(pem::CSR, &format!("{text}\n{armoured}{text}")).unwrap(),
                    *der
                );
            }
        });
}

#[test]
fn any_text_as_a_duration() {
    let words = [
        "1", "5", "30", "0", ".", "-", "+", "d", "w", "h", "m", "s", "ms", "us", "µs", "ns", "999999", "e9",
        "inf", " ",
    ];
    bolero::check!()
        .with_type::<(String, Vec<u8>)>()
        .for_each(|(text, choice)| {
            for text in [text.as_str(), &sentence(&words, choice)] {
                let Ok(duration) = parse_duration(text) else {
                    continue;
                };
                assert!(duration.abs() <= LONGEST, "{text}");
                for written in [format_duration(duration), format_go_duration(duration)] {
                    assert_eq!(
                        parse_duration(&written).unwrap().as_secs(),
                        duration.as_secs(),
                        "{text} as {written}"
                    );
                }
            }
        });
}

#[test]
fn any_text_as_an_encrypted_key() {
    // One round of PBKDF2: everything behind it is reached as well.
    let header = BASE64URL.encode(r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":1,"p2s":"AAEC"}"#);
    bolero::check!()
        .with_type::<(Vec<u8>, [Vec<u8>; 4], Vec<(u16, u8)>)>()
        .for_each(|(bytes, parts, patches)| {
            let parts = parts.each_ref().map(|part| BASE64URL.encode(part));
            let jwe = format!("{header}.{}", parts.join("."));
            let changed = patched(jwe.as_bytes(), patches);
            for text in [bytes, jwe.as_bytes(), &changed] {
                let text = String::from_utf8_lossy(text);
                assert!(decrypt_private_jwk(&text, b"correct horse").is_err());
            }
        });
}
