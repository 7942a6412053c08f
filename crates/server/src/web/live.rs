//! What makes pages live: a stream of server-sent events that says what kinds of things changed, for `static/live.js`, which
//! then fetches the page anew. The stream says nothing that its reader may not look up, and costs the same however large the
//! fleet is.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Frame;
use muster_ca::audit::Entry;
use muster_ca::operator::Permission;
use muster_ca::{Ca, Error, Proof};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::route::{Page, Route};
use super::visit::{Answer, Visit};
use crate::background::{Stop, stopped};

pub(super) const PAGE: Page = Page {
    menu: None,
    routes: &[Route::get("live", Permission::Read, || get(open))],
};

/// How often the log is looked at while somebody listens.
const LOOK: Duration = Duration::from_secs(1);
/// How often a stream shows that it is alive; listeners close connections that are silent for longer.
const BEAT: Duration = Duration::from_secs(10);
/// A stream ends after so long, before its listener closes the connection, and the browser opens another.
const LONGEST: Duration = Duration::from_secs(240);
/// As many streams there may be, of one session and in all. Over HTTP/1.1 a browser has six connections for all its tabs.
const MOST: (usize, usize) = (4, 100);
/// More entries than this between two looks are not told apart.
const TOLD: usize = 200;
/// As many that a slow reader has not heard yet are kept.
const BEHIND: usize = 16;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
/// An event of many changes: whatever is shown may be another.
const ALL: &str = "data: all\n\n";
/// An event of brokers whose state is another.
const BROKERS: &str = "data: broker\n\n";
/// An event of somebody at the diagnosis listener.
const DIAGNOSIS: &str = "data: diagnosis\n\n";

/// Who listens.
#[derive(Clone)]
pub(super) struct Live {
    hub: Arc<Hub>,
    stop: Stop,
}

struct Hub {
    seats: Mutex<Seats>,
    news: broadcast::Sender<Bytes>,
}

#[derive(Default)]
struct Seats {
    of_session: HashMap<[u8; 32], usize>,
    all: usize,
    /// Whether the log is looked at.
    followed: bool,
}

/// A stream's place; free again when it goes.
struct Seat {
    hub: Arc<Hub>,
    session: [u8; 32],
    news: broadcast::Receiver<Bytes>,
}

impl Live {
    pub(super) fn new(stop: Stop) -> Self {
        let (news, _) = broadcast::channel(BEHIND);
        let seats = Mutex::default();
        Self {
            hub: Arc::new(Hub { seats, news }),
            stop,
        }
    }

    /// A place for another stream, which hears of every entry after `since` if it is the first; `None` if there are too many.
    fn join(&self, ca: &Arc<Ca>, session: [u8; 32], since: u64) -> Option<Seat> {
        let mut seats = self.hub.seats();
        let own = seats.of_session.get(&session).copied().unwrap_or(0);
        if own >= MOST.0 || seats.all >= MOST.1 {
            return None;
        }
        seats.of_session.insert(session, own + 1);
        seats.all += 1;
        if !std::mem::replace(&mut seats.followed, true) {
            tokio::spawn(follow(self.hub.clone(), ca.clone(), since));
        }
        Some(Seat {
            hub: self.hub.clone(),
            session,
            news: self.hub.news.subscribe(),
        })
    }
}

impl Hub {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody listens; then whoever comes next has the log looked at again.
    fn is_left(&self) -> bool {
        let mut seats = self.seats();
        seats.followed = seats.all > 0;
        !seats.followed
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.hub.seats();
        seats.all -= 1;
        if let Some(own) = seats.of_session.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                seats.of_session.remove(&self.session);
            }
        }
    }
}

/// Looks at the log after an entry, and tells every stream what it says. One for all of them.
async fn follow(hub: Arc<Hub>, ca: Arc<Ca>, mut at: u64) {
    let (mut mark, mut seen) = (None, ca.diagnosis_mark());
    while !hub.is_left() {
        let mark_seen = ca.diagnosis_mark();
        if std::mem::replace(&mut seen, mark_seen) != mark_seen {
            let _ = hub.news.send(Bytes::from_static(DIAGNOSIS.as_bytes()));
        }
        match look_at_brokers(&ca, &mut mark).await {
            Ok(true) => {
                let _ = hub.news.send(Bytes::from_static(BROKERS.as_bytes()));
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "live pages miss what is new about brokers"),
        }
        match look(&ca, at).await {
            Ok((next, told)) => {
                at = next;
                if let Some(told) = told {
                    // Nobody hears it if the last one has just gone.
                    let _ = hub.news.send(told);
                }
            }
            Err(error) => tracing::warn!(%error, "live pages miss what is new"),
        }
        sleep(LOOK).await;
    }
}

/// Whether something about brokers is another, which no entry says: an agent fell silent, or raised an alarm.
async fn look_at_brokers(ca: &Ca, mark: &mut Option<u64>) -> Result<bool, Error> {
    let now = ca.broker_mark().await?;
    Ok(mark.replace(now).is_some_and(|before| before != now))
}

/// What was recorded after an entry, as an event, and the last entry.
async fn look(ca: &Ca, after: u64) -> Result<(u64, Option<Bytes>), Error> {
    let entries = ca.entries_after(after, TOLD).await?;
    let Some(last) = entries.last() else {
        return Ok((after, None));
    };
    if entries.len() == TOLD {
        return Ok((ca.last_entry().await?, Some(Bytes::from_static(ALL.as_bytes()))));
    }
    Ok((last.sequence, Some(told(&entries))))
}

/// `data: certificate device about:site-1`: the nouns of what was done, and which devices or tokens it was done to.
fn told(entries: &[Entry]) -> Bytes {
    let mut words = BTreeSet::new();
    for entry in entries {
        let noun = entry.action.split('.').next().unwrap_or_default();
        words.insert(noun.to_owned());
        if ["certificate", "device", "token"].contains(&noun) {
            let whom = entry.subject.split(' ').filter(|word| !word.is_empty());
            words.extend(whom.map(|word| format!("about:{word}")));
        }
    }
    let words: Vec<_> = words.into_iter().collect();
    // A line's end would end the event; no name has one, and what is stored is not trusted with it.
    let line = words.join(" ").replace(['\r', '\n'], "");
    format!("data: {line}\n\n").into()
}

async fn open(visit: Visit) -> Answer {
    let live = visit.web().live();
    let since = visit.ca().last_entry().await?;
    let Some(seat) = live.join(visit.ca(), visit.session(), since) else {
        // Tells the browser not to ask again (HTML, section 9.2.3); the script does, after a while.
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let (mut sender, body) = Channel::new(1);
    let (ca, proof, mut stop) = (visit.ca().clone(), visit.glance(), live.stop.clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = stopped(&mut stop) => {}
            _ = timeout(LONGEST, pour(seat, &ca, proof, &mut sender)) => {}
        }
    });
    let stream = Stream {
        body,
        task: task.abort_handle(),
    };
    Ok(([(CONTENT_TYPE, EVENTS)], Body::new(stream)).into_response())
}

/// What is sent. When the browser goes, its place is free at once.
struct Stream {
    body: Channel<Bytes, Infallible>,
    task: AbortHandle,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns when the session has ended or nobody reads any more.
async fn pour(mut seat: Seat, ca: &Ca, proof: Proof, sender: &mut Sender<Bytes, Infallible>) {
    let mut text = Bytes::from_static(b"retry: 2000\n\n");
    while sender.send_data(text).await.is_ok() {
        text = match timeout(BEAT, seat.news.recv()).await {
            Ok(Ok(news)) => news,
            Ok(Err(RecvError::Lagged(_))) => Bytes::from_static(ALL.as_bytes()),
            Ok(Err(RecvError::Closed)) => return,
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        // Logging out is an entry, too, so that this is asked at once.
        if ca.operator(proof.clone(), Permission::Read).await.is_err() {
            return;
        }
    }
}
