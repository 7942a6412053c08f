//! Who is at the other end of a connection, as far as the transport knows.

use std::net::SocketAddr;

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
