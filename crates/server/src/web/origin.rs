//! From where a request comes: the name it asks for, the address behind a proxy, whether it came over TLS.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, LOCATION};
use http::{HeaderMap, StatusCode};
use muster_ca::enrol::who::Origin;

use super::Web;
use super::fault::Fault;
use crate::peer::{self, Peer};

/// A client as the listener, or a proxy that is trusted, tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Where it is.
    pub(crate) address: IpAddr,
    /// Whether the browser speaks TLS.
    pub(crate) secure: bool,
    /// The name and port that the browser asks for.
    pub(crate) host: String,
}

impl Client {
    /// For the audit log.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            via: "web",
            source: self.address.to_string(),
        }
    }

    /// Where the browser is, as it says itself in `Origin`.
    pub(crate) fn site(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }
}

/// Lets in what asks for a name of ours, and sends to TLS what comes without from another machine.
pub(super) async fn at_the_door(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let Some(Peer::Remote {
        address, encrypted, ..
    }) = request.extensions().get::<Peer>().cloned()
    else {
        return Fault::new(StatusCode::FORBIDDEN, "the GUI is for browsers").into_response();
    };
    let headers = request.headers();
    let named = request.uri().authority().map(|authority| authority.as_str());
    let host = named.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let host = host.unwrap_or_default().to_owned();
    if !web.settings().answers_to(&host) {
        let why = "this is not a name of this server: add it to web.hosts in muster.toml";
        return super::fault::bare(&web, &Fault::new(StatusCode::MISDIRECTED_REQUEST, why));
    }
    let proxy = web.settings().trusts(address.ip());
    if !encrypted && !proxy && !web.0.loopback {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        return (
            StatusCode::PERMANENT_REDIRECT,
            [(LOCATION, format!("https://{host}{path}"))],
        )
            .into_response();
    }
    let client = Client {
        address: peer::address(request.extensions()).unwrap_or(address.ip()),
        secure: encrypted || (proxy && said(headers, "x-forwarded-proto") == Some("https")),
        host,
    };
    request.extensions_mut().insert(client);
    next.run(request).await
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
