//! A listener's connections: how many there may be, and which of them have to go.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::watched::{Activity, Seen};
use crate::background::{Stop, stopped};

/// Seconds without an answer on the way after which a connection is closed: kept-alive ones between requests, and ones
/// whose request's head does not arrive.
const MAX_QUIET: u32 = 15;
/// Seconds after its last request's start after which a connection is closed, however slowly it still reads.
const MAX_READING: u32 = 300;
/// Seconds from asking a connection to close to cutting it.
const MAX_LEAVING: u32 = 3;
/// When there is no place, so much of a full room is emptied at once: looking for whom costs a walk through it.
const PART: usize = 16;
/// How long to wait for a place when everybody is being served.
const RETRY: Duration = Duration::from_millis(1);

/// The connections of one listener.
pub(super) struct Room {
    slots: Mutex<Slots>,
    size: usize,
    empty: Notify,
}

#[derive(Default)]
struct Slots {
    next: u64,
    taken: HashMap<u64, Slot>,
}

struct Slot {
    activity: Arc<Activity>,
    seen: Seen,
    /// Seconds since anything happened.
    quiet: u32,
    /// Seconds since the last request began.
    reading: u32,
    /// Asks the connection to close; gone when it was asked.
    ask: Option<oneshot::Sender<()>>,
    /// Seconds since it was asked.
    leaving: u32,
    abort: AbortHandle,
}

/// A connection's place. Whoever holds it closes when asked.
pub(super) struct Place {
    pub(super) activity: Arc<Activity>,
    pub(super) asked_to_close: oneshot::Receiver<()>,
    _seat: Option<Seat>,
    /// Keeps a place that is in no room from being asked.
    _never: Option<oneshot::Sender<()>>,
}

struct Seat {
    room: Arc<Room>,
    number: u64,
}

impl Place {
    /// For a connection that belongs to nobody's listener.
    pub(super) fn outside() -> Self {
        let (ask, asked_to_close) = oneshot::channel();
        Self {
            activity: Arc::default(),
            asked_to_close,
            _seat: None,
            _never: Some(ask),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut slots = self.room.lock();
        slots.taken.remove(&self.number);
        if slots.taken.is_empty() {
            self.room.empty.notify_waiters();
        }
    }
}

impl Room {
    pub(super) fn new(size: usize) -> Self {
        Self {
            slots: Mutex::default(),
            size,
            empty: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there is a place, and makes one if need be. Only one accept loop asks.
    pub(super) async fn place_free(&self) {
        loop {
            if self.lock().taken.len() < self.size {
                return;
            }
            self.make_way();
            sleep(RETRY).await;
        }
    }

    /// Cuts those that have been quiet longest; nobody who is being served.
    pub(super) fn make_way(&self) {
        let mut going: Vec<(u32, u64)> = {
            let slots = self.lock();
            let idle = slots.taken.iter().filter(|(_, slot)| !slot.activity.is_working());
            idle.map(|(number, slot)| (slot.quiet, *number)).collect()
        };
        // The longest quiet first; of equals, the oldest.
        let first = |one: &(u32, u64), other: &(u32, u64)| other.0.cmp(&one.0).then(one.1.cmp(&other.1));
        let many = (self.size / PART).max(1).min(going.len());
        if many < going.len() {
            going.select_nth_unstable_by(many, first);
        }
        let slots = self.lock();
        for (_, number) in &going[..many] {
            if let Some(slot) = slots.taken.get(number) {
                slot.abort.abort();
            }
        }
    }

    /// Gives a place to a new connection and runs it in a task of its own.
    pub(super) fn admit<F>(self: &Arc<Self>, connection: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (ask, asked_to_close) = oneshot::channel();
        let activity = Arc::<Activity>::default();
        // Held until the slot is there, so that a connection that ends at once finds what to give back.
        let mut slots = self.lock();
        let number = slots.next;
        slots.next += 1;
        let seat = Seat {
            room: self.clone(),
            number,
        };
        let place = Place {
            activity: activity.clone(),
            asked_to_close,
            _seat: Some(seat),
            _never: None,
        };
        let abort = tokio::spawn(connection(place)).abort_handle();
        let slot = Slot {
            activity,
            seen: Seen::default(),
            quiet: 0,
            reading: 0,
            ask: Some(ask),
            leaving: 0,
            abort,
        };
        slots.taken.insert(number, slot);
    }

    /// Looks at every connection once a second.
    pub(super) async fn keep_sweeping(self: Arc<Self>, mut stop: Stop) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep(),
                () = stopped(&mut stop) => return,
            }
        }
    }

    fn sweep(&self) {
        for slot in self.lock().taken.values_mut() {
            slot.sweep();
        }
    }

    /// Asks every connection to finish what it does and close.
    pub(super) fn ask_all_to_leave(&self) {
        for slot in self.lock().taken.values_mut() {
            slot.ask_to_leave();
        }
    }

    /// Cuts whoever is left.
    pub(super) fn cut_all(&self) {
        for slot in self.lock().taken.values() {
            slot.abort.abort();
        }
    }

    /// Returns when nobody is left.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            tokio::pin!(emptied);
            // From here on a wake-up is not missed.
            emptied.as_mut().enable();
            if self.lock().taken.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

impl Slot {
    fn sweep(&mut self) {
        let seen = self.activity.seen();
        let working = self.activity.is_working();
        self.quiet = if working || seen != self.seen {
            0
        } else {
            self.quiet + 1
        };
        self.reading = if working || seen.requests != self.seen.requests {
            0
        } else {
            self.reading + 1
        };
        self.seen = seen;
        if self.ask.is_none() {
            self.leaving += 1;
            if self.leaving > MAX_LEAVING && !working {
                self.abort.abort();
            }
        } else if self.quiet > MAX_QUIET || self.reading > MAX_READING {
            self.ask_to_leave();
        }
    }

    fn ask_to_leave(&mut self) {
        if let Some(ask) = self.ask.take() {
            // Nobody hears it if the connection ends by itself at this moment.
            let _ = ask.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Lives until it is asked to close or cut.
    async fn guest(place: Place) {
        let Place {
            asked_to_close,
            _seat,
            ..
        } = place;
        let _ = asked_to_close.await;
        drop(_seat);
    }

    async fn settled(room: &Room, size: usize) {
        for _ in 0..1000 {
            if room.lock().taken.len() == size {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("{} are there, not {size}", room.lock().taken.len());
    }

    fn numbers(room: &Room) -> Vec<u64> {
        let mut numbers: Vec<_> = room.lock().taken.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    #[tokio::test]
    async fn in_a_full_room_the_longest_quiet_makes_way() {
        let room = Arc::new(Room::new(4));
        let mut working = None;
        for number in 0..4 {
            room.admit(|place| {
                if number == 0 {
                    working = Some(place.activity.begin());
                }
                guest(place)
            });
        }
        room.sweep();
        // The second has just been answered; the third and the fourth have been quiet, the third for longer.
        drop(room.lock().taken.get(&1).map(|slot| slot.activity.begin()));
        room.sweep();
        assert!(timeout(Duration::from_secs(5), room.place_free()).await.is_ok());
        settled(&room, 3).await;
        assert_eq!(numbers(&room), [0, 1, 3]);
        drop(working);
    }

    #[tokio::test]
    async fn nobody_who_is_served_makes_way() {
        let room = Arc::new(Room::new(1));
        let mut working = None;
        room.admit(|place| {
            working = Some(place.activity.begin());
            guest(place)
        });
        assert!(
            timeout(Duration::from_millis(100), room.place_free())
                .await
                .is_err()
        );
        drop(working);
        assert!(timeout(Duration::from_secs(5), room.place_free()).await.is_ok());
    }

    #[tokio::test]
    async fn the_quiet_are_asked_to_leave_and_then_cut() {
        let room = Arc::new(Room::new(8));
        room.admit(guest);
        room.admit(|place| async move {
            let _deaf = place;
            std::future::pending::<()>().await;
        });
        let mut working = None;
        room.admit(|place| {
            working = Some(place.activity.begin());
            guest(place)
        });
        (0..=MAX_QUIET).for_each(|_| room.sweep());
        settled(&room, 2).await;
        (0..=MAX_LEAVING).for_each(|_| room.sweep());
        settled(&room, 1).await;
        assert_eq!(numbers(&room), [2]);
        drop(working);
        room.ask_all_to_leave();
        assert!(timeout(Duration::from_secs(5), room.emptied()).await.is_ok());
    }
}
