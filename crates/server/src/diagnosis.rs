//! The diagnosis listener: a TLS port that takes any client certificate, finishes the handshake, and lets nobody in.
//!
//! A device that a broker refuses is pointed at it; what is wrong then stands on the device's page. Everybody gets the same
//! answer, so nobody learns anything here; how many come, how fast, how much they say and how long they take is bounded.

mod connect;
mod handshake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_ca::operator::Permission;
use muster_ca::{Ca, Error, Proof};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::attempts::{Attempts, Who};
use crate::background::{Stop, stopped};

/// So many connections there are at once; others are closed at once.
const AT_ONCE: usize = 32;
/// So many are taken in a second, whoever they are from.
const A_SECOND: u32 = 50;
/// How long each may take.
const LONGEST: Duration = Duration::from_secs(10);
/// How often it is looked whether the time is over.
const LOOK: Duration = Duration::from_millis(250);

/// The listener's socket, which is there while it is switched on.
pub(crate) struct Diagnosis {
    address: SocketAddr,
    state: Mutex<State>,
    /// Held while one visitor is noted, so that the next is stored behind it.
    noting: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Ends it with the server; none where no server runs.
    stop: Option<Stop>,
    running: Option<JoinHandle<()>>,
}

impl Diagnosis {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            state: Mutex::default(),
            noting: Mutex::default(),
        }
    }

    /// Where it listens when it is on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it can be switched on, until `stop`.
    pub(crate) async fn serve(&self, stop: Stop) {
        self.state.lock().await.stop = Some(stop);
    }

    /// Switches it on for so many minutes from now, also where it is on already.
    pub(crate) async fn open(
        self: &Arc<Self>,
        ca: &Arc<Ca>,
        proof: Proof,
        minutes: u16,
    ) -> Result<Timestamp, Error> {
        let mut state = self.state.lock().await;
        // Who may not learns nothing of ports, and has no certificate issued.
        ca.operator(proof.clone(), Permission::Operate).await?;
        let stop = state.stop.clone().ok_or_else(|| {
            Error::Conflict("there is no server that could listen; start it with: muster serve".into())
        })?;
        let running = state.running.as_ref().is_some_and(|task| !task.is_finished());
        if running {
            return ca.open_diagnosis(proof, minutes).await;
        }
        let listener = TcpListener::bind(self.address).await.map_err(|why| {
            Error::Conflict(format!(
                "cannot listen on {}: {why}; stop what uses the port, or set diagnosis_listen in muster.toml",
                self.address
            ))
        })?;
        if proof.dry_run {
            return ca.open_diagnosis(proof, minutes).await;
        }
        let identity = Arc::new(handshake::identity(ca).await?);
        let until = ca.open_diagnosis(proof, minutes).await?;
        let task = listen(self.clone(), ca.clone(), listener, identity, stop);
        state.running = Some(tokio::spawn(task));
        Ok(until)
    }

    async fn look_at(&self, ca: &Ca, stream: TcpStream, address: SocketAddr, identity: Arc<CertifiedKey>) {
        let end = Instant::now() + LONGEST;
        let mut seen = handshake::Seen::new(address.ip());
        // What was seen until then counts, too.
        let _ = timeout_at(end, handshake::look(stream, identity, &mut seen)).await;
        if !seen.came {
            return;
        }
        let _noting = self.noting.lock().await;
        if let Err(error) = ca.knocked(seen.knock).await {
            tracing::warn!(%error, "somebody was at the diagnosis listener and could not be noted");
        }
    }
}

/// Takes connections in until the time is over or the server stops.
async fn listen(
    door: Arc<Diagnosis>,
    ca: Arc<Ca>,
    listener: TcpListener,
    identity: Arc<CertifiedKey>,
    mut stop: Stop,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let often = Attempts::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut second, mut taken) = (Instant::now(), 0);
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => return,
            _ = ticks.tick() => {
                if ca.diagnosis_until().is_some() {
                    continue;
                }
                // Whoever switches it on meanwhile waits for this lock, and finds it gone.
                let mut state = door.state.lock().await;
                if ca.diagnosis_until().is_none() {
                    state.running = None;
                    return;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            // Out of files, or a connection that is gone: the next tick is soon enough.
            ticks.tick().await;
            continue;
        };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, taken) = (Instant::now(), 0);
        }
        taken += 1;
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        if taken > A_SECOND || often.take(&[Who::at(address.ip())], ca.now()).is_err() {
            continue;
        }
        let (door, ca, identity) = (door.clone(), ca.clone(), identity.clone());
        tokio::spawn(async move {
            door.look_at(&ca, stream, address, identity).await;
            drop(place);
        });
    }
}
