//! The encrypted form in which a provisioner's private key is published.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::key_wrap::{AES_128, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use aws_lc_rs::signature as lc;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Jwk, MAX_TOKEN};
use crate::Error;
use crate::key::PrivateKey;

const ALGORITHM: &str = "PBES2-HS256+A128KW";
const ENCRYPTION: &str = "A256GCM";
/// Rounds of PBKDF2 that protect a published provisioner key.
const PBES2_ROUNDS: u32 = 600_000;
/// The most rounds that are done for somebody else's key, as `step` has it: who published it says how many.
const MOST_ROUNDS: u32 = 1_000_000;

/// The random bytes of one JWE. Use each set once.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct JweRandom {
    /// PBKDF2 salt.
    pub salt: [u8; 16],
    /// Content encryption key.
    pub cek: [u8; 32],
    /// AES-GCM nonce.
    pub iv: [u8; 12],
}

/// Encrypts a P-256 private key under a password, as `step` publishes provisioner keys:
/// PBES2-HS256+A128KW with 600,000 rounds, A256GCM, compact form.
pub fn encrypt_private_jwk(key: &PrivateKey, password: &[u8], random: &JweRandom) -> Result<String, Error> {
    let public = Jwk::from_p256(key.public())?;
    let d = private_scalar(key)?;
    let plain = Zeroizing::new(format!(
        r#"{{"use":"sig","kty":"EC","kid":"{}","crv":"P-256","alg":"ES256","x":"{}","y":"{}","d":"{}"}}"#,
        public.kid,
        public.x.unwrap_or_default(),
        public.y.unwrap_or_default(),
        d.as_str()
    ));
    encrypt(plain.as_bytes(), password, random)
}

fn private_scalar(key: &PrivateKey) -> Result<Zeroizing<String>, Error> {
    let failed = |_| Error::Encode("private key");
    let pair = lc::EcdsaKeyPair::from_pkcs8(&lc::ECDSA_P256_SHA256_FIXED_SIGNING, key.pkcs8())
        .map_err(|_| Error::Encode("private key"))?;
    let scalar = AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(&pair.private_key())
        .map_err(failed)?;
    Ok(Zeroizing::new(BASE64URL.encode(scalar.as_ref())))
}

fn encrypt(plain: &[u8], password: &[u8], random: &JweRandom) -> Result<String, Error> {
    let failed = |_| Error::Encode("encrypted key");
    let header = format!(
        r#"{{"alg":"{ALGORITHM}","cty":"jwk+json","enc":"{ENCRYPTION}","p2c":{PBES2_ROUNDS},"p2s":"{}"}}"#,
        BASE64URL.encode(random.salt)
    );
    let kek = kek(password, &random.salt, PBES2_ROUNDS).ok_or(Error::Encode("encrypted key"))?;
    let mut wrapped = [0; 40];
    let wrapped = kek.wrap(&random.cek, &mut wrapped).map_err(failed)?;

    let header = BASE64URL.encode(header);
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &random.cek).map_err(failed)?);
    let mut sealed = Zeroizing::new(plain.to_vec());
    let nonce = Nonce::assume_unique_for_key(random.iv);
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::from(header.as_bytes()), &mut sealed)
        .map_err(failed)?;
    let parts = [&*wrapped, &random.iv, &sealed, tag.as_ref()].map(|part| BASE64URL.encode(part));
    Ok(format!("{header}.{}", parts.join(".")))
}

/// Opens what [`encrypt_private_jwk`] or `step` has made: an EC key, P-256, P-384 or P-521.
///
/// # Errors
/// If the password is another one, and if it is no such key. Whoever published it makes this program do 1,000,000 rounds at most.
pub fn decrypt_private_jwk(jwe: &str, password: &[u8]) -> Result<PrivateKey, Error> {
    let plain = decrypt(jwe, password)?;
    let key: PrivateJwk =
        serde_json::from_slice(&plain).map_err(|_| bad("what is in it is no JSON Web Key"))?;
    key.private_key()
}

/// The members of a private EC key (RFC 7518, section 6.2.2).
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct PrivateJwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    d: String,
}

impl PrivateJwk {
    fn private_key(&self) -> Result<PrivateKey, Error> {
        let (algorithm, size) = match (self.kty.as_str(), self.crv.as_str()) {
            ("EC", "P-256") => (&lc::ECDSA_P256_SHA256_ASN1_SIGNING, 32),
            ("EC", "P-384") => (&lc::ECDSA_P384_SHA384_ASN1_SIGNING, 48),
            ("EC", "P-521") => (&lc::ECDSA_P521_SHA512_ASN1_SIGNING, 66),
            _ => return Err(bad("its kind is not supported: use an EC key")),
        };
        let number = |text: &str| {
            let bytes = BASE64URL.decode(text).map(Zeroizing::new);
            let bytes = bytes.map_err(|_| bad("a number of the key is not base64url"))?;
            (bytes.len() == size)
                .then_some(bytes)
                .ok_or_else(|| bad("a number of the key has the wrong length"))
        };
        let point = [&[4][..], &number(&self.x)?, &number(&self.y)?].concat();
        let pair = lc::EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number(&self.d)?, &point);
        let pair = pair.map_err(|_| bad("the halves of the key do not belong together"))?;
        PrivateKey::from_ecdsa(pair)
    }
}

fn decrypt(jwe: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        enc: String,
        p2c: u32,
        p2s: String,
    }
    if jwe.len() > MAX_TOKEN {
        return Err(bad("it is too long"));
    }
    let parts: Vec<_> = jwe.split('.').collect();
    let [head, wrapped, iv, sealed, tag] = parts[..] else {
        return Err(bad("it has no five parts"));
    };
    let decode = |part: &str| BASE64URL.decode(part).map_err(|_| bad("a part is not base64url"));
    let header: Header =
        serde_json::from_slice(&decode(head)?).map_err(|_| bad("its header cannot be read"))?;
    if header.alg != ALGORITHM || header.enc != ENCRYPTION {
        return Err(bad("it is encrypted in another way than step does it"));
    }
    if header.p2c > MOST_ROUNDS {
        return Err(bad("it asks for more than 1,000,000 rounds"));
    }
    let kek = kek(password, &decode(&header.p2s)?, header.p2c).ok_or_else(|| bad("it asks for no rounds"))?;
    let other = |_| Error::Key("the password does not open the provisioner's key".into());
    let (wrapped, iv, mut sealed) = (decode(wrapped)?, decode(iv)?, decode(sealed)?);
    let mut cek = Zeroizing::new([0; 32]);
    if wrapped.len() != cek.len() + 8 {
        return Err(bad("the wrapped key has the wrong length"));
    }
    kek.unwrap(&wrapped, &mut *cek).map_err(other)?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*cek).map_err(other)?);
    let nonce = Nonce::try_assume_unique_for_key(&iv).map_err(|_| bad("the nonce has the wrong length"))?;
    sealed.extend(decode(tag)?);
    let mut sealed = Zeroizing::new(sealed);
    let length = cipher
        .open_in_place(nonce, Aad::from(head.as_bytes()), &mut sealed)
        .map_err(other)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}

/// The key that wraps the content's key; `None` for no rounds (RFC 7518, section 4.8.1).
fn kek(password: &[u8], salt: &[u8], rounds: u32) -> Option<AesKek> {
    let salt = [ALGORITHM.as_bytes(), &[0], salt].concat();
    let mut kek = Zeroizing::new([0; 16]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        std::num::NonZeroU32::new(rounds)?,
        &salt,
        password,
        &mut *kek,
    );
    AesKek::new(&AES_128, &*kek).ok()
}

fn bad(why: &str) -> Error {
    Error::malformed("encrypted key", why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn an_encrypted_key_is_the_one_that_step_decrypts() {
        let plain = r#"{"use":"sig","kty":"EC","kid":"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
        let counting = |start: u8| std::array::from_fn(|i| start + u8::try_from(i).unwrap());
        let random = JweRandom {
            salt: counting(0),
            cek: std::array::from_fn(|i| 0x20 + u8::try_from(i).unwrap()),
            iv: std::array::from_fn(|i| u8::try_from(i).unwrap()),
        };
        let jwe = encrypt(plain.as_bytes(), b"correct horse", &random).unwrap();
        let parts = [
            "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjYwMDAwMCwicDJzIjoiQUFFQ0F3UUZCZ2NJQ1FvTERBME9EdyJ9",
            "u34bM7roDim5KbYLDQRM_BFdyx3EJmJJQKIU0muJ2Ca4Br1lmglh-Q",
            "AAECAwQFBgcICQoL",
            "J3Ao1C8X0c7PkK7kClE1SGpS00YvUoQ9Bma63pm76fdnl2tKbVgRlb4troG0hnuCUH6ktz8CovDCW372ZtYv4i-EzivPmP-dfjS0X3saieOlB73i7S9nLUnzP2rvPtl7ZWMKvhBUbqHcI-TbxnkRWJ-3NTKtdS8Cy-fPa3FIoSpX4rZXUM95wuOBMckxkGKMS5ayNN5klyrUtHKllZ1lH5ipNSY7RzQ_sklzWfcTw4zxUjW43d9XQIqG_oGuytFgxAm8sk_lPvPTj9usWYNqHgbb6o8m8Bz9xy_C-GWdbPjZQ_QBCCIzs9xwa_QIQS9bYYpJT0VaL2gzQkCN6qg",
            "0ijxoJZDeSiaq1WfhKbVFA",
        ];
        assert_eq!(jwe, parts.join("."));
        let key = decrypt_private_jwk(&jwe, b"correct horse").unwrap();
        let public = Jwk::from_p256(key.public()).unwrap();
        assert_eq!(public.kid, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    }

    #[test]
    fn what_another_password_or_a_hostile_ca_gives_is_refused() {
        let key =
            PrivateKey::from_ecdsa(lc::EcdsaKeyPair::generate(&lc::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
                .unwrap();
        let random = JweRandom {
            salt: [1; 16],
            cek: [2; 32],
            iv: [3; 12],
        };
        let jwe = encrypt_private_jwk(&key, b"right", &random).unwrap();
        let opened = decrypt_private_jwk(&jwe, b"right").unwrap();
        assert_eq!(opened.public(), key.public());
        let why = decrypt_private_jwk(&jwe, b"wrong").unwrap_err().to_string();
        assert!(why.contains("the password does not open"), "{why}");
        let (head, rest) = jwe.split_once('.').unwrap();
        let header = String::from_utf8(BASE64URL.decode(head).unwrap()).unwrap();
        let with = |from: &str, to: &str| {
            assert!(header.contains(from));
            let head = BASE64URL.encode(header.replace(from, to));
            decrypt_private_jwk(&format!("{head}.{rest}"), b"right")
                .unwrap_err()
                .to_string()
        };
        assert!(with("600000", "4000000000").contains("more than 1,000,000 rounds"));
        assert!(with("600000", "0").contains("no rounds"));
        assert!(with("600000", "\"x\"").contains("its header cannot be read"));
        assert!(with("A256GCM", "A128GCM").contains("in another way"));
        // The header is sealed with what it describes.
        assert!(with("jwk+json", "jwk").contains("does not open"));
        for cut in [0, 1, head.len(), jwe.len() - 1] {
            assert!(decrypt_private_jwk(&jwe[..cut], b"right").is_err());
        }
        // Before it is taken apart.
        let long = decrypt_private_jwk(&"a.".repeat(MAX_TOKEN), b"right").unwrap_err();
        assert!(long.to_string().contains("too long"), "{long}");
    }
}
