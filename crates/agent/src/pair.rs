//! Certificates with their keys, and what TLS is given of them.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use muster_pki::cert::Certificate;
use muster_pki::key::PrivateKey;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::Error;

/// A certificate with its chain and key, as a TLS client shows it.
#[derive(Debug)]
pub struct Pair {
    chain: Vec<Certificate>,
    key: PrivateKey,
}

impl Pair {
    /// Certificates, leaf first, and the leaf's key, if they belong together.
    pub fn new(chain: Vec<Certificate>, key: PrivateKey) -> Result<Self, Error> {
        match chain.first() {
            Some(leaf) if leaf.key() == key.public() => Ok(Self { chain, key }),
            Some(_) => Err(Error::new("a certificate and its key do not belong together")),
            None => Err(Error::new("a certificate is missing")),
        }
    }

    /// Reads certificates and their key from one PEM text.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::new(Certificate::all_from_pem(text)?, PrivateKey::from_pem(text)?)
    }

    /// The same as one text: key, then certificates.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        let mut text = self.key.to_pem()?;
        for certificate in &self.chain {
            text.push_str(&certificate.to_pem()?);
        }
        Ok(text)
    }

    /// The certificate itself.
    pub fn leaf(&self) -> &Certificate {
        // `new`, the only way to make one, sees to it that there is a first.
        &self.chain[0]
    }

    /// The certificate and those above it.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The certificate's key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The same, kept.
    pub(crate) fn into_key(self) -> PrivateKey {
        self.key
    }
}

/// A new P-256 key.
pub fn new_key() -> Result<PrivateKey, Error> {
    let failed = |_| Error::new("no key could be made");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
    Ok(PrivateKey::from_pkcs8(Zeroizing::new(pkcs8.as_ref().to_vec()))?)
}

/// The one crypto provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// As rustls takes it.
pub(crate) fn client_chain(
    pair: &Pair,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = pair.chain().iter().map(|one| one.der().to_vec().into()).collect();
    let key = PrivatePkcs8KeyDer::from(pair.key().pkcs8().to_vec());
    Ok((chain, key.into()))
}
