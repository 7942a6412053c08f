//! The crypto floor: what one certificate must cost, whatever the program around it.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, KeyPair,
    ParsedPublicKey, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use crate::Result;
use crate::identity::Identity;
use crate::load::fresh_name;
use crate::provisioner::Provisioner;

/// Requests in one round.
const ROUND: usize = 2000;
/// Bytes of a client certificate that are signed: what Muster's `client` profile comes to with pointers.
const TO_BE_SIGNED: usize = 620;

/// Microseconds for each certificate on one core.
#[derive(Clone, Copy)]
pub(crate) struct Floor {
    /// Verify the request's own signature, the key never seen before.
    pub(crate) request: f64,
    /// Verify the token with the provisioner's key, read once.
    pub(crate) token: f64,
    /// Sign the certificate.
    pub(crate) sign: f64,
}

impl Floor {
    /// All three together.
    pub(crate) fn total(&self) -> f64 {
        self.request + self.token + self.sign
    }
}

/// One round on the calling thread; takes about 0.3 s.
pub(crate) fn measure() -> Result<Floor> {
    let provisioner = Provisioner::unattached()?;
    let names: Vec<String> = (0..ROUND).map(|_| fresh_name()).collect();
    let identities = names
        .iter()
        .map(|name| Identity::new(name))
        .collect::<Result<Vec<_>>>()?;
    let tokens = names
        .iter()
        .map(|name| token(&provisioner, name))
        .collect::<Result<Vec<_>>>()?;
    Ok(Floor {
        request: requests(&identities)?,
        token: verify(&provisioner, &tokens)?,
        sign: sign()?,
    })
}

fn token(provisioner: &Provisioner, name: &str) -> Result<(String, Vec<u8>)> {
    let token = provisioner.token(name)?;
    let (signed, signature) = token.rsplit_once('.').ok_or("no token")?;
    Ok((signed.to_owned(), BASE64URL.decode(signature)?))
}

fn requests(identities: &[Identity]) -> Result<f64> {
    let begun = Instant::now();
    for identity in identities {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, identity.key.public_key().as_ref());
        key.verify(&identity.to_be_signed, &identity.signature)?;
    }
    Ok(each(begun, identities.len()))
}

fn verify(provisioner: &Provisioner, tokens: &[(String, Vec<u8>)]) -> Result<f64> {
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, provisioner.public_key())?;
    let begun = Instant::now();
    for (signed, signature) in tokens {
        key.verify_sig(signed.as_bytes(), signature)?;
    }
    Ok(each(begun, tokens.len()))
}

fn sign() -> Result<f64> {
    let (authority, random) = (
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
        SystemRandom::new(),
    );
    let mut leaf = [0x30; TO_BE_SIGNED];
    let begun = Instant::now();
    for serial in 0..ROUND {
        leaf[..8].copy_from_slice(&serial.to_be_bytes());
        black_box(authority.sign(&random, &leaf)?);
    }
    Ok(each(begun, ROUND))
}

fn each(begun: Instant, count: usize) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / count as f64
}
