//! Who is at the other end of a connection, as far as the transport knows.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use http::{Extensions, HeaderMap};

use crate::Settings;

/// Put into every request's extensions by `listen`.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A TCP connection.
    Remote {
        /// Its address.
        address: SocketAddr,
        /// The client certificate, DER, if one was shown. The handshake has proved that the client
        /// holds its key, and nothing else.
        certificate: Option<Vec<u8>>,
        /// Whether the connection is TLS.
        encrypted: bool,
    },
    /// The socket in the data directory.
    Local {
        /// The peer's user id.
        uid: u32,
        /// Whether that is the user Muster runs as, or root.
        trusted: bool,
    },
    /// The command line, running the router in its own process.
    Process {
        /// The user id of the process.
        uid: u32,
    },
}

/// Where a client is of which a trusted proxy tells. Put into the request's extensions by the shell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded(IpAddr);

impl Forwarded {
    /// Notes what a proxy says, if a proxy is declared and says it; nobody else is believed.
    pub(crate) fn note(request: &mut Request, settings: &Settings) {
        let through = match request.extensions().get::<Peer>() {
            Some(Peer::Remote { address, .. }) => settings.trusts(address.ip()),
            Some(Peer::Local { .. } | Peer::Process { .. }) | None => false,
        };
        if !through {
            return;
        }
        if let Some(address) = said(request.headers(), settings) {
            request.extensions_mut().insert(Self(address));
        }
    }
}

/// Where whoever sent a request is: the other end of the connection, or behind a proxy that is trusted.
pub(crate) fn address(extensions: &Extensions) -> Option<IpAddr> {
    if let Some(Forwarded(address)) = extensions.get() {
        return Some(*address);
    }
    match extensions.get::<Peer>() {
        Some(Peer::Remote { address, .. }) => Some(address.ip()),
        Some(Peer::Local { .. } | Peer::Process { .. }) | None => None,
    }
}

/// The last address that no proxy of ours wrote about itself: those before it are the client's own words.
fn said(headers: &HeaderMap, settings: &Settings) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter();
    let words: Vec<&str> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .collect();
    let addresses = words.iter().rev().map_while(|word| word.trim().parse().ok());
    let mut last = None;
    for address in addresses {
        last = Some(address);
        if !settings.trusts(address) {
            break;
        }
    }
    last
}
