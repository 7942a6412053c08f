//! The requester's side of step's JWK provisioner: opens its published key and makes one-time tokens.
//!
//! Written from RFC 7516 and RFC 7518 and independent of Muster's own code, so that it serves both servers alike.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_128, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde_json::json;

use crate::Result;

/// How long a token holds, seconds: what `step` gives it.
const LIFE: u64 = 300;

/// A provisioner whose key is open.
pub(crate) struct Provisioner {
    key: EcdsaKeyPair,
    header: String,
    name: String,
    audience: String,
    root: String,
}

#[derive(Deserialize)]
struct Protection {
    alg: String,
    enc: String,
    p2c: NonZeroU32,
    p2s: String,
}

#[derive(Deserialize)]
struct PrivateJwk {
    kid: String,
    x: String,
    y: String,
    d: String,
}

impl Provisioner {
    /// Opens a compact JWE (PBES2-HS256+A128KW, A256GCM). `audience` is the URL of `/1.0/sign`, `root` the
    /// root's fingerprint in hex.
    pub(crate) fn open(
        jwe: &str,
        password: &[u8],
        name: &str,
        audience: &str,
        root: &str,
    ) -> Result<Arc<Self>> {
        let jwk: PrivateJwk = serde_json::from_slice(&decrypt(jwe, password)?)?;
        let point = [&[4][..], &BASE64URL.decode(&jwk.x)?, &BASE64URL.decode(&jwk.y)?].concat();
        let scalar = BASE64URL.decode(&jwk.d)?;
        let key =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &scalar, &point)?;
        let header = BASE64URL.encode(json!({"alg": "ES256", "kid": jwk.kid, "typ": "JWT"}).to_string());
        let (name, audience, root) = (name.to_owned(), audience.to_owned(), root.to_owned());
        Ok(Arc::new(Self {
            key,
            header,
            name,
            audience,
            root,
        }))
    }

    /// A token with a key of nobody's, for measuring without a server.
    pub(crate) fn unattached() -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let kid = BASE64URL.encode([0; 32]);
        let header = BASE64URL.encode(json!({"alg": "ES256", "kid": kid, "typ": "JWT"}).to_string());
        let audience = "https://localhost:9000/1.0/sign".to_owned();
        Ok(Self {
            key,
            header,
            name: "iot-devices".to_owned(),
            audience,
            root: "0".repeat(64),
        })
    }

    /// The public key, SEC1 uncompressed.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// A fresh one-time token for `subject`, in `step`'s form.
    pub(crate) fn token(&self, subject: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut id = [0; 32];
        aws_lc_rs::rand::fill(&mut id)?;
        let claims = json!({
            "aud": self.audience, "exp": now + LIFE, "iat": now, "nbf": now, "iss": self.name, "jti": hex(&id),
            "sans": [subject], "sha": self.root, "sub": subject,
        });
        let signed = format!("{}.{}", self.header, BASE64URL.encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL.encode(signature.as_ref())))
    }
}

/// RFC 7516 section 5.2 for the one algorithm that step publishes keys with (RFC 7518 section 4.8).
fn decrypt(jwe: &str, password: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<&str> = jwe.split('.').collect();
    let [header, wrapped, iv, sealed, tag] = parts[..] else {
        return Err("the key is no compact JWE".into());
    };
    let protection: Protection = serde_json::from_slice(&BASE64URL.decode(header)?)?;
    if protection.alg != "PBES2-HS256+A128KW" || protection.enc != "A256GCM" {
        return Err(format!("the key is sealed with {} and {}", protection.alg, protection.enc).into());
    }
    let salt = [
        protection.alg.as_bytes(),
        &[0],
        &BASE64URL.decode(&protection.p2s)?,
    ]
    .concat();
    let (mut wrapping, mut content) = ([0; 16], [0; 40]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        protection.p2c,
        &salt,
        password,
        &mut wrapping,
    );
    let content = AesKek::new(&AES_128, &wrapping)?
        .unwrap(&BASE64URL.decode(wrapped)?, &mut content)
        .map_err(|_| "the provisioner's password does not fit")?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, content)?);
    let nonce = Nonce::try_assume_unique_for_key(&BASE64URL.decode(iv)?)?;
    let mut text = [BASE64URL.decode(sealed)?, BASE64URL.decode(tag)?].concat();
    Ok(key.open_in_place(nonce, Aad::from(header), &mut text)?.to_vec())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Provisioner, decrypt};

    // Sealed by Python's jwcrypto-checked vector: key of RFC 7515 A.3, password `correct horse`.
    const JWE: &str = "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjYwMDAwMCwicDJzIjoiQUFFQ0F3UUZCZ2NJQ1FvTERBME9EdyJ9.u34bM7roDim5KbYLDQRM_BFdyx3EJmJJQKIU0muJ2Ca4Br1lmglh-Q.AAECAwQFBgcICQoL.J3Ao1C8X0c7PkK7kClE1SGpS00YvUoQ9Bma63pm76fdnl2tKbVgRlb4troG0hnuCUH6ktz8CovDCW372ZtYv4i-EzivPmP-dfjS0X3saieOlB73i7S9nLUnzP2rvPtl7ZWMKvhBUbqHcI-TbxnkRWJ-3NTKtdS8Cy-fPa3FIoSpX4rZXUM95wuOBMckxkGKMS5ayNN5klyrUtHKllZ1lH5ipNSY7RzQ_sklzWfcTw4zxUjW43d9XQIqG_oGuytFgxAm8sk_lPvPTj9usWYNqHgbb6o8m8Bz9xy_C-GWdbPjZQ_QBCCIzs9xwa_QIQS9bYYpJT0VaL2gzQkCN6qg.0ijxoJZDeSiaq1WfhKbVFA";

    #[test]
    fn a_published_key_opens_and_signs() {
        let provisioner =
            Provisioner::open(JWE, b"correct horse", "iot", "https://ca/1.0/sign", "00").unwrap();
        let token = provisioner.token("site-001").unwrap();
        assert_eq!(token.split('.').count(), 3);
        assert!(decrypt(JWE, b"wrong").is_err());
    }
}
