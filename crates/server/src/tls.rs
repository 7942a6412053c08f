//! TLS of the CA API listener: who we are, and which client certificates are taken.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use muster_ca::Ca;
use muster_ca::authority::Authority;
use muster_ca::certificate::Serial;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

/// A certificate is kept for so long even if the issuing CA ends soon and cuts it short.
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);

/// Why the listener has no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority did not issue one.
    #[error("the listener got no certificate: {0}")]
    Identity(#[from] muster_ca::Error),
    /// The certificate, its key and the trust anchors do not make a configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The listener's TLS, which is made anew when its certificate ages and when authorities change.
pub(crate) struct Tls {
    ca: Arc<Ca>,
    current: ArcSwap<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    serial: Serial,
    made_for: Vec<Authority>,
    made_at: Timestamp,
    renew_at: Timestamp,
}

impl Tls {
    pub(crate) async fn new(ca: Arc<Ca>) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(make(&ca).await?);
        Ok(Self { ca, current })
    }

    /// The same identity for browsers: asked for a certificate, they would bother people with it.
    pub(crate) fn for_browsers(&self) -> Arc<ServerConfig> {
        self.current.load().web.clone()
    }

    /// What the next handshake uses.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// Makes it anew if it is time. What was there stays if that fails.
    pub(crate) async fn refresh(&self) -> Result<(), TlsError> {
        let current = self.current.load();
        let now = self.ca.now();
        // A clock that was set back would leave a certificate that begins in the future.
        let current_still = current.made_at <= now && now < current.renew_at;
        let current_still = current_still && self.ca.is_active(&current.serial).await?;
        if current_still && self.ca.authorities() == current.made_for {
            return Ok(());
        }
        self.current.store(Arc::new(make(&self.ca).await?));
        tracing::info!("the listener has a new certificate");
        Ok(())
    }
}

async fn make(ca: &Ca) -> Result<Current, TlsError> {
    let made_for = ca.authorities();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(KeyHolder::new(&made_for, provider.clone())?);
    let (issued, key) = ca.listener_identity().await?;
    let leaf = issued.certificate();
    // Clients hold the root alone, so that the issuing CA has to come along.
    let chain = vec![
        CertificateDer::from(leaf.der.clone()),
        CertificateDer::from(issued.issuing().to_vec()),
    ];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
    let builder = || {
        ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(setup)
    };
    let mut config = builder()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(setup)?;
    let mut web = builder()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(setup)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    web.alpn_protocols.clone_from(&config.alpn_protocols);
    let now = ca.now();
    let left = leaf.not_after.duration_since(now);
    Ok(Current {
        config: Arc::new(config),
        web: Arc::new(web),
        serial: leaf.serial.clone(),
        made_for,
        made_at: now,
        renew_at: now + (left / 2).max(SHORTEST),
    })
}

/// Asks for a client certificate, and proves no more than that the client holds its key.
///
/// Whether the certificate is one of ours, current and in good standing is judged by the authority, which compares it
/// with what it recorded byte for byte. That is stricter than a chain would be, takes servers that renew (whose
/// certificates are no client certificates), and lets a refusal say its reason where a handshake could only break off.
#[derive(Debug)]
struct KeyHolder {
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl KeyHolder {
    fn new(authorities: &[Authority], provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let generations = authorities.iter().flat_map(|authority| &authority.generations);
        let subjects =
            generations.map(|generation| generation.parsed()?.subject().map_err(muster_ca::Error::from));
        let hints = subjects
            .map(|subject| subject.map(DistinguishedName::from))
            .collect::<Result<_, _>>()?;
        Ok(Self { provider, hints })
    }
}

impl ClientCertVerifier for KeyHolder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn setup(why: impl std::fmt::Display) -> TlsError {
    TlsError::Setup(why.to_string())
}
