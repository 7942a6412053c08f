//! Sockets to routers: accept, shake hands, say who the peer is, and never let one connection hurt another.
//!
//! No connection is waited for in an accept loop. Each has a place in its listener's [`room`]; one that is
//! quiet for too long loses it, and when a room is full, those that have been quiet longest make way.

mod accept;
mod connection;
mod limits;
mod room;
mod unread;
mod watched;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::background::{
    Stop, first_crls, keep_crls, keep_findable, keep_looking, keep_tidy, keep_tls, keep_verified, stopped,
};
use crate::peer::Peer;
use crate::protocols::{api_service, local_service, public_service};
use crate::tls::Tls;
use crate::{Edge, listen::room::Room, protocols, web};

pub use crate::tls::TlsError;

/// How long requests in flight may go on after the signal to stop.
pub const GRACE: Duration = Duration::from_secs(10);

/// Sockets that are bound already.
pub struct Listeners {
    /// The CA API, HTTPS.
    pub api: TcpListener,
    /// CRLs and authority certificates, plain HTTP.
    pub public: TcpListener,
    /// The GUI: plain HTTP if it is bound to loopback, else HTTPS.
    pub web: TcpListener,
    /// Administration on this machine.
    pub local: UnixListener,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The API listener has no identity.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket cannot be used.
    #[error("a listening socket cannot be used: {0}")]
    Socket(#[from] io::Error),
}

/// Serves until `stop` is ready, then stops accepting and finishes what is in flight, for [`GRACE`] at most.
///
/// Raises this process's limit of open files as far as it may. Runs inside a tokio runtime with time and I/O.
pub async fn serve(
    edge: Edge,
    listeners: Listeners,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let tls = Arc::new(Tls::new(edge.ca().clone()).await?);
    let crls_made_at = first_crls(edge.ca()).await;
    let places = limits::places();
    let (signal, stopping) = watch::channel(false);
    let rooms = [places.api, places.public, places.web, places.local].map(|size| Arc::new(Room::new(size)));
    let [api, public, web, local] = &rooms;
    edge.diagnosis().serve(stopping.clone()).await;

    let mut doors = JoinSet::new();
    let https = connection::Https {
        routes: api_service(&edge),
        tls: tls.clone(),
        edge: edge.clone(),
    };
    doors.spawn(accept::tcp(
        listeners.api,
        api.clone(),
        stopping.clone(),
        move |stream, address, place| https.clone().api(stream, address, place),
    ));
    let plain = connection::Plain {
        routes: public_service(&edge),
        edge: edge.clone(),
    };
    doors.spawn(accept::tcp(
        listeners.public,
        public.clone(),
        stopping.clone(),
        move |stream, address, place| plain.clone().tcp(stream, address, place),
    ));
    let loopback = listeners.web.local_addr()?.ip().is_loopback();
    let gui = connection::Https {
        routes: web_service(&edge, loopback, stopping.clone()),
        tls: tls.clone(),
        edge: edge.clone(),
    };
    doors.spawn(accept::tcp(
        listeners.web,
        web.clone(),
        stopping.clone(),
        move |stream, address, place| gui.clone().web(stream, address, place),
    ));
    let socket = connection::Plain {
        routes: local_service(&edge),
        edge: edge.clone(),
    };
    doors.spawn(accept::unix(
        listeners.local,
        local.clone(),
        stopping.clone(),
        move |stream, place| socket.clone().unix(stream, place),
    ));
    let mut chores = start_chores(&edge, &tls, &rooms, crls_made_at, &stopping);

    stop.await;
    tracing::info!("stopping: no new connections; finishing what is in flight");
    let _ = signal.send(true);
    let end = Instant::now() + GRACE;
    // Ends at once, and closes the listening sockets.
    while doors.join_next().await.is_some() {}
    for room in &rooms {
        room.ask_all_to_leave();
    }
    for room in &rooms {
        if timeout_at(end, room.emptied()).await.is_err() {
            tracing::warn!("connections that did not finish in time were cut");
        }
        room.cut_all();
    }
    let _ = timeout_at(end, async { while chores.join_next().await.is_some() {} }).await;
    Ok(())
}

/// What the GUI's listener answers: port 8502.
fn web_service(edge: &Edge, loopback: bool, stop: Stop) -> Router {
    let below = edge.settings().base_path.trim_end_matches('/');
    let api = protocols::rest(edge, below).with_state(edge.clone());
    web::service(edge, loopback, api, stop)
}

/// Runs a router over any stream, for a peer that the caller knows: the command line's way to the routes in its own process.
///
/// Returns when the other side closes. Speaks HTTP/1.1.
pub async fn serve_stream(
    router: Router,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
) {
    connection::serve(
        stream,
        router,
        peer,
        connection::Version::Http1,
        room::Place::outside(),
    )
    .await;
}

fn start_chores(
    edge: &Edge,
    tls: &Arc<Tls>,
    rooms: &[Arc<Room>; 4],
    crls_made_at: Option<u64>,
    stopping: &Stop,
) -> JoinSet<()> {
    let mut chores = JoinSet::new();
    for room in rooms {
        let (room, stop) = (room.clone(), stopping.clone());
        chores.spawn(again_after_panic(stopping.clone(), move || {
            room.clone().keep_sweeping(stop.clone())
        }));
    }
    let (tls, stop) = (tls.clone(), stopping.clone());
    chores.spawn(again_after_panic(stopping.clone(), move || {
        keep_tls(tls.clone(), stop.clone())
    }));
    let (ca, stop) = (edge.ca().clone(), stopping.clone());
    chores.spawn(again_after_panic(stopping.clone(), move || {
        keep_tidy(ca.clone(), stop.clone())
    }));
    let (ca, stop) = (edge.ca().clone(), stopping.clone());
    chores.spawn(again_after_panic(stopping.clone(), move || {
        keep_findable(ca.clone(), stop.clone())
    }));
    let (ca, stop) = (edge.ca().clone(), stopping.clone());
    chores.spawn(again_after_panic(stopping.clone(), move || {
        keep_looking(ca.clone(), stop.clone())
    }));
    let (ca, stop) = (edge.ca().clone(), stopping.clone());
    chores.spawn(again_after_panic(stopping.clone(), move || {
        keep_verified(ca.clone(), stop.clone())
    }));
    let (ca, stop) = (edge.ca().clone(), stopping.clone());
    // A long list takes a tenth of a second of work without a pause, so it gets a thread of its own.
    let runtime = tokio::runtime::Handle::current();
    let on_thread = move || {
        let (runtime, ca, stop) = (runtime.clone(), ca.clone(), stop.clone());
        async move {
            let thread =
                tokio::task::spawn_blocking(move || runtime.block_on(keep_crls(ca, crls_made_at, stop)));
            if let Err(error) = thread.await {
                tracing::error!(%error, "making CRLs ran into a defect; starting it again");
            }
        }
    };
    chores.spawn(again_after_panic(stopping.clone(), on_thread));
    chores
}

/// A chore that runs into a defect is started again: without CRLs or a young certificate the fleet stands still.
async fn again_after_panic<F>(mut stop: Stop, chore: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while !*stop.borrow() {
        if let Err(error) = tokio::spawn(chore()).await {
            tracing::error!(%error, "a background task ran into a defect; starting it again");
        }
        let _ = timeout(Duration::from_secs(1), stopped(&mut stop)).await;
    }
}
