//! Counting while writing, so that nobody has to walk the fleet to count it.

use jiff::Timestamp;
use muster_ca::certificate::Status;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{millis, run};

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;

/// What a batch adds to and takes from the counts. It is written once a batch, since most certificates of a batch run
/// out on the same day.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Day of expiry, whether revoked, difference.
    certificates: Vec<(i64, bool, i64)>,
    devices: i64,
}

impl Tally {
    pub(super) fn device_added(&mut self) {
        self.devices += 1;
    }

    pub(super) fn added(&mut self, not_after: Timestamp, status: &Status) {
        self.add(millis(not_after), is_revoked(status), 1);
    }

    /// `not_after` is in milliseconds.
    pub(super) fn moved(&mut self, not_after: i64, from: &Status, to: &Status) {
        self.add(not_after, is_revoked(from), -1);
        self.add(not_after, is_revoked(to), 1);
    }

    fn add(&mut self, not_after: i64, revoked: bool, difference: i64) {
        let day = not_after.div_euclid(DAY);
        match self
            .certificates
            .iter_mut()
            .find(|(d, r, _)| (*d, *r) == (day, revoked))
        {
            Some((.., sum)) => *sum += difference,
            None => self.certificates.push((day, revoked, difference)),
        }
    }

    pub(super) fn store(&self, conn: &Connection) -> Result<(), Fault> {
        for (day, revoked, difference) in self
            .certificates
            .iter()
            .filter(|(.., difference)| *difference != 0)
        {
            run(
                conn,
                "INSERT INTO tally (revoked, day, n) VALUES (?1, ?2, ?3)
                 ON CONFLICT (revoked, day) DO UPDATE SET n = n + excluded.n",
                params![revoked, day, difference],
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
