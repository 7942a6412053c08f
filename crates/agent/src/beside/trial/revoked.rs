//! Who was let in and is revoked: comes back anew, and by resuming the TLS sessions from before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::{Attempts, Outcome, Trial, held, judged, not_tried, wrong};
use crate::Error;
use crate::beside::listener::Tls;

/// Between two looks at whether a revocation has come.
const PAUSE: Duration = Duration::from_millis(100);
const WHOM: &str = "revoked";
const RESUMED: &str = "resumed session";

impl Attempts<'_> {
    pub(super) async fn revoked<F: Future<Output = Result<(), Error>>>(
        &self,
        revoke: impl FnOnce() -> F,
        patience: Duration,
    ) -> Result<Vec<Trial>, Error> {
        let pair = self.papers.pair(&self.papers.revocable)?;
        let id = pair.leaf().common_name().unwrap_or_default();
        let mut before: Vec<(&str, Arc<ClientConfig>)> = Vec::new();
        for (version, tls) in [("TLS 1.2", Tls::Only12), ("TLS 1.3", Tls::Best)] {
            let config = self.listener.client(Some(&pair), tls, true)?;
            if self.enter(&config, &id, self.way).await.is_ok() {
                before.push((version, config));
            }
        }
        if before.is_empty() {
            let why = "it was not let in before it was revoked";
            return Ok([WHOM, RESUMED].map(|whom| not_tried(whom, why)).into());
        }
        revoke().await?;
        let began = Instant::now();
        let mut seen = self.refused(WHOM, Some(&pair)).await?;
        while seen.outcome != Outcome::Held && began.elapsed() < patience {
            tokio::time::sleep(PAUSE).await;
            seen = self.refused(WHOM, Some(&pair)).await?;
        }
        if seen.outcome == Outcome::Wrong {
            seen.words = format!("{} s after its revocation it is still let in", patience.as_secs());
            let resumed = not_tried(RESUMED, "what is revoked is let in anyway");
            return Ok(vec![seen, resumed]);
        }
        let mut resumed = held(RESUMED, "it was refused as well");
        for (version, config) in before {
            match self
                .enter(&config, &id, self.way)
                .await
                .map_err(|why| judged(RESUMED, why))
            {
                Ok(earlier) => {
                    let how = if earlier { "resumed" } else { "new" };
                    let words = format!("a {how} {version} session is let in after the revocation");
                    return Ok(vec![seen, wrong(RESUMED, words)]);
                }
                Err(trial) if trial.outcome == Outcome::NotTried => resumed = trial,
                Err(_) => {}
            }
        }
        Ok(vec![seen, resumed])
    }
}
