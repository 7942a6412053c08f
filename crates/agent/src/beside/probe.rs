//! The proof that a broker enforces a set of files: canaries that must be refused, and one that must be let in.

use std::time::{Duration, Instant};

use rustls::AlertDescription;

use crate::beside::broker::Refusal;
use crate::beside::listener::{Listener, Seen, Tls};
use crate::pair::Pair;

/// How long after its signal a broker may take. A list of 100,000 entries takes Mosquitto an eighth of a second.
pub const BOUND: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(3);

/// A certificate that is tried, and whose it is.
#[derive(Debug)]
pub struct Canary {
    /// In words, such as "the canary of default-1".
    pub what: String,
    /// The certificate and its key.
    pub pair: Pair,
}

impl Canary {
    /// Its name, which is the client id, too.
    fn name(&self) -> String {
        self.pair.leaf().common_name().unwrap_or_default()
    }
}

/// What has to come out.
#[derive(Debug)]
pub struct Proof {
    /// Each has to be refused as revoked.
    pub revoked: Vec<Canary>,
    /// Each has to be refused, since its CA is trusted no more.
    pub foreign: Vec<Canary>,
    /// Each has to be let in.
    pub good: Vec<Canary>,
    /// How the broker refuses who is revoked.
    pub refusal: Refusal,
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// A revoked certificate was let in.
    Open(String),
    /// A good certificate was refused, or a revoked one for another reason.
    Shut(String),
    /// Nobody answers.
    Down(String),
}

impl Unproven {
    /// What happened.
    pub fn words(&self) -> &str {
        match self {
            Self::Open(words) | Self::Shut(words) | Self::Down(words) => words,
        }
    }
}

impl Proof {
    /// Tries until everything comes out as it has to, for as long as `bound`.
    pub async fn see(&self, listener: &Listener, bound: Duration) -> Result<(), Unproven> {
        let end = Instant::now() + bound;
        for canary in &self.revoked {
            until(end, || self.refused(listener, canary)).await?;
        }
        for canary in &self.foreign {
            until(end, || shut_out(listener, canary)).await?;
        }
        for canary in &self.good {
            until(end, || let_in(listener, canary)).await?;
        }
        Ok(())
    }

    async fn refused(&self, listener: &Listener, canary: &Canary) -> Result<(), Unproven> {
        let seen = look(listener, canary, Tls::Only12).await;
        match (&seen, self.refusal) {
            // Such a broker may not have read yet that there is another CA.
            (Seen::Alert(AlertDescription::CertificateRevoked), _)
            | (
                Seen::Refused(_) | Seen::Closed | Seen::Alert(AlertDescription::UnknownCA),
                Refusal::Session,
            ) => Ok(()),
            (Seen::Accepted, _) => Err(Unproven::Open(format!(
                "{} is revoked, and the broker lets it in",
                canary.what
            ))),
            _ => Err(not_as_expected(canary, "had to be refused as revoked", &seen)),
        }
    }
}

async fn shut_out(listener: &Listener, canary: &Canary) -> Result<(), Unproven> {
    let seen = look(listener, canary, Tls::Only12).await;
    if seen == Seen::Accepted {
        return Err(Unproven::Open(format!(
            "the CA of {} is trusted no more, and the broker lets it in",
            canary.what
        )));
    }
    let refused = [AlertDescription::CertificateRevoked, AlertDescription::UnknownCA].map(Seen::Alert);
    if refused.contains(&seen) || matches!(seen, Seen::Refused(_)) {
        return Ok(());
    }
    Err(not_as_expected(canary, "had to be refused", &seen))
}

async fn let_in(listener: &Listener, canary: &Canary) -> Result<(), Unproven> {
    let seen = look(listener, canary, Tls::Best).await;
    if seen == Seen::Accepted {
        return Ok(());
    }
    Err(not_as_expected(canary, "had to be let in", &seen))
}

async fn look(listener: &Listener, canary: &Canary, tls: Tls) -> Seen {
    match listener.connect(&canary.pair, &canary.name(), tls).await {
        Ok(session) => {
            session.leave().await;
            Seen::Accepted
        }
        Err(seen) => seen,
    }
}

fn not_as_expected(canary: &Canary, expected: &str, seen: &Seen) -> Unproven {
    let words = format!("{} {expected}: {seen}", canary.what);
    match seen {
        Seen::Unreachable(_) => Unproven::Down(words),
        Seen::Accepted
        | Seen::Alert(_)
        | Seen::Refused(_)
        | Seen::Closed
        | Seen::Foreign
        | Seen::Strange(_) => Unproven::Shut(words),
    }
}

/// Tries again until it works or the time is over.
async fn until<F: Future<Output = Result<(), Unproven>>>(
    end: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<(), Unproven> {
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() >= end => return Err(why),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
