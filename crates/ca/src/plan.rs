//! When each device renews: spread, so that a fleet that enrolled within an hour does not come back within one.
//!
//! Nobody keeps a ledger of slots. A certificate's serial number holds its turn among those that were issued with it, and each turn
//! has its own place in the window; so a slot is a function of the certificate alone, evenly spread whoever asks and whenever.
//!
//! | part of the life | is |
//! |---|---|
//! | 1/3 to 3/5 | the window: each device has one slot in it |
//! | from there on | who is late has another slot in every twentieth of its life |
//!
//! The CA may be away for a third of a life: whose slot was the last before that, at 3/5, has a fifteenth of its life left
//! afterwards, and a slot in it.

use jiff::{SignedDuration, Timestamp};
use muster_pki::key::sha256;

use crate::Ca;
use crate::authority::Stage;
use crate::certificate::{Certificate, Serial, TURNS};
use crate::enrol::who::{Proof, Purpose, Who};
use crate::error::Error;

/// The longest and the shortest time after which a device asks again.
const LONGEST_POLL: SignedDuration = SignedDuration::from_hours(6);
const SHORTEST_POLL: SignedDuration = SignedDuration::from_secs(5);

/// What a device is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// When it is to renew; at once, if that is over.
    pub renew_at: Timestamp,
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

/// When a certificate is to be renewed, as it looks `now`. `soon`: it will be distrusted, so its window is over.
pub fn renew_at(life: Life<'_>, now: Timestamp, soon: bool) -> Timestamp {
    let whole = life
        .ends
        .duration_since(life.issued)
        .max(SignedDuration::from_secs(1));
    let part = |of: f64| whole.mul_f64_or_max(of);
    let place = place(life.serial);
    let (from, to) = (1.0 / 3.0, 3.0 / 5.0);
    let slot = life.issued + part(from + (to - from) * place);
    // Who asks about when its slot is, is not late.
    if !soon && now <= slot + part(0.01) {
        return slot;
    }
    let round = part(0.05);
    let rounds = now.duration_since(life.issued).as_secs_f64() / round.as_secs_f64();
    let this = life.issued + part(0.05 * (rounds.floor() + place));
    let next = if this < now { this + round } else { this };
    // What would come too late comes now.
    if next >= life.ends - part(0.005) {
        now
    } else {
        next
    }
}

/// Where in a window a certificate has its place: 0 to 1. The bits of its turn in reverse order, so that any few that follow each
/// other lie far apart; and what nobody can foresee, for the place within that.
fn place(serial: &Serial) -> f64 {
    let turns = TURNS.trailing_zeros();
    let turn = serial.turn().reverse_bits() >> (u32::BITS - turns);
    let digest = sha256(serial.as_bytes());
    let [a, b, c, d, ..] = digest;
    let within = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
    (f64::from(turn) + within) / f64::from(TURNS)
}

trait Parts {
    fn mul_f64_or_max(&self, by: f64) -> SignedDuration;
}

impl Parts for SignedDuration {
    fn mul_f64_or_max(&self, by: f64) -> SignedDuration {
        SignedDuration::try_from_secs_f64(self.as_secs_f64() * by).unwrap_or(Self::MAX)
    }
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
        let renew_at = renew_at(life, now, self.is_on_the_way_out(certificate)?);
        let until = renew_at.duration_since(now);
        Ok(Plan {
            renew_at,
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

    fn serial(turn: u64) -> Serial {
        let mut bytes = Serial::drawn_at(at(1_800_000_000), turn).to_vec();
        bytes.extend(sha256(&turn.to_be_bytes())[..10].iter());
        Serial::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn a_slot_stays_where_it_is_and_is_never_out_of_reach() {
        for (turn, days) in [(0, 30), (1, 30), (2047, 1), (77, 365)] {
            let serial = serial(turn);
            let (issued, ends) = (at(1_800_000_000), at(1_800_000_000 + days * 86_400));
            let life = Life {
                serial: &serial,
                issued,
                ends,
            };
            let whole = ends.duration_since(issued);
            let slot = renew_at(life, issued, false);
            assert!(slot >= issued + whole / 3 && slot <= issued + whole * 3 / 5);
            for tenth in 0..100 {
                let now = issued + whole * tenth / 100;
                let planned = renew_at(life, now, false);
                assert!(planned < ends, "{tenth}");
                if now <= slot {
                    assert_eq!(planned, slot, "asking does not move it");
                } else {
                    // Who is late is not put off for long.
                    assert!(planned <= now + whole / 20, "{tenth}");
                }
                assert!(renew_at(life, now, true) <= now + whole / 20, "distrusted soon");
            }
        }
    }

    #[test]
    fn turns_are_evenly_spread_from_wherever_they_begin() {
        for begin in [0, 5, 1999] {
            let mut bins = [0; 16];
            for turn in begin..begin + 1600 {
                bins[(place(&serial(turn)) * 16.0) as usize] += 1;
            }
            assert!(bins.iter().all(|count| (95..=105).contains(count)), "{bins:?}");
        }
    }
}
