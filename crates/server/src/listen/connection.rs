//! One connection, from the first byte to the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::room::Place;
use super::unread::{self, Unread};
use super::watched::Watched;
use crate::Edge;
use crate::peer::Peer;
use crate::tls::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The largest request head, in bytes: a bearer token with a chain has some 8 KiB.
const MAX_HEAD: u32 = 64 * 1024;
/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 100;

/// The version that was agreed on, or is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A listener with TLS: the CA API, and the GUI.
#[derive(Clone)]
pub(super) struct Https {
    pub(super) routes: Router,
    pub(super) tls: Arc<Tls>,
    pub(super) edge: Edge,
}

impl Https {
    /// The CA API: asks for a client certificate.
    pub(super) async fn api(self, stream: TcpStream, address: SocketAddr, place: Place) {
        let config = self.tls.config();
        self.run(stream, address, config, place).await;
    }

    /// The GUI: TLS, or plain HTTP if that is what comes; the routes decide whether that will do. The first byte tells
    /// (RFC 8446, section 5.1: a record of the handshake has type 22, which no method of HTTP begins with).
    pub(super) async fn web(self, stream: TcpStream, address: SocketAddr, place: Place) {
        const HANDSHAKE_RECORD: u8 = 22;
        let mut first = [0];
        match timeout(HANDSHAKE, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first[0] == HANDSHAKE_RECORD => {
                let config = self.tls.for_browsers();
                self.run(stream, address, config, place).await;
            }
            Ok(Ok(1)) => {
                let plain = Plain {
                    routes: self.routes,
                    edge: self.edge,
                };
                plain.tcp(stream, address, place).await;
            }
            _ => tracing::debug!(%address, "nothing came"),
        }
    }

    async fn run(self, stream: TcpStream, address: SocketAddr, config: Arc<ServerConfig>, place: Place) {
        let _open = self.edge.metrics().connection();
        let _ = stream.set_nodelay(true);
        let stream = match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%address, %error, "no TLS connection came about"),
            Err(_) => return tracing::debug!(%address, "the TLS handshake took too long"),
        };
        let session = stream.get_ref().1;
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.to_vec());
        let version = match session.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            Some(_) | None => Version::Http1,
        };
        serve(
            stream,
            self.routes,
            Peer::Remote {
                address,
                certificate,
                encrypted: true,
            },
            version,
            place,
        )
        .await;
    }
}

/// A listener without TLS.
#[derive(Clone)]
pub(super) struct Plain {
    pub(super) routes: Router,
    pub(super) edge: Edge,
}

impl Plain {
    pub(super) async fn tcp(self, stream: TcpStream, address: SocketAddr, place: Place) {
        let _open = self.edge.metrics().connection();
        let _ = stream.set_nodelay(true);
        serve(
            stream,
            self.routes,
            Peer::Remote {
                address,
                certificate: None,
                encrypted: false,
            },
            Version::Http1,
            place,
        )
        .await;
    }

    pub(super) async fn unix(self, stream: UnixStream, place: Place) {
        let _open = self.edge.metrics().connection();
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => return tracing::warn!(%error, "the local socket does not tell who connects"),
        };
        let trusted = uid == 0 || uid == rustix::process::geteuid().as_raw();
        serve(
            stream,
            self.routes,
            Peer::Local { uid, trusted },
            Version::Http1,
            place,
        )
        .await;
    }
}

/// Speaks HTTP until either side is done, or the place is asked for.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    routes: Router,
    peer: Peer,
    version: Version,
    place: Place,
) {
    let activity = place.activity.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let in_flight = activity.begin();
        let (mut request, unread) = shared(request, version);
        request.extensions_mut().insert(peer.clone());
        let answer = routes.clone().call(request);
        async move {
            let answer = answer.await;
            if let Some(unread) = unread {
                unread.read().await;
            }
            drop(in_flight);
            answer
        }
    });
    let stream = TokioIo::new(Watched::new(stream, place.activity.clone()));
    let builder = builder(version);
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let mut asked_to_close = place.asked_to_close;
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = &mut asked_to_close => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// The request for the routes, and what they may leave of its body. HTTP/1 sees to that itself: the connection ends.
fn shared(request: http::Request<Incoming>, version: Version) -> (http::Request<Body>, Option<Unread>) {
    if version == Version::Http1 || request.body().is_end_stream() {
        return (request.map(Body::new), None);
    }
    let (head, body) = request.into_parts();
    let (lent, unread) = unread::lend(body);
    (http::Request::from_parts(head, Body::new(lent)), Some(unread))
}

/// The version is known before the first byte, so that nothing waits for a client to show it.
fn builder(version: Version) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS);
    match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_only(),
    }
}
