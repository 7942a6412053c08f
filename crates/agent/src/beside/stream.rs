//! The outbound stream from the CA: server-sent events (WHATWG HTML, section 9.2), each with a signed epoch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use muster_api::Client;
use tokio::sync::{Notify, mpsc, watch};

/// The CA says something every second; after this, it is not there any more.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two tries to connect: doubled each time, and spread over half of it.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// The longest event: as long as a signed epoch may be.
const MAX_EVENT: usize = muster_pki::message::MAX_MESSAGE;

/// What comes out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A signed epoch, to be believed by nobody yet.
    Epoch(String),
    /// The CA is there.
    There,
    /// The CA is away, and why.
    Away(String),
}

/// Where the stream begins, and when it has to begin again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    from: Arc<Mutex<(Option<u64>, u64)>>,
    again: Arc<Notify>,
}

impl Position {
    /// The next connection goes on after this sequence, or with everything; numbers are higher than this one.
    pub(crate) fn set(&self, after: Option<u64>, number: u64) {
        *self.from.lock().unwrap_or_else(PoisonError::into_inner) = (after, number);
    }

    fn path(&self) -> String {
        let (after, number) = *self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        format!("/agent/stream?number={number}{after}")
    }

    /// Connects anew.
    pub(crate) fn again(&self) {
        self.again.notify_one();
    }
}

/// Follows the stream until the other end of `heard` is gone.
pub(crate) async fn follow(
    client: watch::Receiver<Arc<Client>>,
    position: Position,
    heard: mpsc::Sender<Heard>,
) {
    let mut pause = FIRST;
    while !heard.is_closed() {
        let began = Instant::now();
        let now = client.borrow().clone();
        let why = tokio::select! {
            why = once(&now, &position, &heard) => why,
            () = position.again.notified() => continue,
        };
        if heard.send(Heard::Away(why)).await.is_err() {
            return;
        }
        if began.elapsed() > SILENCE * 2 {
            pause = FIRST;
        }
        tokio::time::sleep(spread(pause)).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// One connection; returns why it ended.
async fn once(client: &Client, position: &Position, heard: &mpsc::Sender<Heard>) -> String {
    let path = position.path();
    let last = Mutex::new(Instant::now());
    let mut events = Events::default();
    let mut there = false;
    let download = client.download(&path, |piece| {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // The next connection brings what this one could not, and all of it together.
        let full = |_| std::io::Error::other("the agent is busy and takes the rest in later");
        if !std::mem::replace(&mut there, true) {
            heard.try_send(Heard::There).map_err(full)?;
        }
        for event in events.push(piece)? {
            heard.try_send(Heard::Epoch(event)).map_err(full)?;
        }
        Ok(())
    });
    let silent = async {
        loop {
            let quiet = last.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            if quiet >= SILENCE {
                return;
            }
            tokio::time::sleep(SILENCE - quiet).await;
        }
    };
    tokio::select! {
        ended = download => match ended {
            Ok(()) => "the CA ended the stream".into(),
            Err(why) => why.to_string(),
        },
        () = silent => format!("nothing was heard from the CA for {} s", SILENCE.as_secs()),
    }
}

/// A fleet of agents does not come back all at once.
fn spread(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness they come together, which is no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause / 2 + pause * u32::from(byte[0]) / 512
}

/// The events in a stream of bytes.
#[derive(Debug, Default)]
struct Events {
    line: Vec<u8>,
    data: String,
    is_epoch: bool,
}

impl Events {
    /// Takes bytes as they come, and gives the data of the epochs that are whole.
    fn push(&mut self, bytes: &[u8]) -> std::io::Result<Vec<String>> {
        let mut whole = Vec::new();
        for byte in bytes.iter().filter(|byte| **byte != b'\r') {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.data.len() > MAX_EVENT {
                    return Err(std::io::Error::other("an event is too long"));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.is_epoch) && !data.is_empty() {
                    whole.push(data);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&line);
            match line.split_once(':') {
                Some(("event", kind)) => self.is_epoch = kind.trim() == "epoch",
                Some(("data", data)) => self.data.push_str(data.trim()),
                Some(_) | None => {}
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let text = b": hello\n\nevent: epoch\ndata: a.b.c\n\nevent: other\ndata: x\n\nevent:epoch\r\ndata:d\r\ndata:e\r\n\r\n";
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            let mut events = Events::default();
            let mut all = events.push(first).unwrap();
            all.extend(events.push(second).unwrap());
            assert_eq!(all, ["a.b.c", "de"], "{cut}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        bolero::check!().for_each(|bytes| {
            let mut events = Events::default();
            let read: usize = events.push(bytes).unwrap().iter().map(String::len).sum();
            // What is no UTF-8 grows to three bytes each.
            assert!(read <= bytes.len() * 3);
        });
    }
}
