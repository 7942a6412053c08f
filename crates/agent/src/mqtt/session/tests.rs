//! Sessions whose links are made by hand.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::*;
use crate::mqtt::Delivered;

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
            return Ok(Event::Connected {
                resumed: true,
                most: None,
            });
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

/// Takes messages, each of which is handed over when the test says so.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Vec<Taken>>>);

/// A message, and what says that it is handed over.
type Taken = (Bytes, oneshot::Sender<()>);

#[async_trait]
impl Speaker for Slow {
    async fn publish(&self, message: Message, _: Qos) -> Result<Delivered, String> {
        let (send, handed_over) = oneshot::channel();
        self.0.lock().unwrap().push((message.payload, send));
        Ok(Box::pin(async {
            handed_over.await.map_err(|_| Undelivered::Again)
        }))
    }

    fn subscribe(&self, _: &str, _: Qos) -> Result<Delivered, String> {
        Ok(Box::pin(async { Ok(()) }))
    }

    fn disconnect(&self) {}
}

fn session(speaker: Slow) -> Session {
    let settings = Settings {
        place: Place {
            host: "localhost".into(),
            port: 1,
            ca: "ca.crt".into(),
            certificate: "x.crt".into(),
            key: "x.key".into(),
            name: "x".into(),
        },
        version: Version::V5,
        qos: Qos::ExactlyOnce,
        keep_alive: 60,
        persistent: true,
        filters: Vec::new(),
        will: None,
        online: Some(Message {
            topic: "status/x".into(),
            payload: "online".into(),
            retain: true,
        }),
        health: None,
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60), None),
    };
    Session::new(
        settings,
        Box::new(speaker),
        Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
    )
}

#[tokio::test]
async fn a_connection_that_comes_while_online_is_under_way_says_it_once_more() {
    let speaker = Slow::default();
    let mut session = session(speaker.clone());
    let said = || speaker.0.lock().unwrap().len();
    session.connected(false).await.unwrap();
    assert_eq!(said(), 1);
    // The broker may have said offline before each of these, and hears the first word only now.
    session.connected(true).await.unwrap();
    session.connected(true).await.unwrap();
    assert_eq!(said(), 1);
    let (_, handed_over) = speaker.0.lock().unwrap().remove(0);
    handed_over.send(()).unwrap();
    let done = session.delivered.join_next().await.unwrap();
    session.outcome(done).await.unwrap();
    assert_eq!(said(), 1, "the word that is owed");
    let (word, handed_over) = speaker.0.lock().unwrap().remove(0);
    assert_eq!(word, "online");
    handed_over.send(()).unwrap();
    let done = session.delivered.join_next().await.unwrap();
    session.outcome(done).await.unwrap();
    assert_eq!(said(), 0, "nothing is owed any more");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_at_once_is_a_failed_attempt() {
    assert_eq!(hour(0).await, (4, true));
    let (connections, gave_up) = hour(20).await;
    assert!(connections > 100 && !gave_up, "{connections}");
}
