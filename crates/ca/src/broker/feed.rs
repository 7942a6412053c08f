//! What brokers have to hear of the audit log, which is the outbox: which devices changed, and up to where.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Ca;
use crate::audit::Entry;
use crate::device::DeviceName;
use crate::error::Error;

/// How many entries are read at a time.
const STEP: usize = 1000;
/// How many changes are remembered; an agent that was away for more starts again with whole lists.
const REMEMBERED: usize = 65_536;

/// The changes since this process began, in the order of the log. Before that, everything may have changed.
pub(crate) struct Feed(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    reach: Reach,
    changes: BTreeMap<u64, DeviceName>,
    last: HashMap<DeviceName, u64>,
}

/// How far the log was read, and what stands in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Changes up to this entry are not known one by one.
    pub(crate) begin: u64,
    /// The last entry that was read.
    pub(crate) head: u64,
    /// The last that brokers have to hear of.
    pub(crate) relevant: u64,
    /// The last that a CRL has to follow.
    pub(crate) revoking: u64,
}

impl Feed {
    /// How far it goes.
    pub(crate) fn reach(&self) -> Reach {
        self.lock().reach
    }

    /// The devices that changed after one entry and up to another; `None` if that is not known any more.
    pub(crate) fn changed(&self, after: u64, until: u64) -> Option<Vec<DeviceName>> {
        let inner = self.lock();
        if after < inner.reach.begin {
            return None;
        }
        if until <= after {
            return Some(Vec::new());
        }
        let mut names: Vec<_> = inner
            .changes
            .range(after + 1..=until)
            .map(|(_, name)| name.clone())
            .collect();
        names.sort();
        names.dedup();
        Some(names)
    }

    /// The last entry that changed this device; where none is known, the last of which nothing is known.
    pub(crate) fn last_change(&self, name: &DeviceName) -> u64 {
        let inner = self.lock();
        inner.last.get(name).copied().unwrap_or(inner.reach.begin)
    }

    /// Begins behind this entry. A revocation just before it may be on no CRL yet.
    pub(crate) fn begin_at(head: u64) -> Self {
        Self(Mutex::new(Inner {
            reach: Reach {
                begin: head,
                head,
                relevant: head,
                revoking: head,
            },
            ..Inner::default()
        }))
    }

    fn take(&self, entries: &[(u64, Option<News>)]) {
        let mut inner = self.lock();
        for (sequence, news) in entries {
            if *sequence <= inner.reach.head {
                continue;
            }
            inner.reach.head = *sequence;
            let Some(news) = news else { continue };
            inner.reach.relevant = *sequence;
            if news.revoking {
                inner.reach.revoking = *sequence;
            }
            if let Some(name) = &news.device {
                inner.changes.insert(*sequence, name.clone());
                inner.last.insert(name.clone(), *sequence);
            }
        }
        while inner.changes.len() > REMEMBERED {
            let Some((sequence, name)) = inner.changes.pop_first() else {
                break;
            };
            inner.reach.begin = sequence;
            if inner.last.get(&name) == Some(&sequence) {
                inner.last.remove(&name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that could fail half-way is done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an entry means to brokers.
struct News {
    /// The device that it is about, if it is about one.
    device: Option<DeviceName>,
    /// Whether a CRL has to follow.
    revoking: bool,
}

impl Ca {
    /// Reads what was recorded since the last time, and says how far that goes.
    pub(crate) async fn follow(&self) -> Result<Reach, Error> {
        loop {
            let after = self.feed.reach().head;
            let entries = self.store.entries(after, STEP).await?;
            let news: Vec<_> = entries
                .iter()
                .map(|entry| (entry.sequence, self.news_of(entry)))
                .collect();
            self.feed.take(&news);
            if entries.len() < STEP {
                return Ok(self.feed.reach());
            }
        }
    }

    fn news_of(&self, entry: &Entry) -> Option<News> {
        // A subject begins with the device's name; a serial number or a token may follow.
        let device = || {
            let name = entry.subject.split(' ').next().unwrap_or_default();
            let name = DeviceName::restored(name.to_owned());
            (!name.is_own()).then_some(name)
        };
        let about = |revoking| {
            Some(News {
                device: Some(device()?),
                revoking,
            })
        };
        match entry.action.as_str() {
            "device.revoked"
            | "device.suspended"
            | "device.resumed"
            | "device.retired"
            | "certificate.revoked"
            | "token.unbound" => about(true),
            "device.rearmed" | "device.access" => about(false),
            // Of new devices, those that do not follow the rules of most.
            "certificate.issued" | "certificate.renewed" | "certificate.confirmed" | "device.created" => {
                let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap_or_default();
                let superseded = detail.get("superseded").is_some();
                let profile = detail.get("profile").and_then(serde_json::Value::as_str);
                let other_rules = profile.is_some_and(|profile| self.has_other_rules(profile));
                (superseded || other_rules).then(|| about(superseded)).flatten()
            }
            // What changes the CAs that brokers trust.
            "authority.founded" | "authority.imported" | "authority.standby" | "authority.retired" => {
                Some(News {
                    device: None,
                    revoking: false,
                })
            }
            _ => None,
        }
    }
}
