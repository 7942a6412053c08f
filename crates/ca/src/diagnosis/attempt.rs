//! One connection to the diagnosis listener.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stored;
use crate::certificate::Serial;
use crate::device::DeviceName;

/// The longest text of a stranger's that is kept, in characters.
const LONGEST: usize = 64;

/// What the edge saw of somebody who came.
#[derive(Debug, Clone)]
pub struct Knock {
    /// From where.
    pub address: IpAddr,
    /// The certificates that were shown, DER, the client's own first; whoever they are from.
    pub chain: Vec<Vec<u8>>,
    /// Whether the handshake proved the first one's key.
    pub proved: bool,
    /// The server's name that was asked for.
    pub server_name: Option<String>,
    /// The client id of the CONNECT.
    pub client_id: Option<String>,
    /// How it ended.
    pub end: End,
}

/// How a connection to the listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The handshake was finished.
    Finished,
    /// The client knows no CA that vouches for the server (alert 48).
    UnknownCa,
    /// The client holds the server's certificate for expired (alert 45).
    ServerExpired,
    /// The client says that the server's certificate is bad (alert 42): not valid yet, or of another name.
    ServerBad,
    /// The client found an error of its own (alert 80): what libmosquitto says of a server of another name.
    InternalError,
    /// The client offers no version of TLS that is taken.
    OldTls,
    /// What came is no TLS.
    NoTls,
    /// It ended in the middle of the handshake, for whatever reason.
    BrokeOff,
}

/// What a client showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// No certificate.
    Nothing,
    /// Something that cannot be read, or with a key of an unknown kind.
    Unreadable,
    /// A certificate.
    Paper(Paper),
}

/// A certificate that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paper {
    /// Its common name.
    pub name: String,
    /// Its serial number.
    #[serde(with = "stored::serial")]
    pub serial: Serial,
    /// Its issuer's common name.
    pub issuer: String,
    /// Whether an issuing CA of the fleet signed it.
    pub ours: bool,
    /// Whether that CA is retired.
    pub retired: bool,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// Whether its extended key usage lets it be a client's.
    pub for_clients: bool,
    /// Whether it came without the issuing CA's.
    pub alone: bool,
    /// Whether the client proved that it holds the key.
    pub proved: bool,
}

/// Whose an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certainty {
    /// The device's: it proved the key of a certificate that we issued.
    Proved,
    /// Somebody's who says so.
    Claimed,
    /// Somebody's without a name who came from the device's address.
    Address,
    /// Nobody's who is known.
    Unknown,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// From where.
    pub address: IpAddr,
    /// The name that was proved or claimed; what was claimed and nobody has is in [`Attempt::said`] alone.
    #[serde(with = "stored::name")]
    pub name: Option<DeviceName>,
    /// What the client called itself, by certificate or client id; empty if by neither.
    pub said: String,
    /// Whose it is.
    pub certainty: Certainty,
    /// What was shown.
    pub shown: Shown,
    /// The server's name that was asked for.
    pub server_name: Option<String>,
    /// The client id of the CONNECT.
    pub client_id: Option<String>,
    /// How it ended.
    pub end: End,
}

impl Attempt {
    pub(super) fn of(knock: Knock, shown: Shown, at: Timestamp) -> Self {
        let client_id = knock
            .client_id
            .map(|text| clean(&text))
            .filter(|id| !id.is_empty());
        let (said, proved) = match &shown {
            Shown::Paper(paper) if !paper.name.is_empty() => (
                clean(&paper.name),
                // Of a CA that was withdrawn, somebody else may have the key.
                paper.ours && paper.proved && !paper.retired,
            ),
            Shown::Paper(_) | Shown::Nothing | Shown::Unreadable => {
                (client_id.clone().unwrap_or_default(), false)
            }
        };
        let shown = match shown {
            Shown::Paper(paper) => Shown::Paper(Paper {
                name: clean(&paper.name),
                issuer: clean(&paper.issuer),
                ..paper
            }),
            other @ (Shown::Nothing | Shown::Unreadable) => other,
        };
        Self {
            at,
            address: knock.address.to_canonical(),
            name: (!said.is_empty()).then(|| DeviceName::restored(said.clone())),
            certainty: match (proved, said.is_empty()) {
                (true, _) => Certainty::Proved,
                (false, false) => Certainty::Claimed,
                (false, true) => Certainty::Unknown,
            },
            said,
            shown,
            server_name: knock.server_name.map(|text| clean(&text)),
            client_id,
            end: knock.end,
        }
    }

    /// The certificate that was shown, if one was.
    pub fn paper(&self) -> Option<&Paper> {
        match &self.shown {
            Shown::Paper(paper) => Some(paper),
            Shown::Nothing | Shown::Unreadable => None,
        }
    }
}

/// A stranger's words: short, and nothing that drives a terminal or turns the writing direction.
fn clean(text: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_graphic() || *letter == ' ' || letter.is_alphanumeric();
    text.chars().filter(plain).take(LONGEST).collect()
}
