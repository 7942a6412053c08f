//! Moving the write-ahead log into the database, off the commit path.
//!
//! A thread of its own moves pages while the writer goes on. Alone it would never catch up under load, and the log
//! would grow without end; so once the log is long, and just after that thread has moved nearly all of it, the writer
//! moves the rest between two batches and starts the log again. Measured with random names: commits took 15 ms at the
//! 99th percentile, and 95 ms when the thread went through the log only once each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tracing::warn;

use super::open::{BUSY_TIMEOUT, Database, OpenError};

/// Pages that are added to the log before the thread is woken.
const MOVE_AFTER: u32 = 4_000;
/// Pages in the log from which on it is to start again.
const RESTART_AFTER: u32 = 32_000;
/// Pages that may be left for the writer to move; while there are more, the thread goes through the log again.
const LEAVE: u32 = 500;
/// How often it does, at most: on a disk that is too slow it would never end.
const ROUNDS: u32 = 5;
/// How long the writer waits for readers that still use the log; then it tries again later.
const PATIENCE: Duration = Duration::from_millis(20);

/// The writer's side.
pub(super) struct Checkpoints {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The thread has been through the log since the writer last looked.
    moved: Arc<AtomicBool>,
    /// Pages in the log after the last commit.
    pages: Arc<AtomicU32>,
    /// When the log has so many pages the thread is woken.
    next: u32,
}

impl Checkpoints {
    /// Starts the thread, and watches the commits of `writer`.
    pub(super) fn start(database: &Database, writer: &mut Connection) -> Result<Self, OpenError> {
        let pages = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&pages);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            counter.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let conn = database.writer()?;
        // It reads the log and writes the file by itself, without the page cache.
        conn.pragma_update(None, "cache_size", 16)?;
        let moved = Arc::new(AtomicBool::new(false));
        let (done, count) = (Arc::clone(&moved), Arc::clone(&pages));
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || move_when_woken(&conn, &woken, &done, &count))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
            moved,
            pages,
            next: MOVE_AFTER,
        })
    }

    /// Looks at the log between two batches.
    pub(super) fn between_batches(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        // SQLite starts the log again by itself when all of it was moved.
        if pages.saturating_add(MOVE_AFTER) < self.next {
            self.next = MOVE_AFTER;
        }
        if self.moved.swap(false, Ordering::Acquire) && pages >= RESTART_AFTER {
            self.restart(writer, pages);
        } else if pages >= self.next && self.wake.as_ref().is_some_and(|wake| wake.try_send(()).is_ok()) {
            self.next = pages + MOVE_AFTER;
        }
    }

    fn restart(&mut self, writer: &Connection, pages: u32) {
        let restarted = writer
            .busy_timeout(PATIENCE)
            .and_then(|()| checkpoint(writer, "RESTART"));
        if let Err(why) = writer.busy_timeout(BUSY_TIMEOUT) {
            warn!(%why, "the store's busy timeout cannot be set");
        }
        match restarted {
            Ok(Some(_)) => self.next = MOVE_AFTER,
            Ok(None) => self.next = pages + MOVE_AFTER,
            Err(why) => {
                warn!(%why, "the store's log cannot be moved into the database");
                self.next = pages + MOVE_AFTER;
            }
        }
    }

    /// Stops the thread, moves everything and empties the log.
    pub(super) fn finish(mut self, writer: &Connection) {
        drop(self.wake.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the store's checkpoint thread has failed");
        }
        if let Err(why) = checkpoint(writer, "TRUNCATE") {
            warn!(%why, "the store's log stays for the next start");
        }
    }
}

fn move_when_woken(conn: &Connection, woken: &Receiver<()>, moved: &AtomicBool, pages: &AtomicU32) {
    while woken.recv().is_ok() {
        for _ in 0..ROUNDS {
            match checkpoint(conn, "PASSIVE") {
                Ok(Some(done)) if pages.load(Ordering::Relaxed) > done.saturating_add(LEAVE) => {}
                Ok(_) => break,
                Err(why) => {
                    warn!(%why, "the store's log cannot be moved into the database");
                    break;
                }
            }
        }
        moved.store(true, Ordering::Release);
    }
}

/// How many pages of the log are in the database now; `None` if others kept it from going through.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Option<u32>> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (kept, moved): (i64, i64) = (row.get(0)?, row.get(2)?);
        Ok(u32::try_from(moved).ok().filter(|_| kept == 0))
    })
}
