//! Counting while writing, so that nobody has to walk the fleet to count it.

use muster_ca::certificate::{Certificate, Status};
use muster_ca::device::{Device, Kind, State};
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::rows::{millis, run};

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;

/// What a batch adds to and takes from the counts. It is written once a batch, since most certificates of a batch run
/// out on the same day.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    certificates: Vec<Count>,
    devices: Vec<((Kind, State), i64)>,
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
    profile: String,
    how: String,
}

impl Place {
    /// Reads own, authority, generation, last moment, profile and how it was asked for.
    pub(super) fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let how: String = row.get(5)?;
        Ok(Self {
            own: row.get(0)?,
            authority: row.get(1)?,
            generation: row.get(2)?,
            day: row.get::<_, i64>(3)?.div_euclid(DAY),
            profile: row.get(4)?,
            how: how.split(':').next().unwrap_or_default().to_owned(),
        })
    }

    fn of(certificate: &Certificate) -> Self {
        Self {
            own: certificate.device.is_own(),
            authority: certificate.authority.clone(),
            generation: certificate.generation,
            day: millis(certificate.not_after).div_euclid(DAY),
            profile: certificate.profile.clone(),
            how: certificate.way().to_owned(),
        }
    }

    /// Whether it is where a certificate is counted; needs no copy of its words.
    fn holds(&self, certificate: &Certificate) -> bool {
        self.day == millis(certificate.not_after).div_euclid(DAY)
            && self.own == certificate.device.is_own()
            && self.generation == certificate.generation
            && self.authority == certificate.authority
            && self.profile == certificate.profile
            && self.how == certificate.way()
    }
}

impl Tally {
    /// `before` is what a device was that was there already.
    pub(super) fn device(&mut self, device: &Device, before: Option<(Kind, State)>) {
        let after = (device.kind, device.state);
        if device.name.is_own() || before == Some(after) {
            return;
        }
        let differences = before.map(|before| (before, -1)).into_iter().chain([(after, 1)]);
        for (place, difference) in differences {
            match self.devices.iter_mut().find(|(there, _)| *there == place) {
                Some((_, sum)) => *sum += difference,
                None => self.devices.push((place, difference)),
            }
        }
    }

    pub(super) fn added(&mut self, certificate: &Certificate) {
        let revoked = is_revoked(&certificate.status);
        let mut counts = self.certificates.iter_mut();
        // Nearly always there is one to add to.
        match counts.find(|count| count.revoked == revoked && count.place.holds(certificate)) {
            Some(count) => count.difference += 1,
            None => self.certificates.push(Count {
                place: Place::of(certificate),
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
                "INSERT INTO tally (revoked, own, day, authority, generation, profile, how, n)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (revoked, own, day, authority, generation, profile, how) DO UPDATE SET n = n + excluded.n",
                params![
                    count.revoked,
                    count.place.own,
                    count.place.day,
                    count.place.authority,
                    count.place.generation,
                    count.place.profile,
                    count.place.how,
                    count.difference
                ],
            )?;
        }
        for ((kind, state), difference) in self.devices.iter().filter(|(_, difference)| *difference != 0) {
            run(
                conn,
                "INSERT INTO device_tally (kind, state, n) VALUES (?1, ?2, ?3)
                 ON CONFLICT (kind, state) DO UPDATE SET n = n + excluded.n",
                params![kind.as_str(), state.as_str(), difference],
            )?;
        }
        Ok(())
    }
}

fn is_revoked(status: &Status) -> bool {
    *status != Status::Active
}
