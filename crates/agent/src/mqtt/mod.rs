//! An MQTT client (3.1.1 and 5) that shows the device's certificate, and believes nobody but its broker.
//!
//! The protocol itself is a library's, behind [`Link`]: one for each version. What is here decides when to connect again
//! ([`Backoff`]), what is said about the device's state, and in which order things end ([`session`]).

mod backoff;
mod earlier;
mod session;
mod speaker;
mod tls;
mod topic;
mod v311;
mod v5;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;

pub use backoff::Backoff;
pub use session::{Health, Settings, run};
pub(crate) use tls::connect_by;
pub use topic::{check_filter, check_topic};

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

/// The longest packet that is sent, bytes, and with MQTT 5 the longest that is received: there the client can say so.
const MAX_PACKET: usize = 1 << 20;
/// The longest there is (MQTT 3.1.1, section 2.2.3): what is sent to a client that cannot say how much it takes comes again and again.
const LONGEST_PACKET: usize = 268_435_455;
/// The longest message that fits into one, whatever its topic.
pub const MAX_MESSAGE: usize = MAX_PACKET - (128 << 10);
/// Messages that are sent and not yet taken over.
const IN_FLIGHT: u16 = 1_000;
/// Places in the library's queue. The session bounds what waits by [`IN_FLIGHT`]; with so many, nothing that it sends has to wait for a place.
const QUEUED: usize = 10_000;
/// Why the broker takes no message or subscription.
const NO_RIGHT: &str = "its access list does not allow it";

/// What happened on a connection.
enum Event {
    /// The broker let us in; whether it still knew the session, and the longest packet that it takes, bytes, if it says so.
    Connected { resumed: bool, most: Option<u32> },
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

/// Why a message or a subscription was not handed over.
enum Undelivered {
    /// The session in which it was sent is gone: it has to be sent again.
    Again,
    /// The broker does not want it.
    Refused(String),
}

/// Tells when it is handed over: a message as far as its QoS asks.
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
    fn subscribe(&self, filter: &str, qos: Qos) -> Result<Delivered, String>;
    /// Ends the session in good order.
    fn disconnect(&self);
}

/// Why the broker lets nobody in, by its answer to CONNECT.
fn refuses(code: &(impl std::fmt::Debug + ?Sized)) -> String {
    let code = format!("{code:?}");
    if code == "NotAuthorized" || code == "BadUserNamePassword" {
        return format!(
            "the broker takes no certificate for a log-in ({code}; muster cert issue prints what its listener needs)"
        );
    }
    format!("the broker refuses the session ({code})")
}

/// The innermost reason in words for people.
pub(crate) fn words(host: &str, error: &(dyn std::error::Error + 'static)) -> String {
    known(host, error).unwrap_or_else(|| {
        match causes(error).find_map(<dyn std::error::Error>::downcast_ref) {
            Some(io) => unreachable(host, io),
            None => error.to_string(),
        }
    })
}

/// The same, if it is one that has words of its own.
fn known(host: &str, error: &(dyn std::error::Error + 'static)) -> Option<String> {
    for error in causes(error) {
        let inside = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let tls = inside.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls.or(error.downcast_ref::<rustls::Error>()) {
            return Some(tls::words(host, tls));
        }
    }
    let text = error.to_string();
    if text.contains("close_notify") {
        return Some("the broker has hung up without a word".into());
    }
    // Of what comes after the handshake, as refusals do in TLS 1.3, the library keeps the words alone.
    let alerts = tls::REFUSALS.map(rustls::Error::AlertReceived);
    let refusal = alerts.iter().find(|alert| text.contains(&alert.to_string()));
    refusal.map(|alert| tls::words(host, alert))
}

/// The error and what it comes from.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn unreachable(host: &str, why: &std::io::Error) -> String {
    // The system's resolver has no kind of error of its own.
    if why.to_string().contains("failed to lookup address") {
        return format!("the name {host} is not known (is it right?)");
    }
    if why.kind() == ErrorKind::ConnectionRefused {
        return "nobody listens there (does the broker run, and on this port?)".into();
    }
    if why.kind() == ErrorKind::TimedOut {
        return "no answer (is a firewall between?)".into();
    }
    why.to_string()
}
