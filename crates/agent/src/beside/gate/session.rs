//! One device: its handshake, its CONNECT, and every packet from then on.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::newcomers::Newcomer;
use super::packet::{self, Connect, Frame, Publish, Reader, Reason, Subscribe};
use super::sessions::{Sessions, Shown};
use super::{Settings, proxy};
use crate::beside::access::Way;

/// How long a handshake may take, and then the CONNECT.
const HANDSHAKE: Duration = Duration::from_secs(10);
const BEGIN: Duration = Duration::from_secs(10);
/// How long the broker may take to accept a connection, and how long somebody may take no bytes.
const BROKER: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(30);
/// How long a device that is refused has to read why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest CONNECT, and the longest packet.
const MAX_CONNECT: usize = 64 << 10;
const MAX_PACKET: usize = 1 << 20;
/// The most topic aliases, and subscriptions that wait for their answer, of a session.
const MOST: usize = 1000;
/// The longest that all topics with an alias may be together, bytes.
const MAX_ALIASED: usize = 64 << 10;

type Client = TlsStream<TcpStream>;

/// Serves a connection to its end. An error says why it was ended.
pub(super) async fn serve(
    tcp: TcpStream,
    from: SocketAddr,
    newcomer: Newcomer,
    settings: &Settings,
    sessions: &Sessions,
) -> io::Result<()> {
    let to = tcp.local_addr()?;
    let mut client = handshake(tcp, sessions).await?;
    let shown = Shown::read(client.get_ref().1.peer_certificates().unwrap_or_default());
    let shown = Arc::new(shown.ok_or_else(|| io::Error::other("its certificate has no name"))?);
    let mut reader = Reader::default();
    let first = timeout(BEGIN, reader.frame(&mut client, MAX_CONNECT)).await??;
    let first = first.ok_or_else(|| io::Error::other("it hung up before its CONNECT"))?;
    let connect = Connect::read(&first).map_err(io::Error::other)?;
    let end = Arc::new(Notify::new());
    let Some(_listed) = sessions.list(&shown, end.clone()) else {
        return Err(io::Error::other(format!("{} does not hold any more", shown.name)));
    };
    if let Some(reason) = refusal(&connect, &shown.name, sessions) {
        put(&mut client, &packet::connack(connect.level, reason)).await?;
        let _ = timeout(LAST_WORDS, client.shutdown()).await;
        return Err(io::Error::other(format!("{} is refused: {reason:?}", shown.name)));
    }
    drop(newcomer);
    let header = settings
        .proxy_protocol
        .then(|| proxy::header(from, to, &shown.name));
    let begun = [header.as_deref().unwrap_or_default(), first.bytes()].concat();
    let relay = async {
        let broker = timeout(BROKER, TcpStream::connect(&settings.to)).await??;
        broker.set_nodelay(true)?;
        let relay = Relay::new(&shown.name, &connect, sessions);
        relay.run(client, reader, broker, &begun).await
    };
    tokio::select! {
        ended = relay => ended,
        () = end.notified() => Err(io::Error::other(format!("{} does not hold any more", shown.name))),
    }
}

/// Whoever is refused hears why: what is left of its bytes is read, since hanging up on them would take the alert back.
async fn handshake(tcp: TcpStream, sessions: &Sessions) -> io::Result<Client> {
    let acceptor = TlsAcceptor::from(sessions.judge().tls.clone());
    match timeout(HANDSHAKE, acceptor.accept(tcp).into_fallible()).await? {
        Ok(client) => Ok(client),
        Err((why, mut tcp)) => {
            let _ = tcp.shutdown().await;
            let mut rest = [0; 1024];
            let drained = async { while tcp.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
            let _ = timeout(LAST_WORDS, drained).await;
            Err(why)
        }
    }
}

/// Client id and user name are the certificate's name; a will goes where its device may publish.
fn refusal(connect: &Connect, name: &str, sessions: &Sessions) -> Option<Reason> {
    if connect.client_id != name {
        return Some(Reason::ClientId);
    }
    if connect.username.as_ref().is_some_and(|user| user != name) {
        return Some(Reason::NotAuthorised);
    }
    let will = connect.will.as_ref()?;
    if sessions.judge().access.allows(name, Way::Publish, will) {
        return None;
    }
    sessions.deny(name, will);
    Some(Reason::NotAuthorised)
}

async fn put(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    timeout(SLOW, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    })
    .await?
}

/// What both directions know.
struct Relay<'a> {
    name: &'a str,
    level: u8,
    /// One and a half times what it promised (MQTT 3.1.1, section 3.1.2.10).
    idle: Option<Duration>,
    sessions: &'a Sessions,
    /// Of which filters the broker sees some only, by packet identifier.
    subscribing: Lock<HashMap<u16, Vec<bool>>>,
}

/// The two ends, to be written to from both directions.
struct Ends {
    client: Mutex<WriteHalf<Client>>,
    broker: Mutex<OwnedWriteHalf>,
}

impl<'a> Relay<'a> {
    fn new(name: &'a str, connect: &Connect, sessions: &'a Sessions) -> Self {
        let idle = Duration::from_millis(u64::from(connect.keep_alive) * 1500);
        Self {
            name,
            level: connect.level,
            idle: (connect.keep_alive > 0).then_some(idle),
            sessions,
            subscribing: Lock::default(),
        }
    }

    async fn run(&self, client: Client, reader: Reader, broker: TcpStream, begun: &[u8]) -> io::Result<()> {
        let (client_read, client_write) = split(client);
        let (broker_read, mut broker_write) = broker.into_split();
        put(&mut broker_write, begun).await?;
        let ends = Ends {
            client: Mutex::new(client_write),
            broker: Mutex::new(broker_write),
        };
        let ended = tokio::select! {
            ended = self.up(client_read, reader, &ends) => ended,
            ended = self.down(broker_read, &ends) => ended,
        };
        // What the broker said last is on its way.
        let mut client = ends.client.into_inner();
        let _ = timeout(LAST_WORDS, client.shutdown()).await;
        ended
    }

    /// From the device to the broker.
    async fn up(&self, mut client: ReadHalf<Client>, mut reader: Reader, ends: &Ends) -> io::Result<()> {
        let (mut aliases, mut withheld) = (Aliases::default(), HashSet::new());
        loop {
            let next = reader.frame(&mut client, MAX_PACKET);
            let frame = match self.idle {
                Some(idle) => timeout(idle, next).await??,
                None => next.await?,
            };
            let Some(frame) = frame else { return Ok(()) };
            match frame.kind() {
                packet::CONNECT => return Err(io::Error::other("a second CONNECT")),
                packet::PUBLISH => {
                    let publish = Publish::read(&frame, self.level).map_err(io::Error::other)?;
                    let topic = aliases.topic(&publish)?;
                    if let Some(topic) = topic {
                        if self.allows(Way::Publish, topic) {
                            put(&mut *ends.broker.lock().await, frame.bytes()).await?;
                            continue;
                        }
                        self.sessions.deny(self.name, topic);
                    }
                    aliases.withhold(&publish);
                    if packet::is_followed(&publish, self.level, true) {
                        withheld.insert(publish.identifier);
                    }
                    if let Some(answer) = packet::acknowledge(&publish, self.level, true) {
                        put(&mut *ends.client.lock().await, &answer).await?;
                    }
                }
                packet::PUBREL if withheld.remove(&frame.identifier().map_err(io::Error::other)?) => {
                    let answer = packet::pubcomp(frame.identifier().map_err(io::Error::other)?);
                    put(&mut *ends.client.lock().await, &answer).await?;
                }
                packet::SUBSCRIBE => self.subscribe(&frame, ends).await?,
                _ => put(&mut *ends.broker.lock().await, frame.bytes()).await?,
            }
        }
    }

    /// The broker sees what the device may have; the rest is refused here.
    async fn subscribe(&self, frame: &Frame, ends: &Ends) -> io::Result<()> {
        let subscribe = Subscribe::read(frame, self.level).map_err(io::Error::other)?;
        let filters = subscribe.filters.iter().map(|(filter, _)| filter.as_str());
        let allowed: Vec<bool> = filters
            .clone()
            .map(|filter| self.allows(Way::Subscribe, packet::topics_of(filter)))
            .collect();
        for (filter, _) in filters.zip(&allowed).filter(|(_, allowed)| !**allowed) {
            self.sessions.deny(self.name, filter);
        }
        if allowed.iter().all(|allowed| *allowed) {
            return put(&mut *ends.broker.lock().await, frame.bytes()).await;
        }
        if !allowed.contains(&true) {
            let answer = packet::suback_for_none(&subscribe, self.level);
            return put(&mut *ends.client.lock().await, &answer).await;
        }
        let some = subscribe.with(self.level, &allowed);
        {
            let mut waiting = self.subscribing();
            waiting.insert(subscribe.identifier, allowed);
            if waiting.len() > MOST {
                return Err(io::Error::other("too many subscriptions wait for the broker"));
            }
        }
        put(&mut *ends.broker.lock().await, &some).await
    }

    /// From the broker to the device: rules may have changed since it subscribed.
    async fn down(&self, mut broker: OwnedReadHalf, ends: &Ends) -> io::Result<()> {
        let (mut aliases, mut withheld) = (Aliases::default(), HashSet::new());
        let mut reader = Reader::default();
        while let Some(frame) = reader.frame(&mut broker, MAX_PACKET).await? {
            match frame.kind() {
                packet::PUBLISH => {
                    let publish = Publish::read(&frame, self.level).map_err(io::Error::other)?;
                    let topic = aliases.topic(&publish)?;
                    if topic.is_some_and(|topic| self.allows(Way::Subscribe, topic)) {
                        put(&mut *ends.client.lock().await, frame.bytes()).await?;
                        continue;
                    }
                    aliases.withhold(&publish);
                    if packet::is_followed(&publish, self.level, false) {
                        withheld.insert(publish.identifier);
                    }
                    if let Some(answer) = packet::acknowledge(&publish, self.level, false) {
                        put(&mut *ends.broker.lock().await, &answer).await?;
                    }
                }
                packet::PUBREL if withheld.remove(&frame.identifier().map_err(io::Error::other)?) => {
                    let answer = packet::pubcomp(frame.identifier().map_err(io::Error::other)?);
                    put(&mut *ends.broker.lock().await, &answer).await?;
                }
                packet::SUBACK => {
                    let identifier = frame.identifier().map_err(io::Error::other)?;
                    let asked = self.subscribing().remove(&identifier);
                    let answer = asked.map(|allowed| packet::suback_for_all(&frame, self.level, &allowed));
                    let answer = answer.transpose().map_err(io::Error::other)?;
                    let bytes = answer.as_deref().unwrap_or(frame.bytes());
                    put(&mut *ends.client.lock().await, bytes).await?;
                }
                _ => put(&mut *ends.client.lock().await, frame.bytes()).await?,
            }
        }
        Ok(())
    }

    fn allows(&self, way: Way, filter: &str) -> bool {
        self.sessions.judge().access.allows(self.name, way, filter)
    }

    fn subscribing(&self) -> std::sync::MutexGuard<'_, HashMap<u16, Vec<bool>>> {
        self.subscribing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Topics that have a number instead (MQTT 5.0, section 3.3.2.3.4), as the other end knows them.
#[derive(Default)]
struct Aliases {
    /// `None`: of a message that was refused, so that the other end does not know it.
    topics: HashMap<u16, Option<String>>,
    bytes: usize,
}

impl Aliases {
    /// The topic of a message; `None` if that was refused when it got its alias.
    fn topic<'a>(&'a mut self, publish: &'a Publish) -> io::Result<Option<&'a str>> {
        let Some(alias) = publish.alias else {
            return Ok(Some(&publish.topic));
        };
        if !publish.topic.is_empty() {
            self.set(alias, Some(publish.topic.clone()));
        }
        if self.topics.len() > MOST || self.bytes > MAX_ALIASED {
            return Err(io::Error::other("too many topic aliases"));
        }
        let known = self.topics.get(&alias);
        known
            .map(Option::as_deref)
            .ok_or_else(|| io::Error::other("an unknown topic alias"))
    }

    /// The other end does not see this message. What its alias stood for there before is not used any more.
    fn withhold(&mut self, publish: &Publish) {
        if let Some(alias) = publish.alias.filter(|_| !publish.topic.is_empty()) {
            self.set(alias, None);
        }
    }

    fn set(&mut self, alias: u16, topic: Option<String>) {
        let length = |topic: Option<&String>| topic.map_or(0, String::len);
        self.bytes += length(topic.as_ref());
        let before = self.topics.insert(alias, topic);
        self.bytes -= length(before.flatten().as_ref());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    fn publish(topic: &str, alias: u16) -> Publish {
        Publish {
            topic: topic.into(),
            alias: Some(alias),
            qos: 0,
            identifier: 0,
        }
    }

    #[test]
    fn an_alias_of_a_refused_message_stands_for_nothing() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.topic(&publish("mine", 1)).unwrap(), Some("mine"));
        assert_eq!(aliases.topic(&publish("theirs", 1)).unwrap(), Some("theirs"));
        aliases.withhold(&publish("theirs", 1));
        assert_eq!(aliases.topic(&publish("", 1)).unwrap(), None);
        assert_eq!(aliases.topic(&publish("mine", 1)).unwrap(), Some("mine"));
        assert_eq!(aliases.topic(&publish("", 1)).unwrap(), Some("mine"));
        assert!(aliases.topic(&publish("", 2)).is_err());
    }

    #[test]
    fn aliases_take_so_much_room_at_most() {
        let mut aliases = Aliases::default();
        let long = "x".repeat(MAX_ALIASED / 2);
        for _ in 0..9 {
            assert!(aliases.topic(&publish(&long, 1)).is_ok());
            assert!(aliases.topic(&publish(&long, 2)).is_ok());
        }
        assert!(aliases.topic(&publish("x", 3)).is_err());
    }
}
