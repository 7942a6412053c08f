//! What an agent asks of a broker. Each kind has an adapter, which sees neither the others nor the CA.
//!
//! An adapter says which files the broker reads ([`Broker::render`]) and how it takes them up ([`Broker::signal`]). A broker that
//! is told by calls instead renders few files or none, and does its work in [`Broker::shut_out`]; whoever comes back is let in with the
//! next set. The proof is the same for all: what a client sees.

mod emqx;
mod gate;
mod haproxy;
mod mosquitto;
mod rabbitmq;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use muster_api::agent::{Denial, Rules};
use muster_pki::crl::Crl;
use zeroize::Zeroizing;

use crate::beside::files::File;
use crate::{Clock, Error};

/// Where a broker asks the agent, unless told.
const ANSWER: &str = "127.0.0.1:8085";

/// Everything that a broker has to enforce: the fleet's, and the agent's own CA with it.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Every CA that it trusts, PEM.
    pub trust: String,
    /// A CRL for each of them.
    pub crls: Vec<Crl>,
    /// Its own key, certificate and chain, PEM.
    pub server: Zeroizing<String>,
    /// What devices may do that have no rules of their own.
    pub default: Rules,
    /// The rules of those that have.
    pub devices: BTreeMap<String, Rules>,
    /// Devices that must not come in. The lists refuse them already; this is for brokers that judge by names.
    pub shut_out: BTreeSet<String>,
    /// Names that may do nothing, whatever the rules say: canaries, and devices whose sessions are held.
    pub denied: BTreeSet<String>,
}

impl Orders {
    /// The CRLs, PEM.
    fn crls_pem(&self) -> Result<String, Error> {
        crate::beside::check::crls_pem(&self.crls)
    }
}

/// The files of a set, and what the broker cannot do quite as it was told.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// The files, in the order in which they are put in place.
    pub files: Vec<File>,
    /// What a device may not do although its rules say so: never the other way round.
    pub shortfalls: Vec<String>,
}

/// How a broker refuses who is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// In the handshake.
    Handshake,
    /// In the handshake, or when the session begins: it says no, or hangs up.
    Session,
}

/// What became of the sessions of devices that are shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// They are over.
    Over,
    /// The broker has no way to end them: they have to be taken over.
    TakeOver,
}

/// A kind of broker.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Begins to answer the broker, where it asks.
    async fn start(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The files that it reads.
    fn render(&self, orders: &Orders) -> Result<Rendered, Error>;

    /// Whether it may read what lies in its files; one that does not run is not asked.
    fn can_read(&self) -> Result<(), Error>;

    /// Makes it take up what lies in its files.
    async fn signal(&self) -> Result<(), Error>;

    /// Locks devices out by name, where the broker can, and ends their sessions.
    async fn shut_out(&self, devices: &[String]) -> Result<Ended, Error>;

    /// After which pauses sessions that were ended are ended once more, because some may have begun meanwhile.
    fn once_more(&self) -> &'static [Duration] {
        &[]
    }

    /// How it refuses who is revoked.
    fn refusal(&self) -> Refusal;

    /// For how long it lets a client wait between its handshake and its CONNECT.
    fn half_open(&self) -> Duration;

    /// What it refused since the last call, at most 100.
    async fn denials(&self) -> Result<Vec<Denial>, Error>;

    /// Sessions that it has, where it tells.
    async fn sessions(&self) -> Option<u64> {
        None
    }

    /// What has to stand in its configuration, so that it reads the files.
    fn config(&self) -> String;
}

/// After which pauses brokers that ask the agent are told to end sessions once more: one may have been told yes a moment before they were
/// ended, and RabbitMQ, which asks about names only, lets who has shown a certificate wait 10 s with its CONNECT.
const ONCE_MORE: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(12)];

/// Where a broker is on this machine.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The directory of its files; `/etc/PROGRAM/muster` unless said.
    pub dir: Option<PathBuf>,
    /// Where it writes its process id.
    pub pid_file: Option<PathBuf>,
    /// Where it writes its log.
    pub log: Option<PathBuf>,
    /// Where it listens for devices, `HOST:PORT`.
    pub listener: String,
    /// Where it takes orders: a socket's path, or an address; the usual one unless said.
    pub control: Option<String>,
    /// Where the agent answers it, if it asks: `ADDRESS:PORT` on loopback; the usual one unless said.
    pub answer: Option<String>,
}

impl Place {
    /// The port on which it listens.
    pub(crate) fn port(&self) -> &str {
        self.listener.rsplit_once(':').map_or("8883", |(_, port)| port)
    }

    /// Where the agent answers it.
    pub(crate) fn answer(&self) -> Result<SocketAddr, Error> {
        let answer = self.answer.as_deref().unwrap_or(ANSWER);
        let bad = |_| Error::new(format!("{answer:?} is no address with a port, such as {ANSWER}"));
        answer.parse().map_err(bad)
    }

    /// The directory of its files.
    pub fn dir(&self, program: &str) -> PathBuf {
        let usual = || PathBuf::from(format!("/etc/{program}/muster"));
        self.dir.clone().unwrap_or_else(usual)
    }
}

/// The adapter for a kind of broker.
pub fn adapter(program: &str, place: &Place, clock: &Clock) -> Result<Box<dyn Broker>, Error> {
    let dir = place.dir(program);
    match program {
        "mosquitto" => Ok(Box::new(mosquitto::Mosquitto::new(dir, place))),
        "haproxy" => Ok(Box::new(haproxy::HaProxy::new(dir, place))),
        "gate" => Ok(Box::new(gate::Gate::new(dir, place))),
        "emqx" => Ok(Box::new(emqx::Emqx::new(dir, place, clock.clone())?)),
        "rabbitmq" => Ok(Box::new(rabbitmq::RabbitMq::new(dir, place)?)),
        other => Err(Error::new(format!(
            "this version has no adapter for {other:?} (there is one for: mosquitto, rabbitmq, emqx, haproxy, gate)"
        ))),
    }
}
