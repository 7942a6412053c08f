//! A whole server on loopback, and a client that writes its bytes by hand.
#![allow(unreachable_pub, reason = "it is only for the tests beside it")]

pub mod browser;
pub mod crawl;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use muster_backends::signer::file::FileSigner;
use muster_backends::signer::generate;
use muster_backends::store::sqlite::SqliteStore;
use muster_ca::audit::Act;
use muster_ca::ports::{Change, Clock, Entropy, SignerError, Store, Write};
use muster_ca::profile::Profiles;
use muster_ca::provisioner::Provisioner;
use muster_ca::setup::Founding;
use muster_ca::{Ca, Parts, Settings};
use muster_pki::csr::Csr;
use muster_pki::jose::Jwk;
use muster_pki::key::{KeyKind, PrivateKey};
use muster_server::{Edge, Listeners};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The real clock, put forward by so many seconds.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicI64>);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "TLS on both sides reads the real clock, so the test has to"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

pub struct RealEntropy;

impl Entropy for RealEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        SystemRandom::new().fill(bytes).unwrap();
    }

    fn private_key(&self, kind: KeyKind) -> Result<PrivateKey, SignerError> {
        generate(kind)
    }
}

/// A provisioner's key, and the name under which the server knows it.
pub struct Issuer {
    pair: EcdsaKeyPair,
    kid: String,
}

pub struct Server {
    pub edge: Edge,
    pub root: Vec<u8>,
    pub api: SocketAddr,
    pub public: SocketAddr,
    pub web: SocketAddr,
    pub socket: PathBuf,
    pub issuer: Issuer,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<Result<(), muster_server::ServeError>>,
    dir: tempfile::TempDir,
    ahead: Ahead,
}

pub const PROVISIONER: &str = "test";

impl Server {
    pub async fn start() -> Self {
        Self::start_web("127.0.0.1:0", "/").await
    }

    /// With the GUI at this address, below this path.
    pub async fn start_web(listen: &str, base_path: &str) -> Self {
        Self::start_holding(listen, base_path, Vec::new()).await
    }

    /// The same, with these changes in its store, which nobody has judged.
    pub async fn start_holding(listen: &str, base_path: &str, changes: Vec<Change>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::create(&dir.path().join("muster.db"), [7; 16]).unwrap());
        let secret = || b"a passphrase of a test".to_vec().into();
        let ahead = Ahead::default();
        let parts = |store: Arc<SqliteStore>| Parts {
            store,
            signer: Arc::new(FileSigner::open(&dir.path().join("keys"), secret()).unwrap()),
            clock: Arc::new(ahead.clone()),
            entropy: Arc::new(RealEntropy),
            settings: Settings {
                dns: vec!["localhost".into(), "127.0.0.1".into()],
                public_url: None,
                profiles: Profiles::new(&Default::default()).unwrap(),
            },
        };
        let root_signer = FileSigner::open(&dir.path().join("root"), secret()).unwrap();
        let founding = Founding {
            name: "Test",
            provisioner: "iot-devices",
            password: "0123456789abcdefghijklmnop",
            root_signer: &root_signer,
            import: None,
        };
        Ca::found(parts(store.clone()), founding).await.unwrap();
        let issuer = add_provisioner(&*store).await;
        for change in changes {
            store.commit(change).await.unwrap();
        }
        let ca = Arc::new(Ca::open(parts(store)).await.unwrap());
        let settings = muster_server::Settings {
            name: "Test <CA>".into(),
            ca_url: "https://ca.example.org:9000".into(),
            public_url: "http://ca.example.org:9080".into(),
            diagnosis_listen: ([127, 0, 0, 1], 0).into(),
            base_path: base_path.into(),
            hosts: vec!["ca.example.org".into()],
            trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()],
            revoke_limit: 2,
            second_operator: true,
            setup_link: dir.path().join("setup-link"),
            data: dir.path().to_owned(),
            configured: vec![muster_server::Configured {
                key: "public_url",
                value: "http://<b>.example.org".into(),
                origin: "MUSTER_PUBLIC_URL".into(),
            }],
        };
        let web = TcpListener::bind(listen).await.unwrap();
        Self {
            ahead,
            ..Self::serve(dir, ca, issuer, web, settings).await
        }
    }

    async fn serve(
        dir: tempfile::TempDir,
        ca: Arc<Ca>,
        issuer: Issuer,
        web: TcpListener,
        settings: muster_server::Settings,
    ) -> Self {
        let authorities = ca.authorities();
        let default = authorities
            .iter()
            .find(|authority| authority.name == "default")
            .unwrap();
        let root = default.root().unwrap().certificate.clone();
        let socket = dir.path().join("muster.sock");
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (api_address, public_address) = (api.local_addr().unwrap(), public.local_addr().unwrap());
        let web_address = web.local_addr().unwrap();
        let local = UnixListener::bind(&socket).unwrap();
        let edge = Edge::new(ca, Arc::new(Vec::new), settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let served = tokio::spawn(muster_server::serve(
            edge.clone(),
            Listeners {
                api,
                public,
                web,
                local,
            },
            stopped,
        ));
        Self {
            edge,
            root,
            api: api_address,
            public: public_address,
            web: web_address,
            socket,
            issuer,
            stop: Some(stop),
            served,
            dir,
            ahead: Ahead::default(),
        }
    }

    /// Lets so much time go by.
    pub fn pass(&self, time: SignedDuration) {
        self.ahead.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    pub async fn tls(&self, identity: Option<&Identity>) -> TlsStream<TcpStream> {
        self.try_tls(identity).await.unwrap()
    }

    pub async fn try_tls(&self, identity: Option<&Identity>) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_to(self.api, identity).await
    }

    /// TLS with one of the listeners.
    pub async fn tls_to(
        &self,
        address: SocketAddr,
        identity: Option<&Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.root.as_slice())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.pkcs8().to_vec()));
                // The leaf alone, as many clients have it.
                builder
                    .with_client_auth_cert(vec![CertificateDer::from(identity.leaf.clone())], key)
                    .unwrap()
            }
        };
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One request on a connection of its own to the CA API.
    pub async fn api(&self, request: &str) -> Answer {
        exchange(self.tls(None).await, request.as_bytes()).await
    }

    pub async fn api_as(&self, identity: &Identity, request: &str) -> Answer {
        exchange(self.tls(Some(identity)).await, request.as_bytes()).await
    }

    pub async fn public(&self, request: &str) -> Answer {
        exchange(TcpStream::connect(self.public).await.unwrap(), request.as_bytes()).await
    }

    /// Where the data directory of a real one would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn local(&self, request: &str) -> Answer {
        exchange(
            UnixStream::connect(&self.socket).await.unwrap(),
            request.as_bytes(),
        )
        .await
    }

    /// The next issuing CA, on standby; the root's key is at hand as it is with the server stopped.
    pub async fn start_rollover(&self) {
        let secret = b"a passphrase of a test".to_vec().into();
        let root = FileSigner::open(&self.path("root"), secret).unwrap();
        let ca = self.edge.ca();
        ca.start_rollover(browser::local(), "default", &root)
            .await
            .unwrap();
    }

    /// Another authority, whose root follows that of `default`.
    pub async fn follow(&self, name: &str) {
        let secret = b"a passphrase of a test".to_vec().into();
        let root = FileSigner::open(&self.path("root"), secret).unwrap();
        let ca = self.edge.ca();
        ca.create_authority(browser::local(), name, "The next", Some("default"), &root)
            .await
            .unwrap();
    }

    pub fn token(&self, subject: &str, purpose: &str) -> String {
        self.issuer.token(
            subject,
            &format!("https://localhost:{}/1.0/{purpose}", self.api.port()),
        )
    }

    /// Gets a certificate as `step ca certificate` does.
    pub async fn enrol(&self, name: &str) -> Identity {
        let key = generate(KeyKind::P256).unwrap();
        let body = sign_body(&csr(name, &key), &self.token(name, "sign"));
        let answer = self.api(&post("/sign", &body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        Identity::of(&answer, key)
    }

    /// Enrols with an enrolment token as a device does, with a new key.
    pub async fn enrol_by_token(&self, name: &str, secret: &str) -> Answer {
        let key = generate(KeyKind::P256).unwrap();
        let body = json!({ "token": secret, "csr": csr(name, &key) }).to_string();
        let request = post("/api/v1/enrol", &body).replace(
            "Content-Length",
            "Content-Type: application/json\r\nContent-Length",
        );
        self.api(&request).await
    }

    pub async fn finish(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(15), self.served)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// A certificate and its key.
pub struct Identity {
    pub leaf: Vec<u8>,
    pub key: PrivateKey,
}

impl Identity {
    pub fn of(answer: &Answer, key: PrivateKey) -> Self {
        let text = answer.json()["crt"].as_str().unwrap().to_owned();
        Self {
            leaf: muster_pki::pem::decode("CERTIFICATE", &text).unwrap(),
            key,
        }
    }

    pub fn parsed(&self) -> muster_pki::cert::Certificate {
        muster_pki::cert::Certificate::from_der(&self.leaf).unwrap()
    }

    pub fn serial(&self) -> String {
        muster_ca::certificate::Serial::from_bytes(self.parsed().serial())
            .unwrap()
            .decimal()
    }
}

async fn add_provisioner(store: &dyn Store) -> Issuer {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let key = PrivateKey::from_pkcs8(pkcs8.as_ref().to_vec().into()).unwrap();
    let jwk = Jwk::from_p256(key.public()).unwrap();
    let provisioner = Provisioner {
        name: PROVISIONER.into(),
        kid: jwk.kid.clone(),
        jwk: serde_json::to_string(&jwk).unwrap(),
        encrypted_key: None,
        profiles: vec!["client".into()],
        names: Vec::new(),
        may_replace: false,
        created: now(),
    };
    let act = Act {
        at: now(),
        actor: "test".into(),
        via: "test".into(),
        source: String::new(),
        action: "provisioner.added",
        subject: PROVISIONER.into(),
        detail: String::new(),
        dry_run: false,
    };
    store
        .commit(Change {
            writes: vec![Write::Provisioner(provisioner)],
            act,
        })
        .await
        .unwrap();
    Issuer { pair, kid: jwk.kid }
}

impl Issuer {
    pub fn token(&self, subject: &str, audience: &str) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = now().as_second();
        let header = json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" });
        let claims = json!({
            "iss": PROVISIONER, "aud": audience, "sub": subject, "sans": [subject], "iat": now, "nbf": now,
            "exp": now + 300, "jti": COUNT.fetch_add(1, Ordering::Relaxed).to_string(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub fn csr(name: &str, key: &PrivateKey) -> String {
    muster_pki::pem::encode(muster_pki::pem::CSR, &Csr::build(name, &[], key).unwrap()).unwrap()
}

/// What `step` sends.
pub fn sign_body(csr: &str, ott: &str) -> String {
    json!({ "csr": csr, "ott": ott, "notBefore": "", "notAfter": "" }).to_string()
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// Every value of a header that may come more than once.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A body that came in chunks (RFC 9112, section 7.1), to its end.
    pub fn unchunked(&self) -> String {
        assert_eq!(self.header("transfer-encoding"), Some("chunked"), "{}", self.head);
        let (text, mut whole) = (self.text(), String::new());
        let mut rest = text.as_str();
        loop {
            let (size, after) = rest.split_once("\r\n").expect("the last chunk");
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return whole;
            }
            whole.push_str(&after[..size]);
            rest = after[size..].strip_prefix("\r\n").unwrap();
        }
    }

    pub fn json(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{}",
            self.head
        );
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks that this is an error as `step` can print it, and returns its message.
    pub fn refusal(&self) -> String {
        let json = self.json();
        assert_eq!(json["status"], self.status, "{json}");
        json["message"].as_str().unwrap().to_owned()
    }
}

pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Answer {
    // A server that refuses early may close before all is written; what it said still arrives.
    let _ = stream.write_all(request).await;
    let _ = stream.flush().await;
    read(stream).await
}

pub async fn read(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..count]);
    }
    Answer::parse(&bytes)
}
