//! A server that speaks to a device as Muster does, with certificates that a test makes, and may say something else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use muster_api::types::{Certificate as View, Issued};
use muster_backends::signer::generate;
use muster_pki::cert::{Certificate, Pointers, Role, Template, Usages, assemble};
use muster_pki::csr::Csr;
use muster_pki::key::{KeyKind, PrivateKey, PublicKey};
use muster_pki::name::San;
use muster_pki::pem;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) const AUTHORITY: Role = Role::Authority { path_len: None };
pub(crate) const CLIENT: Role = Role::Leaf(Usages {
    client: true,
    server: false,
});
const SERVER: Role = Role::Leaf(Usages {
    client: false,
    server: true,
});

/// So many days from now.
#[allow(clippy::disallowed_methods, reason = "the agent goes by this machine's clock")]
fn day(days: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)
}

pub(crate) struct Authority {
    pub(crate) key: PrivateKey,
    pub(crate) certificate: Certificate,
}

impl Authority {
    pub(crate) fn root(name: &str, days: (i64, i64)) -> Self {
        let key = generate(KeyKind::P256).unwrap();
        let certificate = made(name, key.public(), AUTHORITY, (None, &key), days);
        Self { key, certificate }
    }

    pub(crate) fn below(&self, name: &str) -> Self {
        let key = generate(KeyKind::P256).unwrap();
        let certificate = self.issue(name, key.public(), AUTHORITY, (-1, 100));
        Self { key, certificate }
    }

    pub(crate) fn issue(&self, name: &str, key: &PublicKey, role: Role, days: (i64, i64)) -> Certificate {
        made(name, key, role, (Some(&self.certificate), &self.key), days)
    }

    /// SHA-256, hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        let print = self.certificate.fingerprint();
        print.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.to_pem().unwrap()
    }
}

fn made(
    name: &str,
    key: &PublicKey,
    role: Role,
    (issuer, signer): (Option<&Certificate>, &PrivateKey),
    (from, until): (i64, i64),
) -> Certificate {
    let issuer = issuer.map(|issuer| issuer.as_issuer().unwrap());
    let template = Template {
        serial: &[7],
        common_name: name,
        sans: &[San::Dns("localhost".into())][..usize::from(role == SERVER)],
        key,
        not_before: day(from),
        not_after: day(until),
        role,
        pointers: &Pointers::default(),
    };
    let bytes = template.to_be_signed(issuer.as_ref()).unwrap();
    let algorithm = signer.public().kind().signature_algorithm();
    let der = assemble(&bytes, algorithm, &signer.sign(&bytes).unwrap()).unwrap();
    Certificate::from_der(&der).unwrap()
}

/// A client's certificate from some CA, PEM.
pub(crate) fn since_yesterday(name: &str) -> String {
    let root = Authority::root("A root", (-1, 100));
    let key = generate(KeyKind::P256).unwrap();
    root.issue(name, key.public(), CLIENT, (-1, 30)).to_pem().unwrap()
}

/// What the server shows, sends and has heard.
pub(crate) struct Scene {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) issuing: Arc<Authority>,
    /// The first one is what it answers when it is asked for its root.
    pub(crate) roots: String,
    pub(crate) heard: Vec<String>,
    /// What was in `ca.crt` when the device said that it has what it was sent.
    pub(crate) confirmed: Vec<String>,
    /// What it says in place of a certificate.
    pub(crate) refusal: Option<(u16, &'static str)>,
}

/// The server's own certificate, from this authority.
pub(crate) fn shown(issuing: &Authority) -> Arc<ServerConfig> {
    let key = generate(KeyKind::P256).unwrap();
    let leaf = issuing.issue("localhost", key.public(), SERVER, (-1, 10));
    let chain = [&leaf, &issuing.certificate].map(|one| CertificateDer::from(one.der().to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.to_vec(),
            PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()).into(),
        );
    Arc::new(config.unwrap())
}

/// Serves until the test ends; returns the port.
pub(crate) fn serve(scene: Arc<Mutex<Scene>>, anchors: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let anchors = anchors.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever does not believe the server hangs up.
            let _ = answer(&scene, stream, &anchors);
        }
    });
    port
}

fn answer(scene: &Mutex<Scene>, stream: TcpStream, anchors: &Path) -> std::io::Result<()> {
    let tls = scene.lock().unwrap().tls.clone();
    let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        if stream.read_line(&mut header)? <= 2 {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, json) = scene.lock().unwrap().hear(path, &body, anchors);
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        json.len()
    );
    let stream = stream.get_mut();
    stream.write_all(format!("{head}{json}").as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

impl Scene {
    /// What is issued by `issuing`, and shown, is vouched for by these roots.
    pub(crate) fn new(issuing: &Arc<Authority>, roots: String) -> Self {
        Self {
            tls: shown(issuing),
            issuing: issuing.clone(),
            roots,
            heard: Vec::new(),
            confirmed: Vec::new(),
            refusal: None,
        }
    }

    fn hear(&mut self, path: &str, body: &[u8], anchors: &Path) -> (u16, String) {
        self.heard.push(path.to_owned());
        let view = View {
            serial: "07".into(),
            serial_decimal: "7".into(),
            device: "site-001".into(),
            status: "active".into(),
            profile: "client".into(),
            sans: Vec::new(),
            issued: day(-1).to_string(),
            not_before: day(-1).to_string(),
            not_after: day(30).to_string(),
            revoked_at: None,
            reason: None,
            authority: "default".into(),
            generation: 1,
            how: "a test".into(),
            fingerprint: String::new(),
        };
        if path.starts_with("/root/") {
            return (200, serde_json::json!({ "ca": self.roots }).to_string());
        }
        match path {
            "/api/v1/enrol" | "/api/v1/agent/renew" => {
                if let Some((status, said)) = self.refusal {
                    return (status, said.to_owned());
                }
                let asked: serde_json::Value = serde_json::from_slice(body).unwrap();
                let csr = pem::decode(pem::CSR, asked["csr"].as_str().unwrap()).unwrap();
                let csr = Csr::from_der(&csr).unwrap();
                let leaf = self.issuing.issue("site-001", csr.public_key(), CLIENT, (-1, 30));
                let issued = Issued {
                    certificate: view,
                    pem: leaf.to_pem().unwrap(),
                    issuing: self.issuing.pem(),
                    root: self.roots.clone(),
                    clamped: false,
                };
                (200, serde_json::to_string(&issued).unwrap())
            }
            "/api/v1/enrol/confirm" => {
                self.confirmed.push(std::fs::read_to_string(anchors).unwrap());
                (200, serde_json::to_string(&view).unwrap())
            }
            _ => (404, r#"{"status":404,"message":"not here"}"#.into()),
        }
    }
}
