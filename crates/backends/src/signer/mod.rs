//! Signers: where the authorities' private keys are kept, and how keys are made.

pub mod file;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use muster_ca::ports::SignerError;
use muster_pki::key::{KeyKind, PrivateKey};
use zeroize::Zeroizing;

/// Makes a key pair in memory with the generator of aws-lc. RSA comes in 2048, 3072 and 4096 bits and takes from tens
/// of milliseconds to seconds.
pub fn generate(kind: KeyKind) -> Result<PrivateKey, SignerError> {
    let pkcs8 = match kind {
        KeyKind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
        KeyKind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)?,
        KeyKind::P521 => ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING)?,
        KeyKind::Ed25519 => ed25519()?,
        KeyKind::Rsa(2048) => rsa(KeySize::Rsa2048)?,
        KeyKind::Rsa(3072) => rsa(KeySize::Rsa3072)?,
        KeyKind::Rsa(4096) => rsa(KeySize::Rsa4096)?,
        KeyKind::Rsa(bits) => {
            return Err(SignerError::Failed(format!(
                "RSA keys of {bits} bits are not made: use 2048, 3072 or 4096"
            )));
        }
    };
    PrivateKey::from_pkcs8(pkcs8).map_err(|why| SignerError::Failed(why.to_string()))
}

type Pkcs8 = Result<Zeroizing<Vec<u8>>, SignerError>;

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Pkcs8 {
    let pair = EcdsaKeyPair::generate(algorithm).map_err(not_made)?;
    Ok(Zeroizing::new(
        pair.to_pkcs8v1().map_err(not_made)?.as_ref().to_vec(),
    ))
}

/// Version 1 of PKCS#8, since OpenSSL before 3.2 does not read a version 2 with the public key in it.
fn ed25519() -> Pkcs8 {
    let pair = Ed25519KeyPair::generate().map_err(not_made)?;
    Ok(Zeroizing::new(
        pair.to_pkcs8v1().map_err(not_made)?.as_ref().to_vec(),
    ))
}

fn rsa(size: KeySize) -> Pkcs8 {
    let pair = RsaKeyPair::generate(size).map_err(not_made)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(not_made)?;
    Ok(Zeroizing::new(der.as_ref().to_vec()))
}

fn not_made(_: aws_lc_rs::error::Unspecified) -> SignerError {
    SignerError::Failed("a key could not be made".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn every_kind_can_be_made_and_signs() {
        let kinds = [
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::P521,
            KeyKind::Ed25519,
            KeyKind::Rsa(2048),
        ];
        for kind in kinds {
            let key = generate(kind).unwrap();
            assert_eq!(key.public().kind(), kind);
            let signature = key.sign(b"message").unwrap();
            key.public()
                .verify(kind.signature_algorithm(), b"message", &signature)
                .unwrap();
            assert_ne!(generate(kind).unwrap().public(), key.public());
        }
    }

    #[test]
    fn other_sizes_of_rsa_are_refused() {
        assert!(matches!(
            generate(KeyKind::Rsa(2560)),
            Err(SignerError::Failed(_))
        ));
    }
}
