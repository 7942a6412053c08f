//! One session over any number of connections.
//!
//! A task of its own connects, listens and connects again, so that nothing interrupts it. What is to be sent waits in the client's
//! queue while there is no connection, at most 10,000 messages; beyond that, whoever sends has to wait.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Backoff, Event, Link, Lost, Message, Place, Qos, Speaker, Undelivered, Version, v5, v311};
use crate::{Clock, Error};

/// Messages that are sent and not yet taken over.
const IN_FLIGHT: usize = 1_000;
/// Events that wait to be taken in.
const EVENTS: usize = 64;
/// How long a connection must have lasted to be none that failed: what breaks it may come right after it.
const LASTED: Duration = Duration::from_secs(5);
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
    let mut session = Session {
        speaker,
        settings,
        delivered: JoinSet::new(),
        connections: 0,
        since: Instant::now(),
        clock,
    };
    let ended = session.go_on(&mut events, &mut outgoing, &received, stop).await;
    if ended.is_ok() && session.connections > 0 {
        session.leave(&mut events).await;
    }
    listening.abort();
    ended
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

/// What became of a message.
type Done = Result<(Message, Result<(), Undelivered>), tokio::task::JoinError>;

struct Session {
    speaker: Box<dyn Speaker>,
    settings: Settings,
    delivered: JoinSet<(Message, Result<(), Undelivered>)>,
    connections: u64,
    since: Instant,
    clock: Clock,
}

impl Session {
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
                heard = events.recv() => match heard {
                    Some(Heard::Event(Event::Message(message))) => {
                        if received.send(message).await.is_err() {
                            return Ok(());
                        }
                    }
                    Some(Heard::Event(Event::Connected { resumed })) => self.connected(resumed).await?,
                    Some(Heard::Event(Event::Other)) => {}
                    Some(Heard::GaveUp(why)) => return Err(Error::new(self.unreachable(&why))),
                    None => return Ok(()),
                },
                message = outgoing.recv(), if open && self.delivered.len() < IN_FLIGHT => match message {
                    Some(message) => self.publish(message).await?,
                    None => open = false,
                },
                Some(done) = self.delivered.join_next() => self.outcome(done, stays).await?,
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
            for filter in &self.settings.filters {
                let asked = self.speaker.subscribe(filter, self.settings.qos);
                asked.map_err(|why| Error::new(format!("cannot subscribe to {filter}: {why}")))?;
            }
        }
        if let Some(online) = self.settings.online.clone() {
            self.publish(online).await?;
        }
        Ok(())
    }

    async fn publish(&mut self, message: Message) -> Result<(), Error> {
        let delivered = self.speaker.publish(message.clone(), self.settings.qos).await;
        let topic = &message.topic;
        let delivered = delivered.map_err(|why| Error::new(format!("cannot publish to {topic}: {why}")))?;
        self.delivered.spawn(async { (message, delivered.await) });
        Ok(())
    }

    /// What the broker forgot with the session is sent again. Who only wants to send something needs to hear that it was refused;
    /// who stays goes on with the rest.
    async fn outcome(&mut self, done: Done, stays: bool) -> Result<(), Error> {
        match done {
            Ok((_, Ok(()))) => Ok(()),
            Ok((message, Err(Undelivered::Again))) => self.publish(message).await,
            Ok((message, Err(Undelivered::Refused(why)))) => {
                let why = format!("the broker does not take messages to {}: {why}", message.topic);
                if stays {
                    tracing::warn!("{why}");
                    return Ok(());
                }
                Err(Error::new(why))
            }
            Err(why) => Err(Error::new(format!("a message was lost: {why}"))),
        }
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
        self.publish(message).await
    }

    /// Offline is said before the connection ends, and by us: the will is for those who cannot.
    async fn leave(&mut self, events: &mut mpsc::Receiver<Heard>) {
        let farewell = async {
            if let Some(offline) = self.settings.will.clone() {
                let _ = self.publish(offline).await;
            }
            // The task that listens must not wait for us to take its events.
            loop {
                tokio::select! {
                    done = self.delivered.join_next() => if done.is_none() { break },
                    heard = events.recv() => if heard.is_none() { return },
                }
            }
            self.speaker.disconnect();
            while events.recv().await.is_some() {}
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    fn unreachable(&self, why: &str) -> String {
        let place = &self.settings.place;
        format!("no connection to {}:{}: {why}", place.host, place.port)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;

    /// Lets in, and hangs up after so many seconds.
    struct Hanging {
        after: u64,
        open: bool,
        connections: Arc<AtomicU32>,
    }

    #[async_trait]
    impl Link for Hanging {
        async fn next(&mut self) -> Result<Event, Lost> {
            self.open = !self.open;
            if self.open {
                self.connections.fetch_add(1, Ordering::SeqCst);
                return Ok(Event::Connected { resumed: true });
            }
            tokio::time::sleep(Duration::from_secs(self.after)).await;
            Err(Lost::Broken("it hangs up".into()))
        }
    }

    /// How many connections came about within an hour, and whether it gave up.
    async fn hour(after: u64) -> (u32, bool) {
        let connections = Arc::new(AtomicU32::new(0));
        let link = Hanging {
            after,
            open: false,
            connections: connections.clone(),
        };
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), Some(4));
        let (send, mut events) = mpsc::channel(EVENTS);
        let listening = tokio::spawn(listen(Box::new(link), backoff, send));
        let ended = async {
            while let Some(heard) = events.recv().await {
                if matches!(heard, Heard::GaveUp(_)) {
                    return;
                }
            }
        };
        let gave_up = tokio::time::timeout(Duration::from_secs(3600), ended)
            .await
            .is_ok();
        listening.abort();
        (connections.load(Ordering::SeqCst), gave_up)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_at_once_is_a_failed_attempt() {
        assert_eq!(hour(0).await, (4, true));
        let (connections, gave_up) = hour(20).await;
        assert!(connections > 100 && !gave_up, "{connections}");
    }
}
