//! How often somebody may try to log in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Who tries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// An address, or the IPv6 network of a customer.
    Address(IpAddr),
    /// A name, from browsers in which it never logged in.
    Name(String),
    /// Somebody who is known and shows the password again.
    Account(String),
    /// A browser in which the name has logged in before, by the hash of its secret: strangers who guess cannot use up what
    /// it may.
    Browser([u8; 32]),
}

impl Who {
    /// Addresses of one IPv6 network (/64) belong to one customer, who has as many as there are.
    pub(crate) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::Address([a, b, c, d, 0, 0, 0, 0].into())
            }
            v4 @ IpAddr::V4(_) => Self::Address(v4),
        }
    }

    /// How many attempts at once, and how long until one more.
    fn allowance(&self) -> (i32, SignedDuration) {
        match self {
            Self::Address(_) => (20, SignedDuration::from_secs(6)),
            Self::Name(_) | Self::Account(_) | Self::Browser(_) => (10, SignedDuration::from_secs(30)),
        }
    }
}

/// As many are remembered; those that have the most left are forgotten first.
const REMEMBERED: usize = 10_000;

/// When each of them will have its whole allowance again.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<Who, Timestamp>>);

impl Attempts {
    /// Takes an attempt from each of them, or says how long to wait.
    pub(crate) fn take(&self, all: &[Who], now: Timestamp) -> Result<(), SignedDuration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = |who: &Who| {
            let (_, step) = who.allowance();
            known.get(who).copied().unwrap_or(now).max(now) + step
        };
        let wait = |who: &Who| {
            let (burst, step) = who.allowance();
            after(who).duration_since(now) - step * burst
        };
        if let Some(longest) = all.iter().map(wait).max().filter(|wait| wait.is_positive()) {
            return Err(longest);
        }
        let taken: Vec<_> = all.iter().map(|who| (who.clone(), after(who))).collect();
        known.extend(taken);
        if known.len() > REMEMBERED {
            let mut moments: Vec<_> = known.values().copied().collect();
            moments.sort_unstable();
            let middle = moments[moments.len() / 2].max(now);
            known.retain(|_, whole_at| *whole_at > middle);
        }
        Ok(())
    }

    /// Gives an attempt that was right back.
    pub(crate) fn give_back(&self, all: &[Who]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for who in all {
            let (_, step) = who.allowance();
            if let Some(whole_at) = known.get_mut(who) {
                *whole_at -= step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_900_000_000 + second).unwrap()
    }

    #[test]
    fn ten_at_once_and_then_one_every_half_minute() {
        let attempts = Attempts::default();
        let who = [Who::Name("alice".into())];
        let granted = |second| {
            (0..100)
                .filter(|_| attempts.take(&who, at(second)).is_ok())
                .count()
        };
        assert_eq!(granted(0), 10);
        assert_eq!(attempts.take(&who, at(0)), Err(SignedDuration::from_secs(30)));
        assert_eq!(granted(29), 0);
        assert_eq!(granted(30), 1);
        assert_eq!(granted(10_000), 10);
        assert_eq!(attempts.take(&[Who::Name("bob".into())], at(10_000)), Ok(()));
    }

    #[test]
    fn whoever_is_right_uses_nothing_up() {
        let attempts = Attempts::default();
        let who = [Who::at("2001:db8::1".parse().unwrap())];
        for _ in 0..100 {
            attempts.take(&who, at(0)).unwrap();
            attempts.give_back(&who);
        }
        assert_eq!(who[0], Who::at("2001:db8::2".parse().unwrap()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let attempts = Attempts::default();
        for number in 0..30_000 {
            attempts
                .take(&[Who::Name(number.to_string())], at(number / 100))
                .unwrap();
        }
        assert!(attempts.0.lock().unwrap().len() <= REMEMBERED + 1);
    }
}
