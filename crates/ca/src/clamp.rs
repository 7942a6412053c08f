//! The alarm that an issuing CA ends and cuts certificates short.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::Ca;
use crate::enrol::Issued;
use crate::ports::Change;
use crate::setup::own_act;
use crate::state::file_stem;

/// So long one alarm is enough, however many certificates are cut short.
const QUIET: SignedDuration = SignedDuration::from_hours(24);

/// When each issuing CA was last told of.
#[derive(Default)]
pub(crate) struct ClampAlarms(Mutex<HashMap<(String, u32), Timestamp>>);

impl ClampAlarms {
    /// Whether it is time to tell, and that it was told now.
    fn is_due(&self, issuer: (String, u32), now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back tells once more rather than never.
        let recently = told
            .get(&issuer)
            .is_some_and(|at| now.duration_since(*at).abs() < QUIET);
        if !recently {
            told.insert(issuer, now);
        }
        !recently
    }

    fn forget(&self, issuer: &(String, u32)) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(issuer);
    }
}

impl Ca {
    /// Records once a day, and after each start, that an issuing CA ends before what it issues. Called with what was
    /// handed out, so a failure here costs nobody a certificate.
    pub(crate) async fn tell_if_clamped(&self, issued: &Issued) {
        if !issued.clamped() {
            return;
        }
        let now = self.clock.now();
        let certificate = issued.certificate();
        let issuer = (certificate.authority.clone(), certificate.generation);
        if !self.clamps.is_due(issuer.clone(), now) {
            return;
        }
        let subject = file_stem(&issuer.0, issuer.1);
        let end = certificate.not_after;
        tracing::warn!(issuer = subject, %end, "the issuing CA ends and cuts certificates short: roll over");
        let mut act = own_act(now, "authority.ending", &subject);
        let fix = "make the next issuing CA with: muster ca rollover start";
        act.detail = serde_json::json!({ "ends": end.to_string(), "fix": fix }).to_string();
        let writes = Vec::new();
        if let Err(why) = self.store.commit(Change { writes, act }).await {
            tracing::warn!(%why, "that an issuing CA ends could not be recorded");
            self.clamps.forget(&issuer);
        }
    }
}
