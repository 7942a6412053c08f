//! A small HTTPS client that trusts one root: what `step` does not show, tests look at with it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// How to reach one server on loopback, under the name `localhost`.
pub struct Https {
    port: u16,
    config: Arc<rustls::ClientConfig>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Https {
    pub fn new(port: u16, root: &Path) -> Self {
        Self::make(port, root, None)
    }

    /// The same, showing a client certificate.
    pub fn with_certificate(port: u16, root: &Path, certificate: &Path, key: &Path) -> Self {
        Self::make(port, root, Some((certificate.to_owned(), key.to_owned())))
    }

    fn make(port: u16, root: &Path, own: Option<(PathBuf, PathBuf)>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(root).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate)
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                    .unwrap()
            }
        };
        Self {
            port,
            config: Arc::new(config),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    /// The same for a server that may be gone.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.port,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut whole = request.into_bytes();
        whole.extend_from_slice(body);
        self.exchange(&whole)
    }

    /// Asks for an answer without an end, and returns it from its first line on, a line at a time. Chunks are not undone:
    /// their sizes are lines of their own.
    pub fn stream(&self, path: &str) -> Box<dyn std::io::BufRead> {
        let name = ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(self.config.clone(), name).unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut stream = rustls::StreamOwned::new(session, tcp);
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:{}\r\n\r\n", self.port);
        stream.write_all(request.as_bytes()).unwrap();
        Box::new(std::io::BufReader::new(stream))
    }

    fn exchange(&self, request: &[u8]) -> std::io::Result<Answer> {
        let name = ServerName::try_from("localhost").unwrap();
        let session =
            rustls::ClientConnection::new(self.config.clone(), name).map_err(std::io::Error::other)?;
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut stream = rustls::StreamOwned::new(session, tcp);
        stream.write_all(request)?;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Err(why) if why.kind() != std::io::ErrorKind::UnexpectedEof => return Err(why),
            Ok(_) | Err(_) => {}
        }
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).map_err(std::io::Error::other)?;
        let status = head.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        Ok(Answer {
            status: status.ok_or(std::io::ErrorKind::InvalidData)?,
            head,
            body,
        })
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        super::text(&self.body)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }

    /// Must have this status and, if it is an error, say it in JSON with these words in it.
    #[track_caller]
    pub fn expect(self, status: u16, words: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        if status >= 400 {
            let problem = self.json();
            assert_eq!(problem["status"], status, "{problem}");
            let message = problem["message"].as_str().unwrap_or_default();
            assert!(message.contains(words), "{words:?} is not in {message:?}");
        }
        self
    }
}
