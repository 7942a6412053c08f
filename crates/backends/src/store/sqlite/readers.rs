//! Connections that only read: a few for point look-ups, which run where they are asked, and a few for long reads,
//! which run on the runtime's threads for blocking work. Long reads cannot use up what short ones need.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_ca::ports::StoreError;
use rusqlite::Connection;

use super::fault::Fault;
use super::open::{Database, OpenError};

const SHORT: usize = 4;
const LONG: usize = 2;

pub(super) struct Readers {
    short: Pool,
    long: Arc<Pool>,
}

struct Pool {
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Readers {
    pub(super) fn open(database: &Database) -> Result<Self, OpenError> {
        Ok(Self {
            short: Pool::open(database, SHORT)?,
            long: Arc::new(Pool::open(database, LONG)?),
        })
    }

    /// A look-up that takes microseconds.
    pub(super) fn look_up<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        Ok(read(&self.short.connection())?)
    }

    /// A read that may take longer than a task should hold its thread.
    pub(super) async fn walk<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let pool = Arc::clone(&self.long);
        let walked = tokio::task::spawn_blocking(move || read(&pool.connection())).await;
        Ok(walked.map_err(|_| StoreError::Unavailable("a read was broken off".into()))??)
    }
}

impl Pool {
    fn open(database: &Database, size: usize) -> Result<Self, OpenError> {
        let connections: Result<_, _> = (0..size).map(|_| database.reader().map(Mutex::new)).collect();
        Ok(Self {
            connections: connections?,
            turn: AtomicUsize::new(0),
        })
    }

    /// A connection that is free; if none is, the next one's turn is waited for.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        if let Some(free) = self
            .connections
            .iter()
            .find_map(|connection| connection.try_lock().ok())
        {
            return free;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        // A statement that a panic left behind was reset on the way out.
        self.connections[turn]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
