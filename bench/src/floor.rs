//! The crypto floor: what one certificate must cost, whatever the program around it.
//!
//! Under load every processor is busy, and processors that share a core slow each other down: on such a machine the same
//! signature takes up to half as long again as on an idle one. What a server spends under load is therefore compared with the
//! floor on all processors at once; the floor of one alone is told beside it.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
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

/// Microseconds of a processor for each certificate.
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

/// One round on every processor at once; takes about a second.
pub(crate) fn measure() -> Result<Floor> {
    let processors = thread::available_parallelism()?.get();
    let all = rounds(processors)?;
    let mean = |part: fn(&Floor) -> f64| all.iter().map(part).sum::<f64>() / processors as f64;
    Ok(Floor {
        request: mean(|floor| floor.request),
        token: mean(|floor| floor.token),
        sign: mean(|floor| floor.sign),
    })
}

/// One round on one processor, the others idle: microseconds for each certificate.
pub(crate) fn measure_alone() -> Result<f64> {
    Ok(rounds(1)?.iter().map(Floor::total).sum())
}

/// Rounds on so many threads; each part begins when everybody is there.
fn rounds(threads: usize) -> Result<Vec<Floor>> {
    let prepared = (0..threads)
        .map(|_| Prepared::new())
        .collect::<Result<Vec<_>>>()?;
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let all: Vec<_> = prepared
            .iter()
            .map(|one| scope.spawn(|| round(one, &start)))
            .collect();
        let joined = all.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|floor| floor.map_err(|_| "a thread failed")?)
            .collect()
    })
}

fn round(prepared: &Prepared, start: &Barrier) -> Result<Floor> {
    start.wait();
    let request = requests(&prepared.identities);
    start.wait();
    let token = verify(&prepared.provisioner, &prepared.tokens);
    start.wait();
    let sign = sign();
    // Only now: whoever fails must not keep the others waiting.
    Ok(Floor {
        request: request?,
        token: token?,
        sign: sign?,
    })
}

/// What is verified in a round.
struct Prepared {
    provisioner: Provisioner,
    identities: Vec<Identity>,
    tokens: Vec<(String, Vec<u8>)>,
}

impl Prepared {
    fn new() -> Result<Self> {
        let provisioner = Provisioner::unattached()?;
        let names: Vec<String> = (0..ROUND).map(|_| fresh_name()).collect();
        let identities = names
            .iter()
            .map(|name| Identity::new(name))
            .collect::<Result<_>>()?;
        let tokens = names
            .iter()
            .map(|name| token(&provisioner, name))
            .collect::<Result<_>>()?;
        Ok(Self {
            provisioner,
            identities,
            tokens,
        })
    }
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
