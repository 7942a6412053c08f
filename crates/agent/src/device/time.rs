//! What the time is, as far as this machine can know it.
//!
//! Its own clock may say 1970, after a power cut, or be years ahead. So the CA is asked, with a number drawn for this one question, and what
//! it signs says how far off the clock is. The connection on which that is asked is verified in all but the time; the
//! answer is signed by a key that does nothing else, below the root that the device has.
//!
//! The latest time that the CA has vouched for stays on the disk: while nobody can be asked, no time before it is believed. The answer to a
//! question of this device's own may go behind it, since the CA's clock, too, may have been wrong. What answers another question, such
//! as an old answer that somebody plays again, moves nothing but that bound, and that only forward.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_api::Client;
use muster_api::agent::Time;
use muster_pki::beacon::Beacon;
use muster_pki::cert::Certificate;
use tokio::time::Instant;

use crate::disk::{self, Access};
use crate::{Clock, Error, ca};
use muster_pki::hex;

/// Where the latest time is that the CA has vouched for.
const LAST: &str = "last-time";
/// The bound on the disk is not moved for less: flash wears out.
const STEP: SignedDuration = SignedDuration::from_mins(10);
/// By so much this machine's clock and the time that has gone by may differ, before the clock counts as set.
const SET: SignedDuration = SignedDuration::from_secs(5);

/// This machine's clock, and what is known about it.
pub(super) struct Watch {
    system: Clock,
    /// Where the bound is kept, if it is.
    path: Option<PathBuf>,
    /// No time before this is believed.
    floor: Timestamp,
    /// What the disk holds of that.
    saved: Timestamp,
    /// What the CA has said, once it has.
    compared: Option<Compared>,
}

/// This machine's clock, beside the CA's.
struct Compared {
    /// By how much it was ahead.
    ahead: SignedDuration,
    /// What it said then.
    system: Timestamp,
    /// When that was, whatever the clock is set to.
    when: Instant,
}

impl Watch {
    /// Knows what the disk knows.
    pub(super) fn open(dir: &Path, system: Clock) -> Self {
        let floor = last(dir).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::from(system, Some(dir.join(LAST)), floor)
    }

    fn from(system: Clock, path: Option<PathBuf>, floor: Timestamp) -> Self {
        Self {
            system,
            path,
            floor,
            saved: floor,
            compared: None,
        }
    }

    /// By how much this machine's clock is ahead of the CA's; negative: behind.
    pub(super) fn ahead(&self) -> Option<SignedDuration> {
        self.compared.as_ref().map(|compared| compared.ahead)
    }

    fn compare(&mut self, at: Timestamp) {
        let system = (self.system)();
        self.compared = Some(Compared {
            ahead: system.duration_since(at),
            system,
            when: Instant::now(),
        });
    }

    /// Whether somebody has set this machine's clock since it was compared with the CA's, or the machine has slept.
    pub(super) fn was_set(&self) -> bool {
        self.compared.as_ref().is_some_and(|compared| {
            let said = (self.system)().duration_since(compared.system);
            let gone = SignedDuration::try_from(compared.when.elapsed()).unwrap_or(SignedDuration::MAX);
            (said - gone).abs() > SET
        })
    }

    /// What the CA has said holds no longer, as after the clock was set.
    pub(super) fn forget(&mut self) {
        self.compared = None;
    }

    /// A clock that is right, as far as that is known.
    pub(super) fn clock(&self) -> Clock {
        let (system, floor) = (self.system.clone(), self.floor);
        let ahead = self.ahead().unwrap_or_default();
        Arc::new(move || {
            let now = system();
            now.checked_sub(ahead).unwrap_or(now).max(floor)
        })
    }

    /// Asks the CA. If it does not say, what was known stays.
    pub(super) async fn ask(&mut self, url: &str, roots: &[Certificate]) {
        if let Err(why) = self.question(url, roots).await {
            // What matters of it is told by whoever works with the CA next.
            tracing::debug!("the CA does not say what the time is: {why}");
        }
    }

    async fn question(&mut self, url: &str, roots: &[Certificate]) -> Result<(), Error> {
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Error::new("no random number could be drawn"))?;
        let nonce = hex(&nonce);
        let client = Client::new(ca::connector_at_any_time(url, roots)?, None);
        let answer: Time = client.get(&format!("/time?nonce={nonce}")).await?;
        self.hear(&answer.beacon, &nonce, roots)
    }

    /// Believes a beacon: the answer to this question sets the clock right; any other one moves the bound alone.
    fn hear(&mut self, text: &str, nonce: &str, roots: &[Certificate]) -> Result<(), Error> {
        let opened = roots.iter().map(|root| Beacon::open(text, root));
        let beacon = opened
            .reduce(|one, other| one.or(other))
            .ok_or_else(|| Error::new("the device has no root"))??;
        if beacon.nonce != nonce {
            self.bound(beacon.at);
            return Err(Error::new("it answers another question"));
        }
        self.answered(beacon.at);
        Ok(())
    }

    /// The CA has answered this device's question, and signed it.
    fn answered(&mut self, at: Timestamp) {
        self.floor = at;
        self.compare(at);
        self.keep();
    }

    /// The CA has said what the time is, and not signed it: that is not kept. If it is before what was signed, somebody is wrong, and
    /// the question is asked again.
    pub(super) fn told(&mut self, at: Timestamp) {
        if at >= self.floor {
            self.compare(at);
        } else {
            self.forget();
        }
    }

    fn bound(&mut self, at: Timestamp) {
        self.floor = self.floor.max(at);
        self.keep();
    }

    fn keep(&mut self) {
        let Some(path) = self.path.as_ref() else { return };
        if self.floor.duration_since(self.saved).abs() < STEP {
            return;
        }
        let access = Access {
            mode: 0o644,
            group: None,
        };
        match disk::write(path, self.floor.to_string().as_bytes(), access) {
            Ok(()) => self.saved = self.floor,
            // A full disk is no reason to stop.
            Err(why) => tracing::warn!("{why}"),
        }
    }
}

/// The latest time that the CA has vouched for, as far as a directory knows. It is a hint: what cannot be read is none.
pub fn last(dir: &Path) -> Option<Timestamp> {
    let path = dir.join(LAST);
    let bytes = disk::read(&path).transpose()?;
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let time = text.and_then(|text| text.trim().parse().ok());
    if time.is_none() {
        tracing::warn!("{} holds no time, and counts as absent", path.display());
    }
    time
}

/// A clock that is right, if the CA says what the time is; else the system's. Nothing is kept.
pub(super) async fn ask(url: &str, roots: &[Certificate], system: &Clock) -> Clock {
    let mut watch = Watch::from(system.clone(), None, Timestamp::UNIX_EPOCH);
    watch.ask(url, roots).await;
    watch.clock()
}

/// The same for one occasion: what the disk knows, and what the CA says now.
pub(super) async fn corrected_clock(dir: &Path, url: &str, roots: &[Certificate], system: &Clock) -> Clock {
    let mut watch = Watch::open(dir, system.clone());
    watch.ask(url, roots).await;
    watch.clock()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn watch(dir: &Path, system: i64) -> Watch {
        Watch::open(dir, Arc::new(move || at(system)))
    }

    #[test]
    fn a_clock_is_set_right_in_memory_and_goes_behind_what_was_known_only_by_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let year = 365 * 86_400;
        let mut ahead = watch(dir.path(), 60 * year);
        assert_eq!(ahead.clock()(), at(60 * year), "nobody has said anything");
        ahead.answered(at(57 * year));
        assert_eq!(ahead.clock()(), at(57 * year));
        assert_eq!(ahead.ahead().unwrap().as_secs(), 3 * year);
        // After a power cut the clock says 1970, and nobody can be asked.
        let mut behind = watch(dir.path(), 0);
        assert_eq!(behind.clock()(), at(57 * year));
        behind.told(at(57 * year + 60));
        assert_eq!(behind.clock()(), at(57 * year + 60));
        // What is older and was not asked for changes nothing, and what is not signed is not kept.
        behind.bound(at(50 * year));
        assert_eq!(behind.clock()(), at(57 * year + 60));
        behind.told(at(58 * year));
        assert_eq!(last(dir.path()), Some(at(57 * year)));
        behind.told(at(50 * year));
        assert_eq!(
            (behind.clock()(), behind.ahead()),
            (at(57 * year), None),
            "it is asked again"
        );
        // The CA's clock was a year ahead, and is right again.
        behind.answered(at(56 * year));
        assert_eq!(behind.clock()(), at(56 * year));
        assert_eq!(last(dir.path()), Some(at(56 * year)));
    }

    #[tokio::test(start_paused = true)]
    async fn that_somebody_sets_the_clock_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let says = Arc::new(AtomicI64::new(0));
        let clock = says.clone();
        let mut watch = Watch::open(dir.path(), Arc::new(move || at(clock.load(Ordering::Relaxed))));
        assert!(!watch.was_set(), "the CA has said nothing");
        watch.answered(at(1_800_000_000));
        for (gone, says_now, set) in [(0, 0, false), (3600, 3602, false), (3600, 1_800_007_200, true)] {
            tokio::time::advance(std::time::Duration::from_secs(gone)).await;
            says.store(says_now, Ordering::Relaxed);
            assert_eq!(watch.was_set(), set, "{says_now}");
        }
        watch.forget();
        assert_eq!((watch.ahead(), watch.was_set()), (None, false));
        assert_eq!(watch.clock()(), at(1_800_007_200));
        // The machine sleeps, and its clock goes on.
        watch.answered(at(1_800_007_200));
        says.store(1_800_010_800, Ordering::Relaxed);
        assert!(watch.was_set());
    }

    #[test]
    fn what_the_disk_holds_may_be_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        for nonsense in [&b"tomorrow"[..], b"\xff\xfe", b"\0\0\0", b""] {
            std::fs::write(dir.path().join(LAST), nonsense).unwrap();
            assert_eq!(watch(dir.path(), 77).clock()(), at(77));
        }
    }
}
