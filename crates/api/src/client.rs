//! The client: HTTP/1.1 over whatever carries bytes to a server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::types::Problem;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;
/// The same of what nobody vouches for.
const MAX_ROOT: usize = 64 << 10;
/// The longest message of a refusal that is shown, in characters.
const MAX_MESSAGE: usize = 8 << 10;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How much of that is for TCP.
const DIAL: Duration = Duration::from_secs(8);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// A text as one segment of a path, or as a value of a query (RFC 3986, section 2.1).
pub fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A path of Muster's own API.
fn below(path: &str) -> String {
    format!("/api/v1{path}")
}

/// A TCP connection to any of the addresses of a name. Each has its share of the time, so that one that swallows everything does not
/// hide the others.
pub async fn dial(target: impl ToSocketAddrs, within: Duration) -> std::io::Result<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host(target).await?.collect();
    let share = within / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failed = std::io::Error::other("the name has no address");
    for address in addresses {
        let connected = tokio::time::timeout(share, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(why) => failed = why,
        }
    }
    Err(failed)
}

/// Anything that carries bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = std::io::Result<Box<dyn Stream>>> + Send>>;

/// How to reach the server.
#[derive(Clone)]
pub struct Connector {
    connect: Arc<dyn Fn() -> Connecting + Send + Sync>,
    host: String,
    what: String,
}

impl Connector {
    /// HTTPS to `host:port`, trusting what `tls` trusts.
    pub fn https(host: &str, port: u16, tls: Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        let bad = |_| Error::Usage(format!("{host:?} is not a host name or an address"));
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(bad)?;
        let address = format!("{host}:{port}");
        let target = address.clone();
        let connector = tokio_rustls::TlsConnector::from(tls);
        let mut made = Self::custom(format!("https://{address}"), move || {
            let (target, connector, name) = (target.clone(), connector.clone(), name.clone());
            Box::pin(async move {
                let tcp = dial(target, DIAL).await?;
                Ok(Box::new(connector.connect(name, tcp).await?) as Box<dyn Stream>)
            })
        });
        made.host = address;
        Ok(made)
    }

    /// Any other way; `what` names it in errors.
    pub fn custom(what: String, connect: impl Fn() -> Connecting + Send + Sync + 'static) -> Self {
        Self {
            connect: Arc::new(connect),
            host: "localhost".into(),
            what,
        }
    }
}

/// A client with one connection that is kept and made anew when it broke.
pub struct Client {
    connector: Connector,
    key: Option<Zeroizing<String>>,
    dry_run: bool,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer, or the answer was no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no.
    #[error("{}", .0.message)]
    Refused(Problem),
    /// The server could not be reached.
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, String),
    /// The server's answer is not what this version understands.
    #[error("the answer of {0} cannot be read: {1}")]
    Answer(String, String),
    /// The client was given something that it cannot use.
    #[error("{0}")]
    Usage(String),
}

fn refusal(status: http::StatusCode, body: &[u8]) -> Error {
    let mut problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        status: status.as_u16(),
        message: format!("the server answers {status} and does not say why"),
    });
    problem.status = status.as_u16();
    // It may be shown on a terminal, which obeys control characters.
    let shown = problem.message.chars().filter(|c| !c.is_control() || *c == '\n');
    problem.message = shown.take(MAX_MESSAGE).collect();
    Error::Refused(problem)
}

impl Client {
    /// A client; with an API key for a remote server, without for the local socket.
    pub fn new(connector: Connector, key: Option<Zeroizing<String>>) -> Self {
        Self {
            connector,
            key,
            dry_run: false,
            connection: Mutex::new(None),
        }
    }

    /// From now on, whether the server shall only say what it would do.
    pub fn set_dry_run(&mut self, dry_run: bool) {
        self.dry_run = dry_run;
    }

    /// Another client of the same server, with a connection of its own.
    pub fn another(&self) -> Self {
        Self {
            dry_run: self.dry_run,
            ..Self::new(self.connector.clone(), self.key.clone())
        }
    }

    /// `GET`; `path` begins behind `/api/v1`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call("GET", path, None).await
    }

    /// `GET` of bytes, at most 64 MiB.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, Error> {
        Ok(self.answer("GET", &below(path), None).await?.to_vec())
    }

    /// The root certificate with this SHA-256 fingerprint (hexadecimal), PEM, as the server says: whoever asks over a
    /// connection that nothing vouches for has to check it against the fingerprint.
    pub async fn root(&self, fingerprint: &str) -> Result<String, Error> {
        #[derive(serde::Deserialize)]
        struct Root {
            ca: String,
        }
        let path = format!("/root/{fingerprint}");
        let (status, body) = self.exchange("GET", &path, Bytes::new(), MAX_ROOT).await?;
        if !status.is_success() {
            // What it says may be anybody's words.
            return Err(Error::Answer(self.connector.what.clone(), status.to_string()));
        }
        let root: Root = self.read(&body)?;
        Ok(root.ca)
    }

    /// `POST` with a body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|why| Error::Usage(why.to_string()))?;
        self.call("POST", path, Some(body)).await
    }

    /// `GET` of what the protocol of `step` has at this path.
    pub async fn get_step<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.read(&self.answer("GET", path, None).await?)
    }

    /// `POST` to a path of the protocol of `step`.
    pub async fn post_step<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|why| Error::Usage(why.to_string()))?;
        self.read(&self.answer("POST", path, Some(body)).await?)
    }

    /// `DELETE`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call("DELETE", path, None).await
    }

    /// `GET` of an answer of any length, handed over piece by piece.
    pub async fn download(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let silent = |_| self.unreachable("it does not answer within a minute");
        let mut sender = self.connect().await?;
        let asked = sender.send_request(self.request("GET", &below(path), Bytes::new())?);
        let response = tokio::time::timeout(ANSWER, asked)
            .await
            .map_err(silent)?
            .map_err(|why| self.unreachable(&why.to_string()))?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let read = tokio::time::timeout(ANSWER, Limited::new(body, MAX_ANSWER).collect());
            let text = read.await.map_err(silent)?;
            return Err(refusal(
                status,
                &text.map(|text| text.to_bytes()).unwrap_or_default(),
            ));
        }
        while let Some(frame) = tokio::time::timeout(ANSWER, body.frame()).await.map_err(silent)? {
            let broken = |why: String| Error::Answer(self.connector.what.clone(), why);
            let frame = frame.map_err(|why| broken(format!("it broke off: {why}")))?;
            if let Ok(piece) = frame.into_data() {
                take(&piece).map_err(|why| Error::Usage(why.to_string()))?;
            }
        }
        Ok(())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Error> {
        self.read(&self.answer(method, &below(path), body).await?)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        let unreadable = |why: serde_json::Error| Error::Answer(self.connector.what.clone(), why.to_string());
        serde_json::from_slice(body).map_err(unreadable)
    }

    async fn answer(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, Error> {
        let body = Bytes::from(body.unwrap_or_default());
        let (status, body) = self.exchange(method, path, body, MAX_ANSWER).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(status, &body))
    }

    /// Asks, and reads an answer of at most so many bytes.
    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
        most: usize,
    ) -> Result<(http::StatusCode, Bytes), Error> {
        let answer = self.ask(method, path, body, most);
        tokio::time::timeout(ANSWER, answer)
            .await
            .map_err(|_| self.unreachable("it does not answer within a minute"))?
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
        most: usize,
    ) -> Result<(http::StatusCode, Bytes), Error> {
        let mut kept = self.connection.lock().await;
        let mut sender = match Self::still_open(kept.take()).await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = self.request(method, path, body)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|why| self.unreachable(&why.to_string()))?;
        let status = response.status();
        let read = Limited::new(response.into_body(), most).collect().await;
        let body = read
            .map_err(|why| Error::Answer(self.connector.what.clone(), why.to_string()))?
            .to_bytes();
        *kept = Some(sender);
        Ok((status, body))
    }

    /// The kept connection once it can take another request; `None` if the server has hung up.
    ///
    /// The answer's last byte is read a moment before the connection is at rest, and hyper refuses a request until then.
    async fn still_open(kept: Option<SendRequest<Full<Bytes>>>) -> Option<SendRequest<Full<Bytes>>> {
        let mut sender = kept?;
        sender.ready().await.ok().map(|()| sender)
    }

    fn request(&self, method: &str, path: &str, body: Bytes) -> Result<http::Request<Full<Bytes>>, Error> {
        let dry_run = if self.dry_run && method != "GET" {
            "?dry_run=true"
        } else {
            ""
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{path}{dry_run}"))
            .header("host", &self.connector.host)
            .header("user-agent", concat!("muster/", env!("CARGO_PKG_VERSION")))
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.as_str()));
        }
        request
            .body(Full::new(body))
            .map_err(|why| Error::Usage(why.to_string()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let stream = tokio::time::timeout(CONNECT, (self.connector.connect)())
            .await
            .map_err(|_| self.unreachable("no connection within 10 s"))?
            .map_err(|why| self.unreachable(&why.to_string()))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|why| self.unreachable(&why.to_string()))?;
        // Ends with the sender, or when the other side hangs up; the sender then reports it.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::Unreachable(self.connector.what.clone(), why.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpSocket;

    use super::*;

    /// A listener whose queue is full: whoever comes next hears nothing. What it returns holds it so.
    async fn silent() -> (SocketAddr, Vec<TcpStream>, tokio::net::TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(one) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            waiting.push(one.unwrap());
            assert!(waiting.len() < 100, "its queue has no end");
        }
        (address, waiting, listener)
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_does_not_hide_the_next() {
        let (silent, _waiting, _listener) = silent().await;
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good_address = good.local_addr().unwrap();
        let within = Duration::from_secs(4);
        let tcp = dial(&[silent, good_address][..], within).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good_address);
        let none = dial(&[silent][..], Duration::from_millis(100)).await;
        assert_eq!(none.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }
}
