//! The gate: ends TLS in front of a broker that cannot judge certificates, or cannot judge them well.
//!
//! ```text
//!   device ─TLS─► handshake ─► CONNECT ─► every PUBLISH and SUBSCRIBE ─TCP─► broker
//!                 lists        lists again    topic rules
//!                              client id = certificate's name
//! ```
//!
//! It reads what the agent beside it brings, and takes it up when it is told to: from then on every handshake, CONNECT and packet
//! is judged by it, and sessions whose certificates are revoked end. It knows nothing else, and goes on without the agent.

mod control;
mod judge;
mod newcomers;
mod packet;
mod proxy;
mod session;
mod sessions;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::{Clock, Error};
use judge::Judge;
use newcomers::{Closed, Newcomers};
use sessions::Sessions;

pub(crate) use control::ask;

/// What the gate reads in its directory, in the order in which it is put in place.
pub(crate) const FILES: [&str; 4] = ["crls.pem", "trust.pem", "server.pem", "access.json"];

/// How often it is looked whose certificates have run out.
const CLOCK: Duration = Duration::from_secs(1);
/// File descriptors that are no connections.
const OWN_FILES: u64 = 64;

/// Where it takes orders.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join("gate.sock")
}

/// What a gate is told when it is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the agent brings files.
    pub dir: PathBuf,
    /// Where devices connect.
    pub listen: SocketAddr,
    /// Where the broker listens without TLS, `HOST:PORT`.
    pub to: String,
    /// Whether the broker hears who connects from where (PROXY protocol, version 2).
    pub proxy_protocol: bool,
    /// The most connections at once.
    pub most: usize,
}

/// Runs until `stop`. `ready` hears where it listens.
pub async fn run(
    settings: Settings,
    clock: Clock,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let judge = Judge::load(&settings.dir, &clock)?;
    let most = more_files(settings.most);
    let listener = TcpListener::bind(settings.listen).await.map_err(|why| {
        Error::new(format!(
            "cannot listen on {}: {why} (is another program there?)",
            settings.listen
        ))
    })?;
    let sessions = Arc::new(Sessions::new(judge, clock));
    let orders = control::Orders::open(&settings.dir)?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    ready(address);
    tokio::select! {
        () = accept(&listener, &settings, most, &sessions) => {}
        () = orders.follow(&settings.dir, &sessions) => {}
        () = watch_the_clock(&sessions) => {}
        () = stop => {}
    }
    Ok(())
}

/// Makes room for as many connections: each takes two file descriptors. How many there is room for.
fn more_files(most: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(files.saturating_sub(OWN_FILES) / 2).unwrap_or(usize::MAX);
    if room < most {
        tracing::warn!(
            "there is room for {room} connections only, not for {most} (raise the limit of open files)"
        );
    }
    room.min(most).max(1)
}

/// Ends the sessions whose certificates run out.
async fn watch_the_clock(sessions: &Sessions) {
    loop {
        tokio::time::sleep(CLOCK).await;
        sessions.end_expired();
    }
}

/// Takes connections, as many as there may be at once; others wait. Whose address has too many that lead nowhere is cut.
async fn accept(listener: &TcpListener, settings: &Settings, most: usize, sessions: &Arc<Sessions>) {
    let room = Arc::new(Semaphore::new(most));
    let newcomers = Newcomers::new(most);
    let mut closed = Closed::default();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((tcp, from)) => {
                let Some(newcomer) = newcomers.admit(from.ip()) else {
                    if let Some(count) = closed.another(Instant::now()) {
                        tracing::warn!(
                            "{count} connections closed, the last from {from}: an eighth of --max-connections ({most}) comes from its \
                             address and has not begun a session (if these are devices behind one address, raise it)"
                        );
                    }
                    continue;
                };
                let (sessions, settings) = (sessions.clone(), settings.clone());
                tokio::spawn(async move {
                    keep_alive(&tcp);
                    if let Err(why) = session::serve(tcp, from, newcomer, &settings, &sessions).await {
                        tracing::debug!(%from, "{why}");
                    }
                    drop(permit);
                });
            }
            // Out of file descriptors, most likely: those who are in go on.
            Err(why) => {
                tracing::warn!("cannot take a connection: {why}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A peer that vanished without a word is noticed by TCP as well, whatever keep-alive it promised.
fn keep_alive(tcp: &TcpStream) {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
    let _ = tcp.set_nodelay(true);
    let _ = set_socket_keepalive(tcp, true);
    let _ = set_tcp_keepidle(tcp, Duration::from_secs(60));
    let _ = set_tcp_keepintvl(tcp, Duration::from_secs(15));
}
