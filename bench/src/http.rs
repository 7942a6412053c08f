//! A client that costs the machine as little as possible: prepared bytes out, status and length in.
//!
//! HTTP/1.1 over TLS on one kept-alive connection, one request at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Result;

/// An answer that is longer than this is a fault.
const LONGEST_ANSWER: usize = 1 << 20;

/// How to reach one server.
#[derive(Clone)]
pub(crate) struct Dialer {
    port: u16,
    tls: TlsConnector,
}

impl Dialer {
    /// Trusts the roots in `pem`; presents a certificate if one is given.
    pub(crate) fn new(
        port: u16,
        pem: &[u8],
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.add(root?)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self {
            port,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Believes anybody: only to fetch the root of a server that this program has started itself.
    pub(crate) fn trusting(port: u16) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Ok(Self {
            port,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Opens a connection.
    pub(crate) async fn dial(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        tcp.set_nodelay(true)?;
        let tls = self.tls.connect(ServerName::try_from("localhost")?, tcp).await?;
        Ok(Connection::over(tls))
    }

    /// One request on a connection of its own: status and body.
    pub(crate) async fn once(&self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        let mut connection = self.dial().await?;
        let answer = connection.send(request).await?;
        let body = connection.body(&answer)?;
        Ok((answer.status, body))
    }

    /// The bytes of a request to this server; a POST carries `body` as JSON.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\n", self.port);
        match method {
            "GET" => format!("{head}\r\n"),
            _ => format!(
                "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        }
        .into_bytes()
    }
}

/// One kept-alive connection.
pub(crate) struct Connection<S = TlsStream<TcpStream>> {
    stream: S,
    buffer: Vec<u8>,
}

/// Where an answer lies in the connection's buffer.
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    body: Range<usize>,
    chunked: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Speaks over a stream.
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        }
    }

    /// Sends a prepared request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if let Some(answer) = complete(&self.buffer)? {
                return Ok(answer);
            }
            if self.buffer.len() > LONGEST_ANSWER {
                return Err("the answer is longer than 1 MiB".into());
            }
        }
    }

    /// The status line and the headers of the answer that was read last.
    pub(crate) fn head(&self, answer: &Answer) -> Result<String> {
        let raw = self.buffer.get(..answer.body.start).ok_or("no head")?;
        Ok(String::from_utf8(raw.to_vec())?)
    }

    /// The body of the answer that was read last.
    pub(crate) fn body(&self, answer: &Answer) -> Result<Vec<u8>> {
        let raw = self.buffer.get(answer.body.clone()).ok_or("no body")?;
        if answer.chunked {
            unchunk(raw)
        } else {
            Ok(raw.to_vec())
        }
    }
}

/// `None` while something is missing.
fn complete(buffer: &[u8]) -> Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(buffer)? else {
        return Ok(None);
    };
    let status = response.code.ok_or("no status")?;
    let find = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
    };
    if let Some(length) = find("content-length") {
        let end = start + std::str::from_utf8(length.value)?.parse::<usize>()?;
        return Ok((buffer.len() >= end).then_some(Answer {
            status,
            body: start..end,
            chunked: false,
        }));
    }
    if find("transfer-encoding").is_none() {
        return Ok(Some(Answer {
            status,
            body: start..start,
            chunked: false,
        }));
    }
    // JSON, PEM and HTML never hold this sequence: JSON escapes line ends, the others have no carriage returns.
    let done = buffer.ends_with(b"\r\n0\r\n\r\n");
    Ok(done.then_some(Answer {
        status,
        body: start..buffer.len(),
        chunked: true,
    }))
}

/// RFC 9112 section 7.1, without trailers.
fn unchunk(mut raw: &[u8]) -> Result<Vec<u8>> {
    let broken = "the chunked body is broken";
    let mut body = Vec::with_capacity(raw.len());
    loop {
        let httparse::Status::Complete((start, size)) =
            httparse::parse_chunk_size(raw).map_err(|_| broken)?
        else {
            return Err(broken.into());
        };
        if size == 0 {
            return Ok(body);
        }
        let end = start + usize::try_from(size)?;
        body.extend_from_slice(raw.get(start..end).ok_or(broken)?);
        raw = raw.get(end + 2..).ok_or(broken)?;
    }
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{complete, unchunk};

    #[test]
    fn an_answer_is_complete_when_its_length_is_there() {
        let whole = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
        assert!(complete(&whole[..whole.len() - 1]).unwrap().is_none());
        let answer = complete(whole).unwrap().unwrap();
        assert_eq!((answer.status, &whole[answer.body]), (201, &b"{}"[..]));
    }

    #[test]
    fn chunks_are_joined() {
        let whole =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\"}\r\n0\r\n\r\n";
        assert!(complete(&whole[..whole.len() - 2]).unwrap().is_none());
        let answer = complete(whole).unwrap().unwrap();
        assert!(answer.chunked);
        assert_eq!(unchunk(&whole[answer.body]).unwrap(), b"{\"a\"}");
        assert!(unchunk(b"5\r\nab").is_err());
    }
}
