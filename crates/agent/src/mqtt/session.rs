//! One session over any number of connections.
//!
//! A task of its own connects, listens and connects again, so that nothing interrupts it. What is to be sent waits in the client's
//! queue while there is no connection, at most 1,000 messages; beyond that, whoever sends has to wait.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{
    Backoff, Event, IN_FLIGHT, Link, Lost, Message, Place, Qos, Speaker, Undelivered, Version, v5, v311,
};
use crate::{Clock, Error};

/// Events that wait to be taken in.
const EVENTS: usize = 64;
/// How long a connection must have lasted to be none that failed: what breaks it may come right after it.
const LASTED: Duration = Duration::from_secs(5);
/// What a packet holds besides its topic and message, bytes, at most.
const HEAD: usize = 16;
/// How long good-byes may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a session is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where, and as whom.
    pub place: Place,
    /// Which MQTT.
    pub version: Version,
    /// How hard to try, in both directions.
    pub qos: Qos,
    /// How long the connection may be silent, in seconds.
    pub keep_alive: u16,
    /// Whether the broker keeps the session while there is no connection.
    pub persistent: bool,
    /// What is received.
    pub filters: Vec<String>,
    /// What the broker says for us when we die; we say it ourselves before we leave.
    pub will: Option<Message>,
    /// What we say whenever we have come.
    pub online: Option<Message>,
    /// What we say now and then.
    pub health: Option<Health>,
    /// When to try again.
    pub backoff: Backoff,
}

/// What is said now and then: when, since when, and how often the connection was lost.
#[derive(Debug, Clone)]
pub struct Health {
    /// Where.
    pub topic: String,
    /// How often.
    pub every: Duration,
}

/// Sends what comes out of `outgoing` and hands received messages over, until `stop`, until nobody takes them any more, or, if
/// nothing is received and there is no health to tell, until `outgoing` has ended and everything was taken over.
///
/// # Errors
/// When as many attempts to connect have failed as may, with the reason of the last; when the broker refuses a message.
pub async fn run(
    settings: Settings,
    clock: Clock,
    mut outgoing: mpsc::Receiver<Message>,
    received: mpsc::Sender<Message>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (link, speaker) = match settings.version {
        Version::V311 => v311::open(&settings),
        Version::V5 => v5::open(&settings),
    };
    let (send, mut events) = mpsc::channel(EVENTS);
    let listening = tokio::spawn(listen(link, settings.backoff.clone(), send));
    let mut session = Session::new(settings, speaker, clock);
    let ended = session.go_on(&mut events, &mut outgoing, &received, stop).await;
    // What was on its way fails with the connection that was the last one allowed; that one's reason is the true one.
    let ended = ended.map_err(|why| session.last_word(&mut events).unwrap_or(why));
    let end = Instant::now() + FAREWELL;
    if ended.is_ok() && session.connections > 0 {
        let _ = tokio::time::timeout_at(end, session.leave(&mut events, &received)).await;
    }
    listening.abort();
    let _ = tokio::time::timeout_at(end, session.hand_over_all(&received)).await;
    ended?;
    match session.unread.len() {
        0 => Ok(()),
        lost => Err(Error::new(format!("{lost} messages have come that nobody takes"))),
    }
}

/// What the task that listens tells.
enum Heard {
    Event(Event),
    /// The last attempt that was allowed has failed.
    GaveUp(String),
}

async fn listen(mut link: Box<dyn Link>, mut backoff: Backoff, events: mpsc::Sender<Heard>) {
    let mut connected: Option<Instant> = None;
    loop {
        let heard = match link.next().await {
            Ok(event) => {
                if matches!(event, Event::Connected { .. }) {
                    connected = Some(Instant::now());
                }
                Heard::Event(event)
            }
            Err(Lost::Ended) => return,
            Err(Lost::Broken(why)) => {
                if connected.take().is_some_and(|since| since.elapsed() >= LASTED) {
                    backoff.well();
                }
                let mut chance = [0; 2];
                // Without randomness they come together, which is no harm.
                let _ = aws_lc_rs::rand::fill(&mut chance);
                match backoff.next(u16::from_be_bytes(chance)) {
                    Some(pause) => {
                        // 128 bits are no number in JSON.
                        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                        let attempt = backoff.failed();
                        tracing::warn!(attempt, pause_ms, "no connection to the broker: {why}");
                        tokio::time::sleep(pause).await;
                        continue;
                    }
                    None => Heard::GaveUp(why),
                }
            }
        };
        let last = matches!(heard, Heard::GaveUp(_));
        if events.send(heard).await.is_err() || last {
            return;
        }
    }
}

/// What is on its way to the broker.
#[derive(Clone)]
enum Sent {
    /// What has to arrive.
    Message(Message),
    /// That the device is online. Each connection says so, but one word that waits is enough.
    Online(Message),
    /// How the device is. The same: nobody needs what is old.
    Health(Message),
    /// A wish to hear what is published here.
    Filter(String),
}

/// What became of it.
type Done = Result<(Sent, Result<(), Undelivered>), tokio::task::JoinError>;

struct Session {
    speaker: Box<dyn Speaker>,
    settings: Settings,
    delivered: JoinSet<(Sent, Result<(), Undelivered>)>,
    online_waits: bool,
    /// Another connection came about meanwhile, and the broker may have said offline before it.
    online_owed: bool,
    health_waits: bool,
    /// What has come, and waits until there is room for it. As long as there is some, nothing more is heard until the session ends.
    unread: VecDeque<Message>,
    connections: u64,
    /// The longest packet that the broker takes, if it says so.
    most: Option<usize>,
    since: Instant,
    clock: Clock,
}

impl Session {
    fn new(settings: Settings, speaker: Box<dyn Speaker>, clock: Clock) -> Self {
        Self {
            speaker,
            settings,
            delivered: JoinSet::new(),
            online_waits: false,
            online_owed: false,
            health_waits: false,
            unread: VecDeque::new(),
            connections: 0,
            most: None,
            since: Instant::now(),
            clock,
        }
    }

    async fn go_on(
        &mut self,
        events: &mut mpsc::Receiver<Heard>,
        outgoing: &mut mpsc::Receiver<Message>,
        received: &mpsc::Sender<Message>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        tokio::pin!(stop);
        let stays = !self.settings.filters.is_empty() || self.settings.health.is_some();
        let mut open = true;
        let mut health = Instant::now();
        let every = self.settings.health.as_ref().map(|health| health.every);
        loop {
            if !open && self.delivered.is_empty() && !stays {
                return Ok(());
            }
            tokio::select! {
                room = received.reserve(), if !self.unread.is_empty() => self.hand_over(room),
                heard = events.recv(), if self.unread.is_empty() => match heard {
                    Some(Heard::Event(Event::Message(message))) => self.unread.push_back(message),
                    Some(Heard::Event(Event::Connected { resumed, most })) => {
                        self.most = most.and_then(|most| usize::try_from(most).ok());
                        self.connected(resumed).await?;
                    }
                    Some(Heard::Event(Event::Other)) => {}
                    Some(Heard::GaveUp(why)) => return Err(Error::new(self.unreachable(&why))),
                    None => return Ok(()),
                },
                // The first answer says how long messages may be.
                message = outgoing.recv(), if open && self.connections > 0 && self.delivered.len() < usize::from(IN_FLIGHT) => match message {
                    Some(message) => self.send(Sent::Message(message)).await?,
                    None => open = false,
                },
                Some(done) = self.delivered.join_next() => self.outcome(done).await?,
                () = tokio::time::sleep_until(health), if every.is_some() && self.connections > 0 => {
                    health = Instant::now() + every.unwrap_or_default();
                    self.tell_health().await?;
                }
                () = received.closed() => return Ok(()),
                () = &mut stop => return Ok(()),
            }
        }
    }

    async fn connected(&mut self, resumed: bool) -> Result<(), Error> {
        self.connections += 1;
        let place = &self.settings.place;
        tracing::info!(
            name = place.name,
            broker = place.host,
            port = place.port,
            resumed,
            "connected"
        );
        // A session that this program did not begin may have other subscriptions.
        if !resumed || self.connections == 1 {
            for filter in self.settings.filters.clone() {
                self.send(Sent::Filter(filter)).await?;
            }
        }
        if let Some(online) = self.settings.online.clone() {
            self.send(Sent::Online(online)).await?;
        }
        Ok(())
    }

    /// Hands it to the library, whose queue has room for all that this sends at once.
    async fn send(&mut self, sent: Sent) -> Result<(), Error> {
        let qos = self.settings.qos;
        if self.is_too_long(&sent) {
            return self.refused(&sent, "it is longer than the broker takes");
        }
        if let Some(waits) = self.waits(&sent)
            && std::mem::replace(waits, true)
        {
            self.online_owed |= matches!(sent, Sent::Online(_));
            return Ok(());
        }
        let delivered = match &sent {
            Sent::Filter(filter) => self.speaker.subscribe(filter, qos),
            Sent::Message(message) | Sent::Online(message) | Sent::Health(message) => {
                self.speaker.publish(message.clone(), qos).await
            }
        };
        let delivered = delivered.map_err(|why| Error::new(format!("cannot {}: {why}", sent.words())))?;
        self.delivered.spawn(async { (sent, delivered.await) });
        Ok(())
    }

    /// Of what one that waits is enough: whether one does.
    fn waits(&mut self, sent: &Sent) -> Option<&mut bool> {
        match sent {
            Sent::Online(_) => Some(&mut self.online_waits),
            Sent::Health(_) => Some(&mut self.health_waits),
            Sent::Message(_) | Sent::Filter(_) => None,
        }
    }

    /// What the broker forgot with the session is sent again. Who only wants to send or hear something needs to know that it was
    /// refused; who stays goes on with the rest.
    async fn outcome(&mut self, done: Done) -> Result<(), Error> {
        let (sent, outcome) = done.map_err(|why| Error::new(format!("a message was lost: {why}")))?;
        if let Some(waits) = self.waits(&sent) {
            *waits = false;
        }
        if matches!(sent, Sent::Online(_)) && std::mem::take(&mut self.online_owed) {
            return self.send(sent).await;
        }
        match outcome {
            Ok(()) => Ok(()),
            // Another connection asks for it.
            Err(Undelivered::Again) if matches!(sent, Sent::Filter(_)) => Ok(()),
            Err(Undelivered::Again) => self.send(sent).await,
            Err(Undelivered::Refused(why)) => self.refused(&sent, &why),
        }
    }

    fn refused(&self, sent: &Sent, why: &str) -> Result<(), Error> {
        let why = format!("the broker does not let us {}: {why}", sent.words());
        if self.settings.health.is_some() {
            tracing::warn!("{why}");
            return Ok(());
        }
        Err(Error::new(why))
    }

    /// Whether it would end every connection on which it is sent.
    fn is_too_long(&self, sent: &Sent) -> bool {
        let length = match sent {
            Sent::Message(message) | Sent::Online(message) | Sent::Health(message) => {
                message.topic.len() + message.payload.len()
            }
            Sent::Filter(filter) => filter.len(),
        };
        self.most.is_some_and(|most| length + HEAD > most)
    }

    async fn tell_health(&mut self) -> Result<(), Error> {
        let Some(health) = &self.settings.health else {
            return Ok(());
        };
        let json = serde_json::json!({
            "at": (self.clock)().to_string(),
            "up_seconds": self.since.elapsed().as_secs(),
            "reconnects": self.connections.saturating_sub(1),
        });
        let message = Message {
            topic: health.topic.clone(),
            payload: Bytes::from(json.to_string()),
            retain: false,
        };
        self.send(Sent::Health(message)).await
    }

    /// Offline is said before the connection ends, and by us: the will is for those who cannot.
    /// What comes meanwhile is handed over, too: the library has told the broker that it is here, so it does not come again.
    async fn leave(&mut self, events: &mut mpsc::Receiver<Heard>, received: &mpsc::Sender<Message>) {
        if let Some(offline) = self.settings.will.clone() {
            let _ = self.send(Sent::Message(offline)).await;
        }
        let mut gone = false;
        loop {
            if self.delivered.is_empty() && !std::mem::replace(&mut gone, true) {
                self.speaker.disconnect();
            }
            tokio::select! {
                Some(_) = self.delivered.join_next() => {}
                room = received.reserve(), if !self.unread.is_empty() => self.hand_over(room),
                // The task that listens must not wait for us to take its events.
                heard = events.recv() => match heard {
                    Some(Heard::Event(Event::Message(message))) => self.unread.push_back(message),
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }

    /// To a taker that has room, or, if there is none any more, to nobody.
    fn hand_over(&mut self, room: Result<mpsc::Permit<'_, Message>, mpsc::error::SendError<()>>) {
        let Ok(room) = room else {
            self.unread.clear();
            return;
        };
        if let Some(message) = self.unread.pop_front() {
            room.send(message);
        }
    }

    async fn hand_over_all(&mut self, received: &mpsc::Sender<Message>) {
        while !self.unread.is_empty() {
            let room = received.reserve().await;
            self.hand_over(room);
        }
    }

    /// Why there will be no other connection, if that has been told; what came before it is kept.
    fn last_word(&mut self, events: &mut mpsc::Receiver<Heard>) -> Option<Error> {
        let mut why = None;
        while let Ok(heard) = events.try_recv() {
            match heard {
                Heard::GaveUp(last) => why = Some(Error::new(self.unreachable(&last))),
                Heard::Event(Event::Message(message)) => self.unread.push_back(message),
                Heard::Event(_) => {}
            }
        }
        why
    }

    fn unreachable(&self, why: &str) -> String {
        let place = &self.settings.place;
        format!("no connection to {}:{}: {why}", place.host, place.port)
    }
}

impl Sent {
    fn words(&self) -> String {
        match self {
            Self::Message(message) | Self::Online(message) | Self::Health(message) => {
                format!("publish to {}", message.topic)
            }
            Self::Filter(filter) => format!("subscribe to {filter}"),
        }
    }
}

#[cfg(test)]
mod tests;
