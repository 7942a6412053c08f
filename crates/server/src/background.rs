//! What the server does by itself: CRLs, its own certificate, tidying.

use std::sync::Arc;
use std::time::Duration;

use muster_ca::Ca;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::tls::Tls;

/// How often the clock is looked at; a machine that slept notices after this long.
const LOOK: Duration = Duration::from_secs(60);
/// How often changed authorities and the listener's own certificate are looked at.
const TLS_LOOK: Duration = Duration::from_secs(5);
/// How often what is new is made findable.
const FIND: Duration = Duration::from_secs(1);
/// How often the store is tidied.
const TIDY: Duration = Duration::from_secs(3600);
/// How long after the start the audit log is walked, and how often from then on.
const VERIFY: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(86_400));
/// The first and the longest wait after a failure.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The longest pause between two lists while revocations pour in.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Turns true, or loses its sender, when the server stops.
pub(crate) type Stop = watch::Receiver<bool>;

/// Waits for the end.
pub(crate) async fn stopped(stop: &mut Stop) {
    // A lost sender means that whoever served is gone.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

/// Makes every CRL before the doors open: what was revoked just before a crash may be on none yet.
///
/// Tells at which count of revocations they were made; `None` if they were not, which is logged.
pub(crate) async fn first_crls(ca: &Ca) -> Option<u64> {
    let count = ca.revocations();
    match ca.refresh_crls().await {
        Ok(()) => Some(count),
        Err(error) => {
            tracing::error!(%error, "the CRLs could not be made; trying again");
            None
        }
    }
}

/// Makes CRLs after each revocation and daily; `made_at` as [`first_crls`] told.
///
/// Revocations that come while lists are made are in the next ones. The pause after lists that took long to make leaves
/// most of a core to requests while thousands of devices are revoked one by one.
pub(crate) async fn keep_crls(ca: Arc<Ca>, mut made_at: Option<u64>, mut stop: Stop) {
    let mut wait = BACK_OFF.0;
    while !*stop.borrow() {
        // Listening begins before the count is read, so that no revocation falls between.
        let revoked = ca.on_revocation();
        let count = ca.revocations();
        let pause = if made_at == Some(count) && ca.now() < ca.next_crl_due() {
            tokio::select! {
                () = revoked => continue,
                () = sleep(LOOK) => continue,
                () = stopped(&mut stop) => return,
            }
        } else {
            let started = Instant::now();
            match ca.refresh_crls().await {
                Ok(()) => {
                    made_at = Some(count);
                    wait = BACK_OFF.0;
                    (started.elapsed() * 2).min(LONGEST_PAUSE)
                }
                Err(error) => {
                    tracing::error!(%error, "the CRLs could not be made; trying again");
                    let pause = wait;
                    wait = (wait * 2).min(BACK_OFF.1);
                    pause
                }
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// Keeps the listener's certificate young and its trust anchors true.
pub(crate) async fn keep_tls(tls: Arc<Tls>, mut stop: Stop) {
    let mut wait = TLS_LOOK;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut stop) => return,
        }
        wait = match tls.refresh().await {
            Ok(()) => TLS_LOOK,
            Err(error) => {
                tracing::error!(%error, "the listener keeps its old certificate");
                (wait * 2).min(BACK_OFF.1)
            }
        };
    }
}

/// Deletes what has expired.
pub(crate) async fn keep_tidy(ca: Arc<Ca>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = sleep(TIDY) => {}
            () = stopped(&mut stop) => return,
        }
        if let Err(error) = ca.tidy().await {
            tracing::warn!(%error, "the store could not be tidied");
        }
    }
}

/// Makes what is new findable, about once a second, so that it costs little where certificates are issued.
pub(crate) async fn keep_findable(ca: Arc<Ca>, mut stop: Stop) {
    let mut wait = FIND;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut stop) => return,
        }
        wait = match ca.catch_up().await {
            Ok(()) => FIND,
            Err(error) => {
                tracing::warn!(%error, "searches miss what is new");
                (wait * 2).min(BACK_OFF.1)
            }
        };
    }
}

/// Looks along the certificates that run out, a few thousand a second at most, for those that nobody renews.
pub(crate) async fn keep_looking(ca: Arc<Ca>, mut stop: Stop) {
    let mut wait = FIND;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut stop) => return,
        }
        wait = match ca.walk_renewed().await {
            Ok(true) => FIND,
            Ok(false) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "what nobody renews may be told late");
                BACK_OFF.1
            }
        };
    }
}

/// Walks the audit log once a day: whoever changed it shall not wait for somebody to ask.
pub(crate) async fn keep_verified(ca: Arc<Ca>, mut stop: Stop) {
    let mut wait = VERIFY.0;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut stop) => return,
        }
        wait = VERIFY.1;
        match ca.walk_audit().await {
            Ok(verdict) => {
                if let Some(entry) = verdict.broken_at {
                    tracing::error!(
                        entry,
                        "the audit log is not what was written: its chain is broken"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "the audit log could not be verified"),
        }
    }
}
