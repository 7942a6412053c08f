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

use crate::disk::{self, Access};
use crate::files::hex;
use crate::{Clock, Error, ca};

/// Where the latest time is that the CA has vouched for.
const LAST: &str = "last-time";
/// The bound on the disk is not moved for less: flash wears out.
const STEP: SignedDuration = SignedDuration::from_mins(10);

/// This machine's clock, and what is known about it.
pub(super) struct Watch {
    system: Clock,
    path: PathBuf,
    /// No time before this is believed.
    floor: Timestamp,
    /// What the disk holds of that.
    saved: Timestamp,
    /// By how much this machine's clock is ahead, once the CA has said so.
    ahead: Option<SignedDuration>,
}

impl Watch {
    /// Knows what the disk knows.
    pub(super) fn open(dir: &Path, system: Clock) -> Result<Self, Error> {
        let floor = last(dir)?.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Self {
            system,
            path: dir.join(LAST),
            floor,
            saved: floor,
            ahead: None,
        })
    }

    /// By how much this machine's clock is ahead of the CA's; negative: behind.
    pub(super) fn ahead(&self) -> Option<SignedDuration> {
        self.ahead
    }

    /// A clock that is right, as far as that is known.
    pub(super) fn clock(&self) -> Clock {
        let (system, floor) = (self.system.clone(), self.floor);
        let ahead = self.ahead.unwrap_or_default();
        Arc::new(move || {
            let now = system();
            now.checked_sub(ahead).unwrap_or(now).max(floor)
        })
    }

    /// Asks the CA. If it does not say, what was known stays.
    pub(super) async fn ask(&mut self, url: &str, roots: &[Certificate]) {
        if let Err(why) = self.question(url, roots).await {
            tracing::info!("the CA does not say what the time is: {why}");
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
        self.ahead = Some((self.system)().duration_since(at));
        self.keep();
    }

    /// The CA has said what the time is, and not signed it: that is not kept. If it is before what was signed, somebody is wrong, and
    /// the question is asked again.
    pub(super) fn told(&mut self, at: Timestamp) {
        self.ahead = (at >= self.floor).then(|| (self.system)().duration_since(at));
    }

    fn bound(&mut self, at: Timestamp) {
        self.floor = self.floor.max(at);
        self.keep();
    }

    fn keep(&mut self) {
        if self.floor.duration_since(self.saved).abs() < STEP {
            return;
        }
        let access = Access {
            mode: 0o644,
            group: None,
        };
        match disk::write(&self.path, self.floor.to_string().as_bytes(), access) {
            Ok(()) => self.saved = self.floor,
            // A full disk is no reason to stop.
            Err(why) => tracing::warn!("{why}"),
        }
    }
}

/// The latest time that the CA has vouched for, as far as a directory knows.
pub fn last(dir: &Path) -> Result<Option<Timestamp>, Error> {
    Ok(disk::read_text(&dir.join(LAST))?.and_then(|text| text.trim().parse().ok()))
}

/// The same for one occasion: what the disk knows, and what the CA says now.
pub(super) async fn right(
    dir: &Path,
    url: &str,
    roots: &[Certificate],
    system: &Clock,
) -> Result<Clock, Error> {
    let mut watch = Watch::open(dir, system.clone())?;
    watch.ask(url, roots).await;
    Ok(watch.clock())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn watch(dir: &Path, system: i64) -> Watch {
        Watch::open(dir, Arc::new(move || at(system))).unwrap()
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
        assert_eq!(last(dir.path()).unwrap(), Some(at(57 * year)));
        behind.told(at(50 * year));
        assert_eq!(
            (behind.clock()(), behind.ahead()),
            (at(57 * year), None),
            "it is asked again"
        );
        // The CA's clock was a year ahead, and is right again.
        behind.answered(at(56 * year));
        assert_eq!(behind.clock()(), at(56 * year));
        assert_eq!(last(dir.path()).unwrap(), Some(at(56 * year)));
    }

    #[test]
    fn what_the_disk_holds_may_be_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LAST), "tomorrow").unwrap();
        assert_eq!(watch(dir.path(), 77).clock()(), at(77));
    }
}
