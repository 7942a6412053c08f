//! Who has connected and not begun a session yet, by address: nobody takes all the room with connections that lead nowhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Of all the room, so much for the newcomers of one address.
const PART: usize = 8;
/// However little room there is, one address has so much.
const LEAST: usize = 8;

/// How often it is said that connections were closed.
const SAY: Duration = Duration::from_secs(60);

/// All newcomers.
pub(super) struct Newcomers {
    each: usize,
    all: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, until it is dropped.
pub(super) struct Newcomer {
    newcomers: Arc<Newcomers>,
    from: IpAddr,
}

impl Newcomers {
    /// Where there is room for `most` connections.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            each: (most / PART).max(LEAST),
            all: Mutex::default(),
        })
    }

    /// Another one; none if its address has enough.
    pub(super) fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Newcomer> {
        let from = network(from);
        let mut all = self.lock();
        let count = all.entry(from).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        let newcomers = self.clone();
        Some(Newcomer { newcomers, from })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing that could fail half-way is done under this lock.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that were closed at once, and when that was said last: devices behind one address may be meant as well.
#[derive(Default)]
pub(super) struct Closed {
    count: u64,
    said: Option<Instant>,
}

impl Closed {
    /// One more. How many there were since it was said last, if it is time to say it.
    pub(super) fn another(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < SAY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut all = self.newcomers.lock();
        if let Some(count) = all.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.from);
            }
        }
    }
}

/// With IPv6, one customer has a /64 at least (RFC 6177).
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from(u128::from(six) >> 64 << 64).into(),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_said_at_once_and_once_a_minute_then() {
        let mut closed = Closed::default();
        let now = Instant::now();
        assert_eq!(closed.another(now), Some(1));
        for second in 1..60 {
            assert_eq!(closed.another(now + Duration::from_secs(second)), None);
        }
        assert_eq!(closed.another(now + SAY), Some(60));
        assert_eq!(closed.another(now + SAY), None);
    }
}
