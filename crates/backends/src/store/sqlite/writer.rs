//! The one thread that writes. It takes what has queued up, commits it as one transaction, then answers everybody.

use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use muster_ca::ports::{Change, Kept, StoreError};
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::apply::{Batch, Chain};
use super::checkpoint::Checkpoints;
use super::fault::{Fault, explain};
use super::lists::find::{self, News};
use super::open::{Database, OpenError};
use super::rows::{millis, run};
use super::spent::{self, Waiting};

/// Jobs that wait before [`Queue::ask`] makes its callers wait.
const QUEUE: usize = 1_024;
/// Jobs of one transaction.
const BATCH: usize = 256;
/// A batch waits for company while some keeps coming within this, when the one before had some: what a commit costs is
/// the same for one change and for many.
const LINGER: Duration = Duration::from_micros(300);
/// So often at most.
const LINGERS: u32 = 10;
/// Rows of each kind that one tidying step deletes, so that commits get their turn.
const TIDY_STEP: i64 = 2_000;
/// What a change alone in its batch adds to the log, about.
const PROBE_BYTES: i64 = 48 * 1024;

/// How long a spent token is remembered after its end. A clock that is set back, by less than this, makes no token good again.
const SPENT_RETENTION_MS: i64 = 86_400_000;

/// What the thread can be asked to do.
pub(super) enum Job {
    Commit(Box<Change>),
    Probe(Timestamp),
    Tidy(Timestamp),
    Extend(String, Timestamp),
    Jot(Kept),
    /// Adds what makes rows findable.
    Find(News),
    /// Lets a test reach the connection.
    #[cfg(test)]
    Run(Box<dyn FnOnce(&Connection) + Send>),
}

impl Job {
    fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Commit(change) if change.act.dry_run)
    }
}

/// A job's end: whether there is more to do of it.
type Outcome = Result<bool, StoreError>;

struct Request {
    job: Job,
    answer: oneshot::Sender<Outcome>,
}

/// The way to the thread. Dropping it finishes what is queued, empties the log and ends the thread.
pub(super) struct Queue {
    jobs: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the thread.
    pub(super) fn start(database: &Database, mut conn: Connection) -> Result<Self, OpenError> {
        let checkpoints = Checkpoints::start(database, &mut conn)?;
        let chain = Chain::read(&conn)?;
        let waiting = Waiting::read(&conn)?;
        let (jobs, queued) = mpsc::channel(QUEUE);
        let writer = Writer {
            conn,
            chain,
            waiting,
            checkpoints,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.work(queued))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has a job done, and returns once it is on the disk.
    pub(super) async fn ask(&self, job: Job) -> Outcome {
        let stopped = || StoreError::Unavailable("the store has stopped".into());
        let (answer, outcome) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Request { job, answer }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the store's writer has failed");
        }
    }
}

struct Writer {
    conn: Connection,
    chain: Chain,
    waiting: Waiting,
    checkpoints: Checkpoints,
}

impl Writer {
    fn work(mut self, mut queued: mpsc::Receiver<Request>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut busy = false;
        while queued.blocking_recv_many(&mut batch, BATCH) > 0 {
            if busy && batch.len() < BATCH {
                linger(&mut queued, &mut batch);
            }
            busy = batch.len() > 1;
            self.commit(&mut batch);
            self.checkpoints.between_batches(&self.conn);
        }
        self.checkpoints.finish(&self.conn);
    }

    /// Commits a batch and answers. A refusal concerns one change; when the disk or the database fails, nobody's
    /// change was made and everybody hears why, also those that were refused, since that rested on the others.
    fn commit(&mut self, batch: &mut Vec<Request>) {
        let (jobs, answers): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|request| (request.job, request.answer))
            .unzip();
        let outcomes = match self.transact(jobs) {
            Ok(outcomes) => outcomes,
            Err(fault) => {
                let why = StoreError::from(fault);
                warn!(%why, changes = answers.len(), "nothing of this batch could be written");
                self.roll_back();
                vec![Err(why); answers.len()]
            }
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody hears who has stopped waiting; the change stands.
            let _ = answer.send(outcome);
        }
    }

    fn transact(&mut self, jobs: Vec<Job>) -> Result<Vec<Outcome>, Fault> {
        run(&self.conn, "BEGIN IMMEDIATE", [])?;
        let only_rehearsed = jobs.iter().all(Job::is_rehearsal);
        let tidying = jobs.iter().any(|job| matches!(job, Job::Tidy(_)));
        let sorting = tidying || self.waiting.are_many() && !only_rehearsed;
        if sorting {
            spent::sort_in(&self.conn)?;
        }
        let mut batch = Batch::new(&self.conn, self.chain.clone(), &self.waiting);
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match perform(&self.conn, &mut batch, job) {
                Ok(more) => Ok(more),
                Err(Fault::Refused(why)) => Err(why),
                Err(fault @ Fault::Sql(_)) => return Err(fault),
            });
        }
        let (chain, spent) = batch.finish()?;
        // Pages that a savepoint has taken back would still be written.
        run(&self.conn, if only_rehearsed { "ROLLBACK" } else { "COMMIT" }, [])?;
        self.chain = chain;
        if sorting {
            self.waiting = Waiting::default();
        }
        self.waiting.add(spent);
        Ok(outcomes)
    }

    fn roll_back(&self) {
        // SQLite has rolled back by itself after some errors.
        if !self.conn.is_autocommit()
            && let Err(why) = self.conn.execute_batch("ROLLBACK")
        {
            error!(why = %explain(&why), "the store cannot roll back");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the queue cannot be waited for with a bound, and this wait is short"
)]
fn linger(queued: &mut mpsc::Receiver<Request>, batch: &mut Vec<Request>) {
    for _ in 0..LINGERS {
        std::thread::sleep(LINGER);
        let before = batch.len();
        while batch.len() < BATCH
            && let Ok(request) = queued.try_recv()
        {
            batch.push(request);
        }
        if batch.len() == before || batch.len() == BATCH {
            break;
        }
    }
}

fn perform(conn: &Connection, batch: &mut Batch<'_>, job: Job) -> Result<bool, Fault> {
    match job {
        Job::Commit(change) => batch.apply(&change).map(|()| false),
        Job::Probe(now) => {
            let sql = "INSERT INTO probe (id, at, room) VALUES (1, ?1, zeroblob(?2))
                 ON CONFLICT (id) DO UPDATE SET at = excluded.at, room = excluded.room";
            run(conn, sql, params![millis(now), PROBE_BYTES]).map(|_| false)
        }
        Job::Tidy(now) => tidy(conn, millis(now)),
        Job::Extend(key, expires) => {
            let sql = "UPDATE drawer SET expires = ?2 WHERE key = ?1";
            run(conn, sql, params![key, millis(expires)]).map(|_| false)
        }
        Job::Jot(kept) => {
            let sql = "INSERT INTO drawer (key, value, expires) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires";
            run(conn, sql, params![kept.key, kept.value, millis(kept.expires)]).map(|_| false)
        }
        Job::Find(news) => find::add(conn, &news).map(|()| news.more),
        #[cfg(test)]
        Job::Run(act) => {
            act(conn);
            Ok(false)
        }
    }
}

fn tidy(conn: &Connection, now: i64) -> Result<bool, Fault> {
    let spent = run(
        conn,
        "DELETE FROM spent WHERE (expires, token) IN
         (SELECT expires, token FROM spent WHERE expires < ?1 ORDER BY expires, token LIMIT ?2)",
        params![now.saturating_sub(SPENT_RETENTION_MS), TIDY_STEP],
    )?;
    let kept = run(
        conn,
        "DELETE FROM drawer WHERE key IN (SELECT key FROM drawer WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        params![now, TIDY_STEP],
    )?;
    Ok(i64::try_from(spent.max(kept)).unwrap_or(0) == TIDY_STEP)
}
