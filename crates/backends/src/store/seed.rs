//! A fleet with a past, for measuring at its size: what would be recorded if it had enrolled, renewed and lost devices for
//! some months, written through the store as everything else, an audit entry for each change.
//!
//! Nothing of it can be used. The certificates' signatures are zeros, so that no key has to be opened; nobody has a private
//! key or a token's secret; and nobody can log in as one of the operators.

mod fleet;
mod rest;

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use muster_ca::Error;
use muster_ca::ports::{Change, Entropy, Store, StoreError};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use self::fleet::Fleet;

/// The most certificates that can be asked for.
pub const MAX: u64 = 10_000_000;

/// Changes under way at once: what the store commits together.
const AT_ONCE: usize = 256;
/// So many changes pass between two reports of progress.
const REPORTED: u64 = 1_000;

/// How large the fleet shall be.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Certificates, 1 to [`MAX`].
    pub certificates: u64,
    /// Devices that they belong to, at least 1 and at most as many as certificates.
    pub devices: u64,
}

impl Size {
    fn check(self) -> Result<(), Error> {
        if !(1..=MAX).contains(&self.certificates) {
            return Err(Error::Bad(format!("a fleet has 1 to {MAX} certificates")));
        }
        if !(1..=self.certificates).contains(&self.devices) {
            return Err(Error::Bad(
                "a fleet has at least one device, and at least one certificate for each".into(),
            ));
        }
        Ok(())
    }
}

/// Refuses what [`seed`] could not do: a size that no fleet has, and a store that is in use.
pub async fn check(store: &dyn Store, now: Timestamp, size: Size) -> Result<(), Error> {
    size.check()?;
    if store.counts(now).await?.all_devices() == 0 && store.operators().await?.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict(
        "there are devices or operators already, and a made-up fleet does not go among them; take a new directory: \
         muster init --data DIR"
            .into(),
    ))
}

/// Fills a store that has an authority and nothing else, as [`check`] says. `progress` is told how many changes are under way and how many there
/// will be. One that is cut off leaves a smaller fleet, which is as whole.
pub async fn seed(
    store: &Arc<dyn Store>,
    entropy: &dyn Entropy,
    now: Timestamp,
    size: Size,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Error> {
    // Tasks of one thread begin in the order in which they were made, and changes rest on those before them.
    let seeding = LocalSet::new();
    seeding
        .run_until(fill(store, entropy, now, size, &mut progress))
        .await
}

async fn fill(
    store: &Arc<dyn Store>,
    entropy: &dyn Entropy,
    now: Timestamp,
    size: Size,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Error> {
    let fleet = Fleet::new(&**store, entropy, now, size).await?;
    let mut queue = Queue::new(store);
    let all = fleet.steps();
    for change in fleet.before() {
        queue.push(change).await?;
    }
    for step in 0..all {
        if step % REPORTED == 0 {
            progress(step, all);
        }
        for change in fleet.step(step)? {
            queue.push(change).await?;
        }
    }
    queue.settle().await?;
    for change in fleet.after(store.head().await?)? {
        queue.push(change).await?;
    }
    queue.settle().await?;
    progress(all, all);
    Ok(store.catch_up().await?)
}

/// Changes that were handed to the store and are not durable yet, in order.
struct Queue<'s> {
    store: &'s Arc<dyn Store>,
    under_way: VecDeque<JoinHandle<Result<(), StoreError>>>,
}

impl<'s> Queue<'s> {
    fn new(store: &'s Arc<dyn Store>) -> Self {
        Self {
            store,
            under_way: VecDeque::with_capacity(AT_ONCE),
        }
    }

    async fn push(&mut self, change: Change) -> Result<(), Error> {
        if self.under_way.len() == AT_ONCE {
            self.settle_one().await?;
        }
        let store = Arc::clone(self.store);
        self.under_way
            .push_back(spawn_local(async move { store.commit(change).await }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), Error> {
        let Some(first) = self.under_way.pop_front() else {
            return Ok(());
        };
        let committed = first.await.map_err(|why| Error::Internal(why.to_string()))?;
        Ok(committed?)
    }
}
