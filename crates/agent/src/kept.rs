//! What an agent remembers over restarts: what was asked for, what was proved, and which sessions are still to be ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::check::Numbers;
use crate::disk::{self, Access};
use crate::epoch::Whole;
use crate::files::Set;

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
