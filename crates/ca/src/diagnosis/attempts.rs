//! What is kept of the listener's visitors: little of each, so that nobody crowds out anybody else.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;

use super::attempt::{Attempt, Certainty};
use crate::device::DeviceName;

/// Of how many devices something is kept, where it was proved and where it was claimed. Claims cost nothing, so they are
/// apart.
const DEVICES: (usize, usize) = (1000, 200);
/// How many attempts of each.
const EACH: usize = 4;
/// How many of those who are nobody that is known.
const STRANGERS: usize = 50;

/// The most places that there are.
pub(super) const PLACES: usize = DEVICES.0 + DEVICES.1 + 1;
/// What the places of the store are called, with the device's name behind the first two.
const PROVED: &str = "proved-";
const CLAIMED: &str = "claimed-";
const UNKNOWN: &str = "strangers";

/// A place of the store, and what lies there from now on; nothing: it is empty.
pub(super) type Place = (String, Vec<Attempt>);

/// Everything that is kept.
#[derive(Default)]
pub(super) struct Attempts {
    proved: Kept,
    claimed: Kept,
    strangers: VecDeque<Attempt>,
}

/// The last attempts of each device, newest first, and the devices in the order of their last.
#[derive(Default)]
struct Kept {
    of: HashMap<DeviceName, VecDeque<Attempt>>,
    order: VecDeque<DeviceName>,
}

impl Kept {
    fn add(&mut self, name: DeviceName, attempt: Attempt, most: usize, word: &str) -> Vec<Place> {
        self.order.retain(|one| *one != name);
        self.order.push_front(name.clone());
        let place = format!("{word}{name}");
        let all = self.of.entry(name).or_default();
        all.push_front(attempt);
        all.truncate(EACH);
        let mut changed = vec![(place, all.iter().cloned().collect())];
        while self.order.len() > most {
            if let Some(last) = self.order.pop_back() {
                self.of.remove(&last);
                changed.push((format!("{word}{last}"), Vec::new()));
            }
        }
        changed
    }

    fn forget(&mut self, until: Timestamp) {
        self.of.retain(|_, all| {
            all.retain(|attempt| attempt.at > until);
            !all.is_empty()
        });
        self.order.retain(|name| self.of.contains_key(name));
    }

    fn of(&self, name: &DeviceName) -> impl Iterator<Item = &Attempt> {
        self.of.get(name).into_iter().flatten()
    }
}

impl Attempts {
    /// Keeps another one. The places of the store that change with it.
    pub(super) fn add(&mut self, attempt: Attempt) -> Vec<Place> {
        match (attempt.name.clone(), attempt.certainty) {
            (Some(name), Certainty::Proved) => self.proved.add(name, attempt, DEVICES.0, PROVED),
            (Some(name), _) => self.claimed.add(name, attempt, DEVICES.1, CLAIMED),
            (None, _) => {
                self.strangers.push_front(attempt);
                self.strangers.truncate(STRANGERS);
                vec![(UNKNOWN.to_owned(), self.strangers())]
            }
        }
    }

    /// Forgets who came at this moment or before. What the store has of them it forgets by itself, or with the next who comes
    /// to the same place.
    pub(super) fn forget(&mut self, until: Timestamp) {
        self.proved.forget(until);
        self.claimed.forget(until);
        self.strangers.retain(|attempt| attempt.at > until);
    }

    /// With what lay in the store, in whatever order.
    pub(super) fn restored(mut all: Vec<Attempt>) -> Self {
        all.sort_by_key(|attempt| attempt.at);
        let mut attempts = Self::default();
        for attempt in all {
            attempts.add(attempt);
        }
        attempts
    }

    /// A device's, newest first: what it proved, what somebody claimed for it, and who without a name came from where it comes
    /// from.
    pub(super) fn of(&self, name: &DeviceName, addresses: &[IpAddr]) -> Vec<Attempt> {
        let proved: Vec<_> = self.proved.of(name).collect();
        let from_there = |one: &&Attempt| {
            one.certainty == Certainty::Unknown
                && (addresses.contains(&one.address)
                    || proved.iter().any(|known| known.address == one.address))
        };
        let nameless = self.strangers.iter().filter(from_there).take(EACH);
        let nameless: Vec<_> = nameless
            .map(|one| Attempt {
                certainty: Certainty::Address,
                ..one.clone()
            })
            .collect();
        let named = proved.iter().copied().chain(self.claimed.of(name)).cloned();
        let mut all: Vec<_> = named.chain(nameless).collect();
        all.sort_by_key(|attempt| std::cmp::Reverse(attempt.at));
        all
    }

    pub(super) fn strangers(&self) -> Vec<Attempt> {
        self.strangers.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::super::attempt::{End, Knock, Shown};
    use super::*;

    fn attempt(second: i64, client_id: &str, last: u8) -> Attempt {
        let knock = Knock {
            address: [10, 0, 0, last].into(),
            chain: Vec::new(),
            proved: false,
            server_name: None,
            client_id: Some(client_id.to_owned()),
            end: End::Finished,
        };
        Attempt::of(knock, Shown::Nothing, Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn however_many_come_little_is_kept_and_claims_crowd_nobody_out() {
        let mut all = Attempts::default();
        let site = DeviceName::restored("site-1".into());
        let mut own = attempt(1, "site-1", 1);
        own.certainty = Certainty::Proved;
        all.add(own);
        for second in 2..5000 {
            all.add(attempt(second, &format!("site-{second}"), 9));
            all.add(attempt(second, "site-1", 9));
            all.add(attempt(second, "", 9));
        }
        assert_eq!(
            (all.claimed.of.len(), all.claimed.order.len()),
            (DEVICES.1, DEVICES.1)
        );
        assert_eq!(all.strangers().len(), STRANGERS);
        let kept = all.of(&site, &[]);
        assert_eq!(kept.len(), 1 + EACH);
        assert_eq!(kept.last().unwrap().certainty, Certainty::Proved);
    }

    #[test]
    fn what_is_kept_comes_back_from_the_store() {
        let mut all = Attempts::default();
        let mut places: HashMap<String, Vec<Attempt>> = HashMap::new();
        for second in 1..600 {
            let mut own = attempt(second, &format!("site-{}", second % 300), 1);
            if second % 2 == 0 {
                own.certainty = Certainty::Proved;
            }
            for (place, kept) in all.add(own).into_iter().chain(all.add(attempt(second, "", 9))) {
                places.insert(place, kept);
            }
        }
        places.retain(|_, kept| !kept.is_empty());
        assert!(places.len() <= PLACES, "{}", places.len());
        let texts = places.values().map(|kept| serde_json::to_string(kept).unwrap());
        let read = texts.flat_map(|text| serde_json::from_str::<Vec<Attempt>>(&text).unwrap());
        let again = Attempts::restored(read.collect());
        assert_eq!(again.strangers(), all.strangers());
        assert_eq!(again.claimed.order, all.claimed.order);
        for number in [0, 1, 298, 299] {
            let site = DeviceName::restored(format!("site-{number}"));
            assert_eq!(again.of(&site, &[]), all.of(&site, &[]));
        }
    }

    #[test]
    fn who_came_too_long_ago_is_forgotten_and_comes_back_with_nobody() {
        let mut all = Attempts::default();
        for second in [1, 5] {
            let mut own = attempt(second, "site-1", 1);
            own.certainty = Certainty::Proved;
            all.add(own);
            all.add(attempt(second, "", 9));
        }
        all.add(attempt(1, "site-2", 1));
        let at = |second| Timestamp::from_second(second).unwrap();
        all.forget(at(1));
        let (first, second) = ["site-1", "site-2"]
            .map(|name| DeviceName::restored(name.into()))
            .into();
        assert_eq!(all.of(&first, &[]).len(), 1);
        assert_eq!(all.of(&second, &[]), []);
        assert_eq!(all.claimed.order.len(), 0);
        let (place, kept) = all.add(attempt(6, "", 9)).remove(0);
        assert_eq!(
            (place.as_str(), kept.len()),
            (UNKNOWN, 2),
            "what is stored anew is young"
        );
        all.forget(at(6));
        assert_eq!((all.strangers(), all.of(&first, &[])), (Vec::new(), Vec::new()));
    }

    #[test]
    fn who_has_no_name_is_probably_who_comes_from_there() {
        let mut all = Attempts::default();
        all.add(attempt(1, "", 7));
        let site = DeviceName::restored("site-1".into());
        assert!(all.of(&site, &[[10, 0, 0, 8].into()]).is_empty());
        let probably = all.of(&site, &[[10, 0, 0, 7].into()]);
        assert_eq!(probably[0].certainty, Certainty::Address);
    }

    #[test]
    fn a_strangers_words_are_short_and_plain() {
        let odd = attempt(1, &format!("a\u{1b}[2J\n\u{202e}b{}", "x".repeat(500)), 1);
        assert!(odd.said.starts_with("a[2Jb"), "{}", odd.said);
        assert!(odd.said.chars().count() <= 64);
    }
}
