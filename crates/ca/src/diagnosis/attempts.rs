//! What is kept of the listener's visitors: little of each, so that nobody crowds out anybody else.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::attempt::{Attempt, Certainty};
use crate::device::DeviceName;

/// Of how many devices something is kept, where it was proved and where it was claimed. Claims cost nothing, so they are
/// apart.
const DEVICES: (usize, usize) = (1000, 200);
/// How many attempts of each.
const EACH: usize = 4;
/// How many of those who are nobody that is known.
const STRANGERS: usize = 50;

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
    fn add(&mut self, name: DeviceName, attempt: Attempt, most: usize) {
        self.order.retain(|one| *one != name);
        self.order.push_front(name.clone());
        let all = self.of.entry(name).or_default();
        all.push_front(attempt);
        all.truncate(EACH);
        while self.order.len() > most {
            if let Some(last) = self.order.pop_back() {
                self.of.remove(&last);
            }
        }
    }

    fn of(&self, name: &DeviceName) -> impl Iterator<Item = &Attempt> {
        self.of.get(name).into_iter().flatten()
    }
}

impl Attempts {
    pub(super) fn add(&mut self, attempt: Attempt) {
        match (attempt.name.clone(), attempt.certainty) {
            (Some(name), Certainty::Proved) => self.proved.add(name, attempt, DEVICES.0),
            (Some(name), _) => self.claimed.add(name, attempt, DEVICES.1),
            (None, _) => {
                self.strangers.push_front(attempt);
                self.strangers.truncate(STRANGERS);
            }
        }
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
    use jiff::Timestamp;

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
