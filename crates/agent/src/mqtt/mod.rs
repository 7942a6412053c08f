//! An MQTT client (3.1.1 and 5) that shows the device's certificate, and believes nobody but its broker.
//!
//! The protocol itself is a library's, behind [`Link`]: one for each version. What is here decides when to connect again
//! ([`Backoff`]), what is said about the device's state, and in which order things end ([`session`]).

mod backoff;
mod session;
mod tls;
mod v311;
mod v5;

use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;

pub use backoff::Backoff;
pub use session::{Health, Settings, run};
pub(crate) use tls::connect_by;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// How hard the two ends try to hand a message over (MQTT 5.0, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

/// A message, to be sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// Whether the broker shows it to whoever comes later.
    pub retain: bool,
}

/// Where the broker is, and who the client is there. The files are read for every connection, so a renewed certificate is in use from
/// the next one on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The broker's name, which its certificate must have.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The CAs that are believed, PEM.
    pub ca: PathBuf,
    /// The client's certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The device's name, which is the client id.
    pub name: String,
}

/// The longest packet in both directions, bytes.
const MAX_PACKET: usize = 1 << 20;

/// What happened on a connection.
enum Event {
    /// The broker let us in; whether it still knew the session.
    Connected { resumed: bool },
    /// A message came.
    Message(Message),
    /// Something that matters to the library alone.
    Other,
}

/// Why there is no next event.
enum Lost {
    /// We disconnected.
    Ended,
    /// The connection broke or did not come about. The next call tries again.
    Broken(String),
}

/// Why a message was not handed over.
enum Undelivered {
    /// The session in which it was sent is gone: it has to be sent again.
    Again,
    /// The broker does not want it.
    Refused(String),
}

/// Tells when a message is handed over as far as its QoS asks.
type Delivered = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send>>;

/// The half that listens.
#[async_trait]
trait Link: Send {
    /// The next event; connects first if there is no connection. Must not be given up half-way.
    async fn next(&mut self) -> Result<Event, Lost>;
}

/// The half that speaks. What it takes while there is no connection waits for the next.
#[async_trait]
trait Speaker: Send + Sync {
    async fn publish(&self, message: Message, qos: Qos) -> Result<Delivered, String>;
    fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), String>;
    /// Ends the session in good order.
    fn disconnect(&self);
}

/// The innermost reason in words for people.
pub(crate) fn words(host: &str, error: &(dyn std::error::Error + 'static)) -> String {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let inside = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let tls = inside.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls.or(error.downcast_ref::<rustls::Error>()) {
            return tls::words(host, tls);
        }
        next = error.source();
    }
    let text = error.to_string();
    // Of what comes after the handshake, as refusals do in TLS 1.3, the library keeps the words alone.
    let alerts = tls::REFUSALS.map(rustls::Error::AlertReceived);
    let refusal = alerts.iter().find(|alert| text.contains(&alert.to_string()));
    refusal.map_or(text.clone(), |alert| tls::words(host, alert))
}
