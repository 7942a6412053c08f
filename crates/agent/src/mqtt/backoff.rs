//! When to try again: later each time, and not all at once.

use std::time::Duration;

/// The pauses between attempts: doubled each time, spread over the upper half.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// How many attempts may fail in a row; `None`: as many as want to.
    most: Option<u32>,
    failed: u32,
}

impl Backoff {
    /// The first and the longest pause, and how many attempts may fail in a row.
    pub fn new(first: Duration, longest: Duration, most: Option<u32>) -> Self {
        Self {
            first,
            longest,
            most,
            failed: 0,
        }
    }

    /// It went well.
    pub fn well(&mut self) {
        self.failed = 0;
    }

    /// How often it failed in a row.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// It failed: how long to wait, or nothing if that was the last attempt. `chance` is any number.
    pub fn next(&mut self, chance: u16) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        if self.most.is_some_and(|most| self.failed >= most) {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << (self.failed - 1).min(20));
        let half = doubled.min(self.longest) / 2;
        Some(half + half * u32::from(chance) / u32::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds_and_end() {
        for chance in [0, 1, 32_000, u16::MAX] {
            let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
            let mut backoff = Backoff::new(first, longest, Some(40));
            for round in 0..39 {
                let whole = first.saturating_mul(1 << round.min(20)).min(longest);
                let pause = backoff.next(chance).unwrap_or_default();
                assert!(
                    pause >= whole / 2 && pause <= whole,
                    "{round} {pause:?} {whole:?}"
                );
            }
            assert_eq!(backoff.next(chance), None);
            backoff.well();
            assert!(backoff.next(chance).is_some_and(|pause| pause <= first));
        }
        let mut endless = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), None);
        assert!((0..10_000).all(|_| endless.next(7).is_some()));
        let mut once = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), Some(1));
        assert_eq!(once.next(7), None);
    }
}
