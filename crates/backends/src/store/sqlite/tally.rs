//! Counting while writing, so that nobody has to walk the fleet to count it.

use muster_ca::certificate::{Certificate, Status};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{millis, run};

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;

/// What a batch adds to and takes from the counts. It is written once a batch, since most certificates of a batch run
/// out on the same day.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    certificates: Vec<Count>,
    devices: i64,
}

#[derive(Debug, Clone)]
struct Count {
    place: Place,
    revoked: bool,
    difference: i64,
}

/// Where a certificate is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    own: bool,
    authority: String,
    generation: u32,
    day: i64,
}

impl Place {
    /// `not_after` is in milliseconds.
    pub(super) fn new(own: bool, authority: String, generation: u32, not_after: i64) -> Self {
        Self {
            own,
            authority,
            generation,
            day: not_after.div_euclid(DAY),
        }
    }
}

impl Tally {
    pub(super) fn device_added(&mut self) {
        self.devices += 1;
    }

    pub(super) fn added(&mut self, certificate: &Certificate) {
        let revoked = is_revoked(&certificate.status);
        let day = millis(certificate.not_after).div_euclid(DAY);
        let own = certificate.device.is_own();
        // Nearly always there is one to add to, which needs no copy of the name.
        let there = self.certificates.iter_mut().find(|count| {
            count.revoked == revoked
                && count.place.day == day
                && count.place.own == own
                && count.place.generation == certificate.generation
                && count.place.authority == certificate.authority
        });
        match there {
            Some(count) => count.difference += 1,
            None => self.certificates.push(Count {
                place: Place {
                    own,
                    authority: certificate.authority.clone(),
                    generation: certificate.generation,
                    day,
                },
                revoked,
                difference: 1,
            }),
        }
    }

    pub(super) fn moved(&mut self, place: &Place, from: &Status, to: &Status) {
        self.add(place, is_revoked(from), -1);
        self.add(place, is_revoked(to), 1);
    }

    fn add(&mut self, place: &Place, revoked: bool, difference: i64) {
        let mut counts = self.certificates.iter_mut();
        match counts.find(|count| count.revoked == revoked && count.place == *place) {
            Some(count) => count.difference += difference,
            None => self.certificates.push(Count {
                place: place.clone(),
                revoked,
                difference,
            }),
        }
    }

    pub(super) fn store(&self, conn: &Connection) -> Result<(), Fault> {
        for count in self.certificates.iter().filter(|count| count.difference != 0) {
            run(
                conn,
                "INSERT INTO tally (revoked, own, day, authority, generation, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (revoked, own, day, authority, generation) DO UPDATE SET n = n + excluded.n",
                params![
                    count.revoked,
                    count.place.own,
                    count.place.day,
                    count.place.authority,
                    count.place.generation,
                    count.difference
                ],
            )?;
        }
        if self.devices != 0 {
            run(
                conn,
                "UPDATE totals SET n = n + ?1 WHERE name = 'devices'",
                [self.devices],
            )?;
        }
        Ok(())
    }
}

fn is_revoked(status: &Status) -> bool {
    *status != Status::Active
}
