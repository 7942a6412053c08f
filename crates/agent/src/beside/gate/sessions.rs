//! Who is in, and what everybody is judged by at this moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use muster_api::agent::Denial;
use muster_pki::cert::Certificate;
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;

use super::judge::Judge;
use crate::beside::denials::Denials;
use crate::{Clock, Error};

/// The certificate of somebody who finished a handshake.
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) name: String,
    serial: Vec<u8>,
    not_after: Timestamp,
}

impl Shown {
    pub(super) fn read(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = Certificate::from_der(chain.first()?).ok()?;
        Some(Self {
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            name: leaf.common_name()?,
            serial: leaf.serial().to_vec(),
            not_after: leaf.not_after(),
        })
    }
}

/// All sessions of a gate.
pub(super) struct Sessions {
    judge: RwLock<Arc<Judge>>,
    live: Mutex<Live>,
    denials: Denials,
    reloading: Mutex<()>,
    clock: Clock,
}

#[derive(Default)]
struct Live {
    last: u64,
    all: HashMap<u64, (Arc<Shown>, Arc<Notify>)>,
}

/// Takes a session off the list when it ends, however it ends.
pub(super) struct Listed<'a> {
    sessions: &'a Sessions,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.sessions.live().all.remove(&self.number);
    }
}

impl Sessions {
    pub(super) fn new(judge: Judge, clock: Clock) -> Self {
        Self {
            judge: RwLock::new(Arc::new(judge)),
            live: Mutex::default(),
            denials: Denials::default(),
            reloading: Mutex::default(),
            clock,
        }
    }

    /// What everybody is judged by now.
    pub(super) fn judge(&self) -> Arc<Judge> {
        self.judge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.live().all.len()
    }

    /// Lists a session that ends when `end` is notified, if its certificate holds still. In this order: whoever is listed is found by
    /// [`Self::take_up`], and whoever is not yet listed is judged by what was taken up.
    pub(super) fn list(&self, shown: &Arc<Shown>, end: Arc<Notify>) -> Option<Listed<'_>> {
        let number = {
            let mut live = self.live();
            live.last += 1;
            let number = live.last;
            live.all.insert(number, (shown.clone(), end));
            number
        };
        let listed = Listed {
            sessions: self,
            number,
        };
        self.judge()
            .lets_in(&shown.chain, (self.clock)())
            .then_some(listed)
    }

    /// From now on everybody is judged by this, and sessions whose certificates do not hold end.
    pub(super) fn take_up(&self, judge: Judge) {
        let judge = Arc::new(judge);
        let before = {
            let mut now = self.judge.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, judge.clone())
        };
        let now = (self.clock)();
        for (shown, end) in self.live().all.values() {
            if judge.doubts(&before, &shown.serial) && !judge.lets_in(&shown.chain, now) {
                end.notify_one();
            }
        }
    }

    /// Sessions end with their certificates.
    pub(super) fn end_expired(&self) {
        let now = (self.clock)();
        for (shown, end) in self.live().all.values() {
            if shown.not_after < now {
                end.notify_one();
            }
        }
    }

    /// Remembers what was refused.
    pub(super) fn deny(&self, device: &str, topic: &str) {
        self.denials.note(device, topic);
    }

    /// What was refused since the last call.
    pub(super) fn denials(&self) -> Vec<Denial> {
        self.denials.take()
    }

    /// Reads the set that lies there, and takes it up. If it cannot be read, everything stays as it is. One at a time: else the set that was
    /// read first could be taken up last.
    pub(super) fn reload(&self, dir: &std::path::Path) -> Result<(), Error> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_up(Judge::load(dir, &self.clock)?);
        Ok(())
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Nothing that could fail half-way is done under this lock.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
