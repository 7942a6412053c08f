//! When each device renews: spread, so that a fleet that enrolled within an hour does not come back within one.
//!
//! Nobody keeps a ledger of slots. A certificate's serial number holds its place in the window, and of those that are issued one after
//! another each has its own ([`Places`]); so a slot is a function of the certificate alone, evenly spread whoever asks and whenever.
//!
//! | part of the life | is |
//! |---|---|
//! | 1/3 to 3/5 | the window: each device has one slot in it |
//! | from its slot on | who is late has another slot in every twentieth of its life, at another place in each |
//!
//! Nobody is late by so little that it is told to come at once: with an outage of the CA everybody's slot was just now. And since those
//! who are late together had their places beside each other, they get others, drawn anew for every twentieth.
//!
//! The CA may be away for a third of a life: whose slot was the last before that, at 3/5, has a fifteenth of its life left
//! afterwards, and a slot in it.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use muster_pki::key::sha256;

use crate::Ca;
use crate::authority::Stage;
use crate::certificate::{Certificate, Serial};
use crate::enrol::who::{Proof, Purpose, Who};
use crate::error::Error;

/// The longest and the shortest time after which a device asks again.
const LONGEST_POLL: SignedDuration = SignedDuration::from_hours(6);
const SHORTEST_POLL: SignedDuration = SignedDuration::from_secs(5);

/// How much of its life lies between the slots of who is late.
const LATE: f64 = 0.05;
/// No slot lies behind this part of the life.
const LAST: f64 = 0.995;

/// The golden ratio's part of the window, in parts of 2^64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hands out places in the window, one to each certificate: each lies the golden ratio's part of the window behind the one before.
///
/// Wherever that begins, any number of them in a row cuts the window into pieces of at most three lengths, and each next one cuts one of
/// the longest (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S). No number is worse to approach by fractions
/// than the golden ratio; so whoever has every second place, or every third, such as one of two fleets that enrol together, is spread
/// nearly as evenly.
#[derive(Debug)]
pub struct Places(AtomicU64);

impl Places {
    /// Begins at this part of the window, of 2^64.
    pub fn begin_at(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    /// The next one, as a serial number holds it: which of 65,536 parts of the window.
    pub fn take(&self) -> [u8; 2] {
        // It wraps around, as the window does.
        let place = self.0.fetch_add(STEP, Ordering::Relaxed);
        let [a, b, ..] = place.to_be_bytes();
        [a, b]
    }
}

/// What a device is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// When it is to renew; at once, if that is over.
    pub renew_at: Timestamp,
    /// From when on who asks once a day, and then either renews or goes, is to renew: such a one would miss each later slot as well.
    pub renew_from: Timestamp,
    /// After how long it is to ask again.
    pub poll_after: SignedDuration,
    /// What the time is.
    pub now: Timestamp,
}

/// What the planner needs of a certificate.
#[derive(Debug, Clone, Copy)]
pub struct Life<'a> {
    /// Its serial number.
    pub serial: &'a Serial,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
}

impl Life<'_> {
    fn part(&self, of: f64) -> SignedDuration {
        let whole = self
            .ends
            .duration_since(self.issued)
            .max(SignedDuration::from_secs(1));
        SignedDuration::try_from_secs_f64(whole.as_secs_f64() * of).unwrap_or(SignedDuration::MAX)
    }

    /// Its slot in the window.
    pub fn slot(&self) -> Timestamp {
        let (from, to) = (1.0 / 3.0, 3.0 / 5.0);
        self.issued + self.part(from + (to - from) * place(self.serial))
    }

    /// The slot in one of the twentieths that the life has, if it is late. The last one ends before the certificate does.
    fn late_slot(&self, twentieth: u32) -> Timestamp {
        let from = LATE * f64::from(twentieth);
        let to = (from + LATE).min(LAST);
        let drawn = drawn(self.serial, &twentieth.to_be_bytes());
        self.issued + self.part(from + (to - from) * drawn)
    }
}

/// When a certificate is to be renewed, as it looks `now`. `soon`: it will be distrusted, so its window is over.
pub fn renew_at(life: Life<'_>, now: Timestamp, soon: bool) -> Timestamp {
    let slot = life.slot();
    if !soon && now <= slot {
        return slot;
    }
    let gone = now.duration_since(life.issued).as_secs_f64() / life.part(LATE).as_secs_f64();
    // What is less than none or more than there are is cut off.
    let this = gone as u32;
    let twentieths = (1.0 / LATE) as u32;
    let mut later = (this..twentieths).map(|one| life.late_slot(one));
    // Who has missed them all comes now.
    later.find(|slot| *slot >= now).unwrap_or(now)
}

/// Where in the window a certificate has its place: 0 to 1. Within the part that its serial number names, what nobody can foresee; and
/// so in the whole window if it names none.
fn place(serial: &Serial) -> f64 {
    let within = drawn(serial, &[]);
    let parts = f64::from(u16::MAX) + 1.0;
    serial
        .place()
        .map_or(within, |part| (f64::from(part) + within) / parts)
}

/// A number from 0 to 1 that nobody can foresee, and that is the same whenever it is asked for.
fn drawn(serial: &Serial, what: &[u8]) -> f64 {
    let [a, b, c, d, ..] = sha256(&[serial.as_bytes(), what].concat());
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

impl Ca {
    /// When the holder of a certificate is to renew it.
    pub async fn plan(&self, proof: Proof) -> Result<Plan, Error> {
        let caller = self.identify(proof, Purpose::Renew).await?;
        let Who::Device(holder) = caller.who() else {
            return Err(Error::Unproven(
                "only the holder of a certificate has a plan: present it".into(),
            ));
        };
        let now = self.clock.now();
        let certificate = &holder.certificate;
        let life = Life {
            serial: &certificate.serial,
            issued: certificate.issued(),
            ends: certificate.not_after,
        };
        let soon = self.is_on_the_way_out(certificate)?;
        let renew_at = renew_at(life, now, soon);
        let until = renew_at.duration_since(now);
        Ok(Plan {
            renew_at,
            renew_from: if soon { now } else { life.slot() },
            poll_after: until.clamp(SHORTEST_POLL, LONGEST_POLL),
            now,
        })
    }

    /// Whether its issuer issues no more and is to be retired.
    fn is_on_the_way_out(&self, certificate: &Certificate) -> Result<bool, Error> {
        let state = self.state.load();
        let authority = state.authority(&certificate.authority)?;
        let issuer = authority.record.generation(certificate.generation)?;
        Ok(issuer.stage == Stage::Retiring)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn serial(place: [u8; 2], number: u64) -> Serial {
        let mut bytes = Serial::time_octets(at(1_800_000_000)).to_vec();
        bytes.extend(place);
        bytes.extend(&sha256(&number.to_be_bytes())[..8]);
        Serial::from_bytes(&bytes).unwrap()
    }

    /// So many certificates, from this place on; between two of them others take some.
    fn serials(many: u64, start: u64, stride: usize) -> impl Iterator<Item = Serial> {
        let places = Places::begin_at(start);
        let every = std::iter::repeat_with(move || places.take()).step_by(stride);
        every.zip(0..many).map(|(place, number)| serial(place, number))
    }

    /// How many have their places in each of these equal parts of the window.
    fn in_each_part(serials: impl Iterator<Item = Serial>, parts: usize) -> Vec<u32> {
        let mut counts = vec![0; parts];
        for serial in serials {
            counts[(place(&serial) * parts as f64) as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_slot_stays_where_it_is_and_is_never_out_of_reach() {
        for (place, days) in [(0, 30), (1, 30), (u16::MAX, 1), (777, 365)] {
            let serial = serial(place.to_be_bytes(), 0);
            let (issued, ends) = (at(1_800_000_000), at(1_800_000_000 + days * 86_400));
            let life = Life {
                serial: &serial,
                issued,
                ends,
            };
            let whole = ends.duration_since(issued);
            let slot = renew_at(life, issued, false);
            assert!(slot >= issued + whole / 3 && slot <= issued + whole * 3 / 5);
            let mut before = slot;
            for step in 0..1000 {
                let now = issued + whole * step / 1000;
                let planned = renew_at(life, now, false);
                assert!(planned < ends, "{step}");
                if now <= before {
                    assert_eq!(planned, before, "asking does not move it: {step}");
                } else {
                    // Who is late is not put off for long, and not told to come at once with all others that are.
                    assert!(planned <= now + whole / 10, "{step}");
                    assert!(planned > now || now > issued + whole * 9 / 10, "{step}");
                }
                before = planned;
                assert!(renew_at(life, now, true) <= now + whole / 10, "distrusted soon");
            }
        }
    }

    #[test]
    fn who_was_late_by_little_comes_back_as_spread_as_all() {
        let (issued, ends) = (at(1_800_000_000), at(1_800_000_000 + 30 * 86_400));
        let whole = ends.duration_since(issued);
        let serials: Vec<_> = serials(20_000, 0, 1).collect();
        let lives = serials.iter().map(|serial| Life { serial, issued, ends });
        for (from, back) in [(350, 360), (400, 733), (590, 600), (333, 667)] {
            let (from, back) = (issued + whole * from / 1000, issued + whole * back / 1000);
            let late = lives.clone().filter(|life| (from..back).contains(&life.slot()));
            let slots: Vec<_> = late.map(|life| renew_at(life, back, false)).collect();
            // Of what one twentieth has, so many tenths.
            let mut tenths = [0; 40];
            for slot in &slots {
                let after = slot.duration_since(back).as_secs_f64() / (whole / 200).as_secs_f64();
                tenths[after as usize] += 1;
            }
            assert!(slots.iter().all(|slot| *slot < ends));
            let most = tenths.iter().max().unwrap() * 10;
            let all = slots.len();
            assert!(all > 500 && most < all * 14 / 10, "{most} of {all}: {tenths:?}");
        }
    }

    #[test]
    fn a_few_are_evenly_spread_from_wherever_they_begin_and_whoever_is_between() {
        for start in [0, 5, u64::MAX / 3, u64::MAX] {
            for stride in 1..=16 {
                let sixteenths = in_each_part(serials(1600, start, stride), 16);
                assert!(
                    sixteenths.iter().all(|count| (94..=106).contains(count)),
                    "{stride}: {sixteenths:?}"
                );
            }
        }
    }

    #[test]
    fn what_was_not_drawn_here_has_a_place_in_the_window_too() {
        for hex in ["a1", "0102030405060708", "010203040506070809"] {
            let place = place(&Serial::from_hex(hex).unwrap());
            assert!((0.0..1.0).contains(&place), "{hex}: {place}");
        }
    }

    #[test]
    fn a_fleet_that_enrolled_at_once_fills_its_window_evenly() {
        const DEVICES: u64 = 100_000;
        for stride in [1, 2, 3, 16] {
            let parts = in_each_part(serials(DEVICES, 7, stride), 1_000);
            let peak = f64::from(*parts.iter().max().unwrap()) * 1_000.0 / DEVICES as f64;
            assert!(peak <= 1.2, "{stride}: {peak}");
        }
    }
}
