//! Brokers: what each is, what it is to enforce, and what it was proved to enforce.
//!
//! The agent beside a broker is a device of the internal authority, called [`AGENT`] and the broker's name. It hears what is
//! to be enforced ([`epoch`]), and says what came of it ([`agent`]). A revocation is done once every broker has proved an
//! epoch that has it in it.

pub mod agent;
pub(crate) mod canary;
pub mod epoch;
pub(crate) mod feed;
mod registry;
pub mod trial;
mod watch;

use jiff::Timestamp;
use muster_pki::name::San;

use crate::authority;
use crate::device::{DeviceName, Kind};
use crate::error::{Error, Refusal};

pub use registry::BrokerWish;

/// What the names of agents begin with.
pub const AGENT: &str = "muster-agent.";
/// What the names of canaries begin with: certificates that are there to be tried.
pub const CANARY: &str = "muster-canary.";
/// The name of every good canary. Brokers deny it every topic, whichever agent asked for it.
pub(crate) const GOOD_CANARY: &str = "muster-canary.good";
/// The longest name of a broker: its canary's has to fit a common name.
const MAX_NAME: usize = 64 - CANARY.len();

/// What a broker is: who shuts a device out there, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Eclipse Mosquitto.
    Mosquitto,
    /// RabbitMQ with its MQTT plugin.
    RabbitMq,
    /// EMQX 5.
    Emqx,
    /// HAProxy that ends TLS in front of any broker.
    HaProxy,
    /// Muster's own gate in front of any broker.
    Gate,
}

impl Program {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Mosquitto, "mosquitto"),
        (Self::RabbitMq, "rabbitmq"),
        (Self::Emqx, "emqx"),
        (Self::HaProxy, "haproxy"),
        (Self::Gate, "gate"),
    ];

    /// Reads the word for it.
    pub fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text);
        found.map(|(program, _)| *program)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(program, _)| *program == self);
        found.map_or("mosquitto", |(_, word)| word)
    }
}

/// A broker as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its name: the device whose certificate it shows.
    pub name: DeviceName,
    /// What it is.
    pub program: Program,
    /// The alternative names of its certificate.
    pub sans: Vec<San>,
    /// Since when.
    pub created: Timestamp,
    /// Since when it is out of service; nobody waits for it any more.
    pub retired: Option<Timestamp>,
    /// What it was last proved to enforce.
    pub enforced: Option<Enforced>,
    /// What went wrong with a later epoch, until one is proved again.
    pub failed: Option<Failed>,
    /// Rises by one with every change; a change that was prepared on an older version is refused.
    pub version: u64,
}

/// What a broker was proved to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// The epoch's number.
    pub number: u64,
    /// The audit entry up to which everything is in it.
    pub sequence: u64,
    /// Since when.
    pub at: Timestamp,
    /// How long the agent took for it, in microseconds.
    pub micros: u64,
    /// When the first CRL that it holds since then runs out.
    pub crl_until: Option<Timestamp>,
}

/// An epoch that a broker could not be proved to enforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The epoch's number.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What happened, and what the agent did about it.
    pub why: String,
}

impl Broker {
    /// The name of the agent beside it.
    pub fn agent(&self) -> DeviceName {
        DeviceName::own(&format!("{AGENT}{}", self.name))
    }

    /// The authorities whose devices it lets in.
    pub(crate) fn trusts(&self, authority: &str) -> bool {
        authority != authority::INTERNAL
    }
}

/// A broker's name has to be a server's, with room for what the agent's and the canary's have in front.
fn check_name(name: &DeviceName) -> Result<(), Error> {
    if name.as_str().len() > MAX_NAME {
        return Err(Error::Bad(format!(
            "a broker's name has at most {MAX_NAME} characters"
        )));
    }
    Ok(())
}

fn refuse_client(name: &DeviceName, kind: Kind) -> Result<(), Error> {
    match kind {
        Kind::Server | Kind::Broker => Ok(()),
        Kind::Client => Err(Refusal::new(format!("{name} is registered as a client"))
            .fix("choose another name: a client never becomes a broker")
            .into()),
    }
}
