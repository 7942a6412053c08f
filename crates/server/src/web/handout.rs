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
/// How many keys wait for one session.
const PER_SESSION: usize = 20;
/// How many keys wait at all; each takes some kilobytes.
const AT_ALL: usize = 500;

/// What waits, by session (the SHA-256 of its secret) and serial number.
#[derive(Default, Clone)]
pub(super) struct Handouts(Arc<Mutex<HashMap<Place, Waiting>>>);

type Place = ([u8; 32], Serial);

struct Waiting {
    handout: Arc<Handout>,
    until: Timestamp,
}

impl Handouts {
    /// Whether another key may wait. Asked before a certificate is issued, so that none is issued for nothing.
    pub(super) fn room(&self, session: &[u8; 32], now: Timestamp) -> Result<(), Fault> {
        let mut waiting = self.lock();
        waiting.retain(|_, one| one.until > now);
        let mine = waiting.keys().filter(|(owner, _)| owner == session).count();
        if mine < PER_SESSION && waiting.len() < AT_ALL {
            return Ok(());
        }
        let why = format!("{mine} keys that you asked for are still waiting to be downloaded");
        let fix = "download them and press \"Forget the key\", or wait ten minutes";
        Err(Fault::new(StatusCode::CONFLICT, &why).fix(fix))
    }

    /// Keeps a key for [`WAITS`].
    pub(super) fn keep(&self, session: [u8; 32], serial: Serial, handout: Handout, now: Timestamp) {
        let place = (session, serial);
        let waiting = Waiting {
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
