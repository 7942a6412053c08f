//! How long a full CRL takes to build and sign.

use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::{Issuer, assemble};
use muster_pki::crl::{CrlTemplate, Entry, Reason};
use muster_pki::key::SignatureAlgorithm;
use muster_pki::name;

use crate::Result;

/// Seconds to build and sign one list of `count` certificates with a P-256 key, from entries in memory to DER.
pub(crate) fn measure(count: u32) -> Result<f64> {
    let now = Timestamp::now();
    let entries: Vec<Entry> = (0..count).map(|index| entry(index, now)).collect::<Result<_>>()?;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let algorithm = SignatureAlgorithm::EcdsaSha256;
    let issuer_name = name::to_der(&name::common_name("Bench Issuing CA")?)?;
    let issuer = Issuer {
        name: issuer_name,
        key_id: vec![7; 20],
        algorithm,
    };

    let begun = Instant::now();
    let template = CrlTemplate {
        number: 1,
        this_update: now,
        next_update: now + SignedDuration::from_hours(30 * 24),
        entries: &entries,
    };
    let to_be_signed = template.to_be_signed(&issuer)?;
    let signature = key.sign(&SystemRandom::new(), &to_be_signed)?;
    let list = assemble(&to_be_signed, algorithm, signature.as_ref())?;
    let elapsed = begun.elapsed().as_secs_f64();

    if list.len() < count as usize * 30 {
        return Err("the CRL is shorter than its entries".into());
    }
    Ok(elapsed)
}

fn entry(index: u32, now: Timestamp) -> Result<Entry> {
    let mut serial = vec![0; 16];
    aws_lc_rs::rand::fill(&mut serial)?;
    // Positive and never padded, like the serials that Muster gives.
    serial[0] = 0x19;
    Ok(Entry {
        serial,
        revoked_at: now - SignedDuration::from_secs(index.into()),
        reason: Reason::KeyCompromise,
    })
}
