//! What an agent remembers over restarts: what was asked for, what was proved, and which sessions are still to be ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::beside::check::Numbers;
use crate::beside::epoch::Whole;
use crate::beside::files::Set;
use crate::disk::{self, Access};

/// A device that was shut out a short while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Since when, Unix milliseconds.
    pub(crate) since: i64,
    /// Whether its session was ended.
    pub(crate) ended: bool,
}

/// The memory itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What is to be enforced.
    pub(crate) whole: Whole,
    /// The number of the newest set of files, whether proved or not.
    pub(crate) set: u64,
    /// The set that was last proved: its number, its files, and the certificates that the broker may show with it, PEM.
    pub(crate) proven_set: u64,
    pub(crate) proven: Set,
    pub(crate) proven_server: String,
    /// The numbers of its lists.
    pub(crate) numbers: Numbers,
    /// The number and the sequence of the epoch that was last proved.
    pub(crate) enforced: u64,
    pub(crate) enforced_sequence: u64,
    /// Devices that were shut out a short while ago, and such whose session is still to be ended once.
    pub(crate) held: BTreeMap<String, Held>,
    pub(crate) kicks: BTreeSet<String>,
    /// Sessions that were ended a short while ago, and are ended once more. What an older agent wrote has none.
    #[serde(default)]
    pub(crate) again: Again,
}

/// How long after a failure it is tried once more, in milliseconds.
const RETRY: i64 = 5000;

/// Devices whose sessions are ended once more, because some may have begun while they were ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Again(BTreeMap<String, Next>);

/// When the next time is, Unix milliseconds, and how many pauses came before it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Next {
    at: i64,
    pauses: usize,
}

impl Again {
    /// The sessions of a device were ended at this moment for the first time; `pauses` as the broker says.
    pub(crate) fn begin(&mut self, device: &str, pauses: &[Duration], now: i64) {
        self.set(device, pauses, 0, now);
    }

    /// Those whose time has come. Of a clock that was set back nobody knows, so that it has come as well.
    pub(crate) fn due(&self, pauses: &[Duration], now: i64) -> Vec<String> {
        let longest = pauses.iter().map(millis).fold(RETRY, i64::max);
        let due = |next: &Next| !(now + 1..=now.saturating_add(longest)).contains(&next.at);
        let due = self.0.iter().filter(|(_, next)| due(next));
        due.map(|(device, _)| device.clone()).collect()
    }

    /// These were ended once more.
    pub(crate) fn done(&mut self, devices: &[String], pauses: &[Duration], now: i64) {
        for device in devices {
            if let Some(next) = self.0.remove(device) {
                self.set(device, pauses, next.pauses + 1, now);
            }
        }
    }

    /// These could not be.
    pub(crate) fn failed(&mut self, devices: &[String], now: i64) {
        for device in devices {
            if let Some(next) = self.0.get_mut(device) {
                next.at = now.saturating_add(RETRY);
            }
        }
    }

    /// A device is let in again: it comes back with another certificate.
    pub(crate) fn forget(&mut self, device: &str) {
        self.0.remove(device);
    }

    fn set(&mut self, device: &str, pauses: &[Duration], before: usize, now: i64) {
        if let Some(pause) = pauses.get(before) {
            let at = now.saturating_add(millis(pause));
            self.0.insert(device.to_owned(), Next { at, pauses: before });
        }
    }
}

fn millis(pause: &Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

/// Where it lies.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    dir: PathBuf,
}

impl Memory {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What was remembered; nothing at first.
    pub(crate) fn load(&self) -> Result<Kept, Error> {
        let path = self.dir.join("epoch.json");
        let Some(bytes) = disk::read(&path)? else {
            return Ok(Kept::default());
        };
        serde_json::from_slice(&bytes).map_err(|why| {
            Error::new(format!(
                "{} cannot be read: {why} (remove it: everything is asked for anew)",
                path.display()
            ))
        })
    }

    pub(crate) fn save(&self, kept: &Kept) -> Result<(), Error> {
        let json = serde_json::to_vec(kept).map_err(|why| Error::new(why.to_string()))?;
        disk::write(&self.dir.join("epoch.json"), &json, Access::OWN)
    }

    /// A list that was sound when it came.
    pub(crate) fn crl(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        disk::read(&self.crl_path(name))
    }

    /// Keeps a list, unless it is there already.
    pub(crate) fn keep_crl(&self, name: &str, der: &[u8]) -> Result<(), Error> {
        if self.crl(name)?.as_deref() == Some(der) {
            return Ok(());
        }
        disk::write(&self.crl_path(name), der, Access::OWN)
    }

    /// Epochs are refused whose CRLs have names with anything but letters, digits and `-._`.
    fn crl_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("crl-{name}.der"))
    }
}
