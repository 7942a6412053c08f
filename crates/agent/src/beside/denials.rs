//! What was refused to devices, counted until it is reported.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_api::agent::Denial;

/// How many devices and topics are told apart until they are reported.
const MOST: usize = 100;
/// The longest topic that is kept.
const MAX_TOPIC: usize = 200;

/// What was refused since somebody asked last.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeMap<(String, String), u64>>);

impl Denials {
    /// Remembers one. What comes from devices is cut, and without control characters.
    pub(crate) fn note(&self, device: &str, topic: &str) {
        let printable = topic.chars().filter(|letter| !letter.is_control());
        let key = (device.to_owned(), printable.take(MAX_TOPIC).collect());
        let mut all = self.lock();
        if all.len() < MOST || all.contains_key(&key) {
            *all.entry(key).or_default() += 1;
        }
    }

    /// All of them; from here on they are counted anew.
    pub(crate) fn take(&self) -> Vec<Denial> {
        let all = std::mem::take(&mut *self.lock()).into_iter();
        all.map(|((device, topic), times)| Denial { device, topic, times })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), u64>> {
        // Nothing that could fail half-way is done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
