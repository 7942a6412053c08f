//! Who has connected and not begun a session yet, by address: nobody takes all the room with connections that lead nowhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of all the room, so much for the newcomers of one address.
const PART: usize = 8;
/// However little room there is, one address has so much.
const LEAST: usize = 8;

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
