//! Trying a broker's listener as everybody does who must not get in, and as one who must.
//!
//! The certificates come from the CA that devices trust, carry the reserved names of canaries and live for minutes. Nothing
//! is changed at the broker: what is published goes to a canary's own topic.

mod papers;
mod revoked;
mod topics;
mod trust;
mod weak;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde::Serialize;

pub use self::papers::Papers;
use crate::listener::{Listener, NOBODY, Seen, Session, Tls};
use crate::local::Pair;
use crate::{Clock, Error};

/// What can be tried only by who is let in.
const INSIDE: [&str; 4] = [
    "another's client id",
    "foreign topic",
    "another's user name",
    "the broker's own topics",
];

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// As whom it was tried.
    #[serde(rename = "as")]
    pub whom: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen, or why it could not be tried.
    pub words: String,
}

/// Whether a broker held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it has to be.
    Held,
    /// It lets in who must not get in, or does not let in who must.
    Wrong,
    /// It could not be tried.
    NotTried,
}

/// Whether anything is spoken here without TLS. If so, nothing else need be tried.
pub async fn without_tls(listener: &Listener) -> Result<Trial, Error> {
    const WHOM: &str = "without TLS";
    match listener.without_tls().await {
        Ok(Some(what)) => Ok(wrong(
            WHOM,
            format!(
                "it speaks {what} without TLS: nobody shows a certificate, and everybody on the way reads along"
            ),
        )),
        Ok(None) => Ok(held(WHOM, "it speaks nothing but TLS")),
        Err(why) => Err(Error::new(why.to_string())),
    }
}

/// Tries everything, in order. `revoke` has the CA revoke the one that can be; `patience` is how long the broker may then take.
pub async fn run<F: Future<Output = Result<(), Error>>>(
    listener: &Listener,
    papers: &Papers,
    revoke: impl FnOnce() -> F,
    patience: Duration,
    clock: &Clock,
) -> Result<Vec<Trial>, Error> {
    let mut try_out = Attempts {
        listener,
        papers,
        way: Way::Mqtt,
    };
    let mut all = vec![
        weak::old_versions(listener).await,
        weak::weak_ciphers(listener).await,
        trust::trusted(listener, &papers.cas).await,
        try_out.good().await?,
    ];
    let usable = all
        .iter()
        .all(|trial| trial.whom != GOOD || trial.outcome == Outcome::Held);
    all.push(try_out.nobody().await?);
    all.push(try_out.refused("wrong CA", &papers.foreign(clock)?).await);
    for (whom, certificate) in [
        ("expired", &papers.expired),
        ("not yet valid", &papers.early),
        ("wrong EKU", &papers.server),
    ] {
        all.push(try_out.refused(whom, &papers.pair(certificate)?).await);
    }
    if !usable {
        let rest = INSIDE
            .into_iter()
            .chain(["revoked", "resumed session", "WebSocket"]);
        all.extend(rest.map(|whom| not_tried(whom, "a good certificate is not let in")));
        return Ok(all);
    }
    if try_out.way == Way::WebSocket {
        let why = "not tried over WebSocket; try the broker's listener for MQTT";
        all.extend(INSIDE.map(|whom| not_tried(whom, why)));
        all.extend(try_out.revoked(revoke, patience).await?);
        return Ok(all);
    }
    all.push(try_out.client_id().await?);
    all.extend(try_out.topics().await?);
    all.push(try_out.about_the_broker().await?);
    all.extend(try_out.revoked(revoke, patience).await?);
    all.push(try_out.web_socket(clock).await?);
    Ok(all)
}

const GOOD: &str = "a good certificate";

/// What has to be spoken to get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Mqtt,
    /// The port speaks nothing else.
    WebSocket,
}

struct Attempts<'a> {
    listener: &'a Listener,
    papers: &'a Papers,
    way: Way,
}

impl Attempts<'_> {
    async fn connect(&self, shown: &Pair, tls: Tls) -> Result<Session, Seen> {
        let id = shown.leaf().common_name().unwrap_or_default();
        self.listener.connect(shown, &id, tls).await
    }

    /// Gets in and leaves; whether by resuming a TLS session.
    async fn enter(&self, config: &Arc<ClientConfig>, id: &str) -> Result<bool, Seen> {
        if self.way == Way::WebSocket {
            return self.listener.upgrade(config).await;
        }
        let session = self.listener.connect_as(config, id).await?;
        let resumed = session.resumed();
        session.leave().await;
        Ok(resumed)
    }

    async fn good(&mut self) -> Result<Trial, Error> {
        let pair = self.papers.pair(&self.papers.good)?;
        let seen = match self.connect(&pair, Tls::Best).await {
            Ok(session) => {
                session.leave().await;
                return Ok(held(GOOD, "it was let in"));
            }
            Err(Seen::Unreachable(why)) => return Err(Error::new(format!("nobody answers: {why}"))),
            Err(seen) => seen,
        };
        let config = self.listener.client(Some(&pair), Tls::Best, false)?;
        if self.listener.upgrade(&config).await.is_ok() {
            self.way = Way::WebSocket;
            return Ok(held(
                GOOD,
                "it was let in over WebSocket, all that this port speaks",
            ));
        }
        Ok(wrong(GOOD, format!("it had to be let in: {seen}")))
    }

    async fn nobody(&self) -> Result<Trial, Error> {
        let config = self.listener.client(None, Tls::Best, false)?;
        let seen = self.enter(&config, NOBODY).await;
        Ok(judged("no certificate", seen.err().unwrap_or(Seen::Accepted)))
    }

    /// With TLS 1.2 the reason is certain; a broker that speaks no 1.2 is asked in 1.3.
    async fn refused(&self, whom: &'static str, shown: &Pair) -> Trial {
        let mut seen = self.shows(shown, Tls::Only12).await;
        if seen == Seen::Alert(rustls::AlertDescription::ProtocolVersion) {
            seen = self.shows(shown, Tls::Best).await;
        }
        judged(whom, seen)
    }

    async fn shows(&self, shown: &Pair, tls: Tls) -> Seen {
        let id = shown.leaf().common_name().unwrap_or_default();
        match self.listener.client(Some(shown), tls, false) {
            Ok(config) => self.enter(&config, &id).await.err().unwrap_or(Seen::Accepted),
            Err(why) => Seen::Strange(why.0),
        }
    }

    /// Where the port speaks WebSocket, too, nobody may get in there who is refused otherwise.
    async fn web_socket(&self, clock: &Clock) -> Result<Trial, Error> {
        const WHOM: &str = "WebSocket";
        let speaks = self.upgraded(Some(&self.papers.pair(&self.papers.good)?)).await?;
        if !speaks {
            return Ok(not_tried(WHOM, "this port speaks none"));
        }
        for (words, shown) in [
            ("who shows no certificate", None),
            ("another CA's certificate", Some(self.papers.foreign(clock)?)),
            (
                "a revoked certificate",
                Some(self.papers.pair(&self.papers.revocable)?),
            ),
        ] {
            if self.upgraded(shown.as_ref()).await? {
                return Ok(wrong(WHOM, format!("{words} is let in over WebSocket")));
            }
        }
        Ok(held(WHOM, "nobody gets in there who is refused otherwise"))
    }

    async fn upgraded(&self, shown: Option<&Pair>) -> Result<bool, Error> {
        let config = self.listener.client(shown, Tls::Best, false)?;
        Ok(self.listener.upgrade(&config).await.is_ok())
    }
}

fn judged(whom: &'static str, seen: Seen) -> Trial {
    match seen {
        Seen::Accepted => wrong(whom, seen.to_string()),
        Seen::Unreachable(_) | Seen::Foreign => not_tried(whom, seen.to_string()),
        Seen::Alert(_) | Seen::Refused(_) | Seen::Closed | Seen::Strange(_) => held(whom, seen.to_string()),
    }
}

fn held(whom: &'static str, words: impl Into<String>) -> Trial {
    told(whom, Outcome::Held, words)
}

fn wrong(whom: &'static str, words: impl Into<String>) -> Trial {
    told(whom, Outcome::Wrong, words)
}

fn not_tried(whom: &'static str, words: impl Into<String>) -> Trial {
    told(whom, Outcome::NotTried, words)
}

fn told(whom: &'static str, outcome: Outcome, words: impl Into<String>) -> Trial {
    let words = words.into();
    Trial { whom, outcome, words }
}
