//! Connections as bytes: kept alive, broken off, dripping. For what a well-behaved client would never send.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

/// An answer that is longer than this is a fault.
const LONGEST_ANSWER: usize = 64 << 20;
/// Nobody waits longer for a byte.
const PATIENCE: Duration = Duration::from_secs(60);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// How to reach one server on loopback, trusting one root.
#[derive(Clone)]
pub struct Dialer {
    port: u16,
    config: Arc<rustls::ClientConfig>,
}

impl Dialer {
    pub fn new(port: u16, root: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(root).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            port,
            config: Arc::new(config),
        }
    }

    /// A TCP connection that has not said anything.
    pub fn tcp(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(tcp)
    }

    /// A TLS connection, after its handshake.
    pub fn tls(&self) -> io::Result<Wire> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut session =
            rustls::ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut tcp = self.tcp()?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(Wire {
            stream: Box::new(rustls::StreamOwned::new(session, tcp)),
        })
    }
}

/// One connection that speaks HTTP/1.1.
pub struct Wire {
    stream: Box<dyn Stream>,
}

impl Wire {
    /// The socket in a data directory.
    pub fn local(data: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(data.join("muster.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: Box::new(stream),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Everything that comes until the other side closes, one way or another.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Whether it is closed with good manners does not matter here.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Sends a request and reads its answer: status and body. The connection can be used again.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        self.send(request)?;
        self.answer()
    }

    pub fn get(&mut self, path: &str) -> io::Result<(u16, Vec<u8>)> {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    pub fn post(&mut self, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        self.exchange(post(path, body).as_bytes())
    }

    pub fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more(&mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let broken = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .ok_or_else(broken)?;
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = lengths
            .next()
            .and_then(|(_, value)| value.trim().parse().ok())
            .ok_or_else(broken)?;
        while bytes.len() < end + length {
            self.more(&mut bytes)?;
        }
        Ok((status, bytes[end..end + length].to_vec()))
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut part = [0; 16 * 1024];
        let read = self.stream.read(&mut part)?;
        if read == 0 || bytes.len() > LONGEST_ANSWER {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..read]);
        Ok(())
    }
}

/// The bytes of a POST.
pub fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
