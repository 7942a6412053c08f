//! Accept loops: they take connections in and never end because of one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

use super::room::{Place, Room};
use crate::background::{Stop, stopped};

/// How long to wait when there is no file or memory for another connection.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A failing accept loop says so this often.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Takes TCP connections in until the end.
pub(super) async fn tcp<F>(
    listener: TcpListener,
    room: Arc<Room>,
    mut stop: Stop,
    serve: impl Fn(TcpStream, SocketAddr, Place) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            accepted = async { room.place_free().await; listener.accept().await } => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, address)) => room.admit(|place| serve(stream, address, place)),
            Err(error) => trouble.wait(&error, &room).await,
        }
    }
}

/// Takes connections of the local socket in until the end.
pub(super) async fn unix<F>(
    listener: UnixListener,
    room: Arc<Room>,
    mut stop: Stop,
    serve: impl Fn(UnixStream, Place) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            accepted = async { room.place_free().await; listener.accept().await } => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, _)) => room.admit(|place| serve(stream, place)),
            Err(error) => trouble.wait(&error, &room).await,
        }
    }
}

#[derive(Default)]
struct Trouble {
    said: Option<Instant>,
}

impl Trouble {
    /// What went wrong with one connection is its own affair; what is wrong with all of them needs room and time.
    async fn wait(&mut self, error: &io::Error, room: &Room) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return;
        }
        if self.said.is_none_or(|at| at.elapsed() > SAY_AGAIN) {
            tracing::error!(%error, "no connection can be accepted now; closing idle ones and trying again");
            self.said = Some(Instant::now());
        }
        room.make_way();
        sleep(BACK_OFF).await;
    }
}
