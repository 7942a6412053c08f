//! The broker's listener, as a client meets it.
//!
//! The other end is verified by more than its name: it has to show the very certificate that the agent brought to the broker.

mod web_socket;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::BytesMut;
use muster_pki::cert::Certificate;
use muster_pki::name::San;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectAuth, ConnectReturnCode, Disconnect, Packet, PingReq, Publish, Subscribe,
};
use rumqttc::mqttbytes::{self, QoS};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WantsClientCert};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Error;
use crate::pair::Pair;
use crate::pair::{client_chain, provider};

/// How long one step of a connection may take.
const STEP: Duration = Duration::from_secs(3);
/// How often a session that is held says that it is there, and what it promised the broker.
const PING: Duration = Duration::from_secs(20);
const KEEP_ALIVE: u16 = 60;
/// The longest packet that is taken from a broker: nothing but acknowledgements is expected.
const MAX_PACKET: usize = 4096;

/// The client id of somebody who shows no certificate.
pub(crate) const NOBODY: &str = "muster-canary.nobody";

/// What a client that tried to connect has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It was let in.
    Accepted,
    /// Its certificate was refused, or something else in the handshake.
    Alert(AlertDescription),
    /// The handshake went well, and the broker refused the session.
    Refused(ConnectReturnCode),
    /// The broker hung up and did not say why.
    Closed,
    /// Another server certificate than the one that the agent brought.
    Foreign,
    /// Nobody answers there.
    Unreachable(String),
    /// Something answers that speaks no MQTT over TLS.
    Strange(String),
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted => f.write_str("it was let in"),
            Self::Alert(AlertDescription::CertificateRevoked) => {
                f.write_str("it was refused as revoked (alert 44)")
            }
            Self::Alert(AlertDescription::CertificateExpired) => f.write_str(
                "it was refused as expired (alert 45): the CRL that the broker holds has run out, or its clock is ahead",
            ),
            Self::Alert(AlertDescription::UnknownCA) => {
                f.write_str("it was refused as unknown (alert 48): the broker lacks its CA, or that CA's CRL")
            }
            Self::Alert(AlertDescription::HandshakeFailure) => f.write_str(
                "the handshake failed (alert 40): the broker cannot read its key; is the agent's --group the broker's?",
            ),
            Self::Alert(AlertDescription::ProtocolVersion) => {
                f.write_str("the listener refuses TLS 1.2 (alert 70); allow it, since only there is the reason certain")
            }
            Self::Alert(alert) => write!(f, "the handshake failed ({alert:?})"),
            Self::Refused(code) => write!(f, "the broker refused the session ({code:?})"),
            Self::Closed => f.write_str("the broker hung up"),
            Self::Foreign => f.write_str("the listener shows another certificate than the agent's"),
            Self::Unreachable(why) => write!(f, "nobody answers: {why}"),
            Self::Strange(why) => write!(f, "the listener speaks no MQTT over TLS: {why}"),
        }
    }
}

/// Which versions of TLS a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// 1.2 alone: there, the client always hears why it is refused.
    Only12,
    /// Whatever is best.
    Best,
}

/// Where a broker listens.
#[derive(Debug, Clone)]
pub struct Listener {
    address: String,
    pins: Arc<Pins>,
}

impl Listener {
    /// `HOST:PORT`
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            pins: Arc::new(Pins {
                certificates: RwLock::default(),
                provider: provider(),
            }),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificates that the broker may show: its present one, and the one before while it takes up another.
    pub fn pin(&self, certificates: &[&Certificate]) {
        let pinned = certificates.iter().map(|one| one.der().to_vec()).collect();
        if let Ok(mut pins) = self.pins.certificates.write() {
            *pins = pinned;
        }
    }

    /// Connects, shows a certificate and begins a clean session under `client_id`.
    pub async fn connect(&self, shown: &Pair, client_id: &str, tls: Tls) -> Result<Session, Seen> {
        let config = self.client(Some(shown), tls, false);
        let config = config.map_err(|why| Seen::Strange(why.0))?;
        self.connect_as(&config, client_id).await
    }

    /// The same with what [`Self::client`] has made.
    pub async fn connect_as(&self, config: &Arc<ClientConfig>, client_id: &str) -> Result<Session, Seen> {
        self.start(config, Connect::new(client_id)).await
    }

    /// The same with a user name of its own choice, and an empty password.
    pub async fn connect_claiming(
        &self,
        config: &Arc<ClientConfig>,
        client_id: &str,
        user: &str,
    ) -> Result<Session, Seen> {
        let mut connect = Connect::new(client_id);
        connect.auth = ConnectAuth::UsernamePassword {
            username: user.to_owned(),
            password: bytes::Bytes::new(),
        };
        self.start(config, connect).await
    }

    async fn start(&self, config: &Arc<ClientConfig>, connect: Connect) -> Result<Session, Seen> {
        let mut session = Session {
            stream: self.handshake(config).await?,
            buffer: BytesMut::new(),
        };
        session.begin(connect).await?;
        Ok(session)
    }

    /// Begins a session over WebSocket (RFC 6455) and drops it; whether by an earlier TLS session.
    pub async fn connect_web(&self, config: &Arc<ClientConfig>, client_id: &str) -> Result<bool, Seen> {
        let mut stream = self.handshake(config).await?;
        let resumed = is_resumed(&stream);
        if !within(web_socket::upgraded(&mut stream))
            .await?
            .map_err(|why| seen(&why))?
        {
            return Err(Seen::Strange("it gives no WebSocket".into()));
        }
        let connect = written(Connect::new(client_id))?;
        let answer = within(web_socket::exchanged(&mut stream, &connect)).await?;
        let mut answer = BytesMut::from(&*answer.map_err(|why| seen(&why))?);
        let answer = Packet::read(&mut answer, MAX_PACKET);
        granted(&answer.map_err(|why| Seen::Strange(why.to_string()))?)?;
        Ok(resumed)
    }

    /// What is spoken here without TLS, if anything is.
    pub async fn without_tls(&self) -> Result<Option<&'static str>, Seen> {
        let connect = written(Connect::new(NOBODY))?;
        let mut answer = [0; 2];
        let mut tcp = self.tcp().await?;
        let asked = async {
            tcp.write_all(&connect).await?;
            tcp.read_exact(&mut answer).await
        };
        // A CONNACK, whatever it says.
        if matches!(within(asked).await, Ok(Ok(_))) && answer == [0x20, 2] {
            return Ok(Some("MQTT"));
        }
        let mut tcp = self.tcp().await?;
        let web = matches!(within(web_socket::upgraded(&mut tcp)).await, Ok(Ok(true)));
        Ok(web.then_some("WebSocket"))
    }

    /// What the listener answers to the first bytes of a connection: its first TLS record, kind and content (RFC 8446, section 5.1).
    pub async fn first_record(&self, bytes: &[u8]) -> Result<(u8, Vec<u8>), Seen> {
        let mut tcp = self.tcp().await?;
        let asked = async {
            tcp.write_all(bytes).await?;
            let mut head = [0; 5];
            tcp.read_exact(&mut head).await?;
            let mut content = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            tcp.read_exact(&mut content).await?;
            Ok((head[0], content))
        };
        within(asked).await?.map_err(|why| seen(&why))
    }

    /// The CAs whose certificates it asks for, each by its subject (DER); none if it names none.
    pub async fn asks_for(&self) -> Result<Vec<Vec<u8>>, Seen> {
        let asked = Arc::new(Asked::default());
        let builder = self.builder(Tls::Best).map_err(|why| Seen::Strange(why.0))?;
        let mut config = builder.with_client_cert_resolver(asked.clone());
        config.resumption = rustls::client::Resumption::disabled();
        // Who shows nothing may be refused; the names came before.
        if let Err(seen @ (Seen::Unreachable(_) | Seen::Foreign)) = self.handshake(&Arc::new(config)).await {
            return Err(seen);
        }
        Ok(asked.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn tcp(&self) -> Result<TcpStream, Seen> {
        let tcp = within(TcpStream::connect(&self.address)).await?;
        let tcp = tcp.map_err(|why| Seen::Unreachable(why.to_string()))?;
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    async fn handshake(&self, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Seen> {
        let tcp = self.tcp().await?;
        let handshake = TlsConnector::from(config.clone()).connect(self.name(), tcp);
        within(handshake).await?.map_err(|why| seen(&why))
    }

    /// A client that shows a certificate or none, and resumes its sessions or does not.
    pub fn client(&self, shown: Option<&Pair>, tls: Tls, resumes: bool) -> Result<Arc<ClientConfig>, Error> {
        let builder = self.builder(tls)?;
        let mut config = match shown {
            Some(shown) => {
                let (chain, key) = client_chain(shown)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|why| cannot(&why))?
            }
            None => builder.with_no_client_auth(),
        };
        // Each connection has to be judged by the lists that are in force.
        if !resumes {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Ok(Arc::new(config))
    }

    fn builder(&self, tls: Tls) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match tls {
            Tls::Only12 => &[&rustls::version::TLS12],
            Tls::Best => rustls::DEFAULT_VERSIONS,
        };
        let builder = ClientConfig::builder_with_provider(self.pins.provider.clone())
            .with_protocol_versions(versions)
            .map_err(|why| cannot(&why))?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(self.pins.clone()))
    }

    /// The name to ask for: one of those in the certificate, else the address.
    fn name(&self) -> ServerName<'static> {
        let pinned = self.pins.certificates.read().ok();
        let names = pinned.into_iter().flat_map(|pins| {
            let first = pins.first().and_then(|der| Certificate::from_der(der).ok());
            first.map(|certificate| certificate.sans()).unwrap_or_default()
        });
        let dns = names.filter_map(|san| match san {
            San::Dns(name) => ServerName::try_from(name).ok(),
            San::Ip(_) | San::Email(_) | San::Uri(_) => None,
        });
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        dns.into_iter()
            .next()
            .or(host.ok())
            .unwrap_or_else(|| ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()))
    }
}

/// A session with the broker.
#[derive(Debug)]
pub struct Session {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Session {
    async fn begin(&mut self, connect: Connect) -> Result<(), Seen> {
        self.send(&written(connect)?).await?;
        // A broker without TCP_NODELAY holds its answer back until TLS 1.3's tickets are acknowledged: 40 ms later, else.
        let _ = rustix::net::sockopt::set_tcp_quickack(self.stream.get_ref().0, true);
        granted(&within(self.packet()).await??)
    }

    /// Stays until the broker ends the session.
    pub async fn hold(&mut self) {
        let mut ping = BytesMut::new();
        if PingReq.write(&mut ping).is_err() {
            return;
        }
        loop {
            match tokio::time::timeout(PING, self.packet()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    let sent = async {
                        self.stream.write_all(&ping).await?;
                        self.stream.flush().await
                    };
                    if !matches!(within(sent).await, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether its TLS session is an earlier one.
    pub fn resumed(&self) -> bool {
        is_resumed(&self.stream)
    }

    /// Whether the broker ends it within this time.
    pub async fn ends(&mut self, bound: Duration) -> bool {
        matches!(tokio::time::timeout(bound, self.packet()).await, Ok(Err(_)))
    }

    /// Whether the broker still answers.
    pub async fn answers(&mut self) -> bool {
        let mut ping = BytesMut::new();
        PingReq.write(&mut ping).is_ok()
            && self.send(&ping).await.is_ok()
            && matches!(within(self.packet()).await, Ok(Ok(Packet::PingResp)))
    }

    /// Subscribes with QoS 0, and waits for the answer, which may be that it is not allowed.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), Seen> {
        let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
        subscribe.pkid = 1;
        let mut bytes = BytesMut::new();
        let written = subscribe.write(&mut bytes);
        written.map_err(|why| Seen::Strange(why.to_string()))?;
        self.send(&bytes).await?;
        within(self.packet()).await?.map(drop)
    }

    /// Publishes an empty message with QoS 0.
    pub async fn publish(&mut self, topic: &str) -> Result<(), Seen> {
        let mut bytes = BytesMut::new();
        let written = Publish::new(topic, QoS::AtMostOnce, Vec::new()).write(&mut bytes);
        written.map_err(|why| Seen::Strange(why.to_string()))?;
        self.send(&bytes).await
    }

    /// Whether a message comes within this time.
    pub async fn receives(&mut self, bound: Duration) -> bool {
        let packet = tokio::time::timeout(bound, self.packet()).await;
        matches!(packet, Ok(Ok(Packet::Publish(_))))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Seen> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        within(sent).await?.map_err(|why| seen(&why))
    }

    /// Leaves in good order.
    pub async fn leave(mut self) {
        let mut bytes = BytesMut::new();
        if Disconnect.write(&mut bytes).is_ok() {
            let _ = within(self.stream.write_all(&bytes)).await;
            let _ = within(self.stream.shutdown()).await;
        }
    }

    async fn packet(&mut self) -> Result<Packet, Seen> {
        loop {
            match Packet::read(&mut self.buffer, MAX_PACKET) {
                Ok(packet) => return Ok(packet),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(why) => return Err(Seen::Strange(why.to_string())),
            }
            if self
                .stream
                .read_buf(&mut self.buffer)
                .await
                .map_err(|why| seen(&why))?
                == 0
            {
                return Err(Seen::Closed);
            }
        }
    }
}

fn cannot(why: &rustls::Error) -> Error {
    Error::new(format!("TLS to the broker cannot be set up: {why}"))
}

fn written(mut connect: Connect) -> Result<BytesMut, Seen> {
    connect.keep_alive = KEEP_ALIVE;
    let mut bytes = BytesMut::new();
    let written = connect.write(&mut bytes);
    written.map_err(|why| Seen::Strange(why.to_string()))?;
    Ok(bytes)
}

/// Whether a broker's first packet lets the client in.
fn granted(answer: &Packet) -> Result<(), Seen> {
    let Packet::ConnAck(answer) = answer else {
        return Err(Seen::Strange("its first packet is no CONNACK".into()));
    };
    if answer.code == ConnectReturnCode::Success {
        Ok(())
    } else {
        Err(Seen::Refused(answer.code))
    }
}

fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
}

async fn within<T>(step: impl Future<Output = T>) -> Result<T, Seen> {
    let slow = |_| Seen::Unreachable("no answer within 3 s".into());
    tokio::time::timeout(STEP, step).await.map_err(slow)
}

/// What went wrong, in rustls's words if they are in there.
fn seen(why: &std::io::Error) -> Seen {
    let inner = why
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => Seen::Alert(*alert),
        Some(rustls::Error::InvalidCertificate(_)) => Seen::Foreign,
        Some(other) => Seen::Strange(other.to_string()),
        None => Seen::Closed,
    }
}

/// Believes exactly these certificates, whoever signed them: the agent itself brought them.
#[derive(Debug)]
struct Pins {
    certificates: RwLock<Vec<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let known = self
            .certificates
            .read()
            .is_ok_and(|pins| pins.iter().any(|pin| pin == end_entity.as_ref()));
        if known {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
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

/// Takes note of the names in a certificate request, and shows nothing.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, names: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let names = names.iter().map(|name| name.to_vec()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}
