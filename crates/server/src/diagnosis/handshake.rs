//! One connection: the handshake, which takes whatever the client shows, and what is seen of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_ca::diagnosis::{End, Knock};
use muster_ca::{Ca, Error};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::connect;

/// The most certificates of a chain that are looked at, and the most bytes of each.
const CHAIN: (usize, usize) = (4, 16 * 1024);

/// What is seen of one connection, as it goes on.
pub(super) struct Seen {
    pub(super) knock: Knock,
    /// Whether anything came: who connects and says nothing is nobody.
    pub(super) came: bool,
}

impl Seen {
    pub(super) fn new(address: IpAddr) -> Self {
        let knock = Knock {
            address,
            chain: Vec::new(),
            proved: false,
            server_name: None,
            client_id: None,
            end: End::BrokeOff,
        };
        Self { knock, came: false }
    }
}

/// A certificate of the listener's own, with a key that is in memory alone.
pub(super) async fn identity(ca: &Ca) -> Result<CertifiedKey, Error> {
    let (issued, key) = ca.listener_identity().await?;
    let chain = vec![
        CertificateDer::from(issued.certificate().der.clone()),
        CertificateDer::from(issued.issuing().to_vec()),
    ];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
    let key = any_supported_type(&key).map_err(|why| Error::Internal(why.to_string()))?;
    Ok(CertifiedKey::new(chain, key))
}

/// Shakes hands, reads the CONNECT, gives the answer that everybody gets.
pub(super) async fn look(stream: TcpStream, identity: Arc<CertifiedKey>, seen: &mut Seen) {
    const HANDSHAKE_RECORD: u8 = 22;
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => seen.came = true,
        _ => return,
    }
    if first[0] != HANDSHAKE_RECORD {
        seen.knock.end = End::NoTls;
        return plain(stream, seen).await;
    }
    let proved = Arc::new(AtomicBool::new(false));
    let hello = match LazyConfigAcceptor::new(Acceptor::default(), stream).await {
        Ok(hello) => hello,
        Err(error) => return seen.knock.end = end(&error),
    };
    seen.knock.server_name = hello.client_hello().server_name().map(str::to_owned);
    let Ok(config) = config(identity, proved.clone()) else {
        return tracing::error!("the diagnosis listener has no TLS");
    };
    let stream = match hello.into_stream(config).await {
        Ok(stream) => stream,
        Err(error) => return seen.knock.end = end(&error),
    };
    seen.knock.end = End::Finished;
    seen.knock.proved = proved.load(Ordering::Relaxed);
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let fits = shown.iter().filter(|one| one.len() <= CHAIN.1);
    seen.knock.chain = fits.take(CHAIN.0).map(|one| one.to_vec()).collect();
    converse(stream, seen).await;
}

/// Reads the CONNECT of who came without TLS.
async fn plain(mut stream: TcpStream, seen: &mut Seen) {
    let mut bytes = Vec::new();
    loop {
        let read = connect::read(&bytes);
        if let connect::Read::Connect(id, five) = read {
            seen.knock.client_id = Some(id);
            let _ = stream.write_all(connect::answer(five)).await;
            return;
        }
        let wanting = read == connect::Read::More;
        if !wanting || !matches!(stream.read_buf(&mut bytes).await, Ok(read) if read > 0) {
            return;
        }
    }
}

/// The same within TLS. Under TLS 1.3 a client's alert may come only now: it hears late that it was answered.
async fn converse(mut stream: TlsStream<TcpStream>, seen: &mut Seen) {
    let mut bytes = Vec::new();
    loop {
        let read = connect::read(&bytes);
        if let connect::Read::Connect(id, five) = read {
            seen.knock.client_id = Some(id);
            let _ = stream.write_all(connect::answer(five)).await;
            let _ = stream.shutdown().await;
            return;
        }
        if read == connect::Read::Other {
            return;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                if let Some(refused) = refused(&error) {
                    seen.knock.end = refused;
                }
                return;
            }
        }
    }
}

fn config(identity: Arc<CertifiedKey>, proved: Arc<AtomicBool>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Anybody {
        provider: provider.clone(),
        proved,
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.as_ref().clone())));
    // Nothing is resumed: a certificate is shown each time.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn end(error: &std::io::Error) -> End {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if matches!(tls, Some(rustls::Error::PeerIncompatible(_))) {
        End::OldTls
    } else if matches!(tls, Some(rustls::Error::InvalidMessage(_))) {
        End::NoTls
    } else {
        refused(error).unwrap_or(End::BrokeOff)
    }
}

/// What the client's alert says of the server's certificate.
fn refused(error: &std::io::Error) -> Option<End> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = tls else {
        return None;
    };
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the others say nothing about a certificate"
    )]
    match alert {
        AlertDescription::UnknownCA => Some(End::UnknownCa),
        AlertDescription::CertificateExpired => Some(End::ServerExpired),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => Some(End::ServerBad),
        AlertDescription::InternalError => Some(End::InternalError),
        AlertDescription::ProtocolVersion => Some(End::OldTls),
        _ => None,
    }
}

/// Asks for a certificate and takes any, also one that cannot be read: what it is worth is judged afterwards.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
    proved: Arc<AtomicBool>,
}

impl Anybody {
    fn note(&self, verified: &Result<HandshakeSignatureValid, rustls::Error>) {
        self.proved.store(verified.is_ok(), Ordering::Relaxed);
    }
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: some clients keep a certificate back that no name here would be the issuer of.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
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
        let algorithms = &self.provider.signature_verification_algorithms;
        self.note(&verify_tls12_signature(message, cert, dss, algorithms));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.note(&verify_tls13_signature(message, cert, dss, algorithms));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
