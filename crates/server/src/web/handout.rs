//! Keys that the server made and has to hand out: in memory only, for whoever asked, for some minutes.
//!
//! What is taken out or runs out is zeroed, since a [`Bundle`](muster_pki::bundle::Bundle) holds its key so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use muster_ca::certificate::Serial;

use super::fault::Fault;
use crate::files::Handout;

/// How long a key waits for its owner.
pub(crate) const WAITS: SignedDuration = SignedDuration::from_mins(10);
/// How many keys wait for one operator, in whichever sessions; each takes some kilobytes.
const PER_OPERATOR: usize = 20;

/// What waits, by session (the SHA-256 of its secret) and serial number.
#[derive(Default, Clone)]
pub(super) struct Handouts(Arc<Mutex<HashMap<Place, Waiting>>>);

pub(super) type Place = ([u8; 32], Serial);

struct Waiting {
    operator: String,
    handout: Arc<Handout>,
    until: Timestamp,
}

impl Handouts {
    /// Whether another key may wait. Asked before a certificate is issued, so that none is issued for nothing.
    pub(super) fn room(&self, operator: &str, now: Timestamp) -> Result<(), Fault> {
        let mut waiting = self.lock();
        waiting.retain(|_, one| one.until > now);
        let mine = waiting.values().filter(|one| one.operator == operator);
        let ends: Vec<_> = mine.map(|one| one.until).collect();
        let Some(first) = ends.iter().min().filter(|_| ends.len() >= PER_OPERATOR) else {
            return Ok(());
        };
        let why = format!("{} keys that you asked for wait to be downloaded", ends.len());
        let fix = format!(
            "press \"Forget the key\" where you have downloaded one, or wait: the first is forgotten at {} UTC; for many at \
             once make enrolment tokens for a list of names",
            first.strftime("%H:%M")
        );
        Err(Fault::new(StatusCode::CONFLICT, &why).fix(&fix))
    }

    /// Keeps a key for [`WAITS`].
    pub(super) fn keep(&self, operator: String, place: Place, handout: Handout, now: Timestamp) {
        let waiting = Waiting {
            operator,
            handout: Arc::new(handout),
            until: now + WAITS,
        };
        self.lock().insert(place.clone(), waiting);
        let all = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(WAITS.as_secs().unsigned_abs())).await;
            all.lock().remove(&place);
        });
    }

    /// What waits for this session, and until when.
    pub(super) fn find(
        &self,
        session: [u8; 32],
        serial: &Serial,
        now: Timestamp,
    ) -> Option<(Arc<Handout>, Timestamp)> {
        let waiting = self.lock();
        let found = waiting.get(&(session, serial.clone()))?;
        (found.until > now).then(|| (found.handout.clone(), found.until))
    }

    /// Forgets a key.
    pub(super) fn forget(&self, session: [u8; 32], serial: &Serial) {
        self.lock().remove(&(session, serial.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
