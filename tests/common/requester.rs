//! The requester's side of a JWK provisioner: opens its published key with the password, makes one-time tokens and
//! requests. Written from RFC 7516 and RFC 7518, apart from Muster's own code, so that the two check each other.

use std::num::NonZeroU32;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_128, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use muster_pki::csr::Csr;
use muster_pki::key::{KeyKind, PrivateKey};
use muster_pki::pem;
use serde_json::{Value, json};

use super::Muster;
use super::https::Https;

/// The provisioner that the first run makes.
pub const PROVISIONER: &str = "iot-devices";

/// A provisioner whose key is open.
pub struct Requester {
    key: EcdsaKeyPair,
    name: String,
    kid: String,
    url: String,
}

impl Requester {
    /// Opens the key of this Muster's first provisioner, over HTTPS and with the password in its data directory.
    pub fn of(muster: &Muster) -> Self {
        Self::named(muster, PROVISIONER, &muster.data().join("provisioner-password"))
    }

    /// Opens the key of any provisioner.
    pub fn named(muster: &Muster, name: &str, password: &Path) -> Self {
        let https = Https::new(muster.api, &muster.root());
        let list = https.get("/provisioners").expect(200, "").json();
        let listed = list["provisioners"].as_array().unwrap();
        let ours = listed
            .iter()
            .find(|provisioner| provisioner["name"] == name)
            .unwrap();
        let kid = ours["key"]["kid"].as_str().unwrap().to_owned();
        let sealed = https
            .get(&format!("/provisioners/{kid}/encrypted-key"))
            .expect(200, "")
            .json();
        let password = std::fs::read(password).unwrap();
        let jwk = decrypt(sealed["key"].as_str().unwrap(), password.trim_ascii_end());
        let part = |name: &str| BASE64URL.decode(jwk[name].as_str().unwrap()).unwrap();
        let point = [&[4][..], &part("x"), &part("y")].concat();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &part("d"), &point).unwrap();
        Self {
            key,
            name: name.to_owned(),
            kid,
            url: muster.url(),
        }
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The claims of a good token; a test changes what it tests.
    pub fn claims(&self, subject: &str) -> Value {
        let now = now();
        json!({
            "iss": self.name, "aud": format!("{}/1.0/sign", self.url), "sub": subject, "sans": [subject],
            "jti": random_hex(), "iat": now, "nbf": now, "exp": now + 300,
        })
    }

    /// A good token.
    pub fn token(&self, subject: &str) -> String {
        self.signed(&self.claims(subject))
    }

    pub fn signed(&self, claims: &Value) -> String {
        self.signed_with(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// Any header over any claims, signed with the true key.
    pub fn signed_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

/// The first two parts of a token.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        BASE64URL.encode(header.to_string()),
        BASE64URL.encode(claims.to_string())
    )
}

/// The body of `POST /sign`.
pub fn sign_body(csr: &str, token: &str) -> String {
    json!({ "csr": csr, "ott": token, "notBefore": "", "notAfter": "" }).to_string()
}

pub fn new_key() -> PrivateKey {
    muster_backends::signer::generate(KeyKind::P256).unwrap()
}

/// A request for a name, with a key of its own, PEM.
pub fn csr(name: &str) -> String {
    csr_with(name, &new_key())
}

pub fn csr_with(name: &str, key: &PrivateKey) -> String {
    pem::encode(pem::CSR, &Csr::build(name, &[], key).unwrap()).unwrap()
}

/// RFC 7516 section 5.2 for the one algorithm that `step` publishes keys with (RFC 7518 section 4.8).
fn decrypt(jwe: &str, password: &[u8]) -> Value {
    let parts: Vec<&str> = jwe.split('.').collect();
    let [header, wrapped, iv, sealed, tag] = parts[..] else {
        panic!("no compact JWE: {jwe}")
    };
    let bytes = |part: &str| BASE64URL.decode(part).unwrap();
    let protection: Value = serde_json::from_slice(&bytes(header)).unwrap();
    assert_eq!(
        (&protection["alg"], &protection["enc"]),
        (&json!("PBES2-HS256+A128KW"), &json!("A256GCM"))
    );
    let rounds = u32::try_from(protection["p2c"].as_u64().unwrap()).unwrap();
    let salt = [
        b"PBES2-HS256+A128KW\0",
        &bytes(protection["p2s"].as_str().unwrap())[..],
    ]
    .concat();
    let (mut wrapping, mut content) = ([0; 16], [0; 40]);
    let rounds = NonZeroU32::new(rounds).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut wrapping);
    let kek = AesKek::new(&AES_128, &wrapping).unwrap();
    let content = kek
        .unwrap(&bytes(wrapped), &mut content)
        .expect("the password fits");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, content).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&bytes(iv)).unwrap();
    let mut text = [bytes(sealed), bytes(tag)].concat();
    serde_json::from_slice(key.open_in_place(nonce, Aad::from(header), &mut text).unwrap()).unwrap()
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

pub fn random_hex() -> String {
    random::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unix seconds.
#[allow(
    clippy::disallowed_methods,
    reason = "the program under test reads the same clock"
)]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
