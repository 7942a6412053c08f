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
use crate::beside::listener::{Listener, NOBODY, Seen, Session, Tls};
use crate::pair::Pair;
use crate::{Clock, Error};

/// What can be tried only by who is let in.
const INSIDE: [&str; 4] = [
    "another's client id",
    "foreign topic",
    "another's user name",
    "the broker's own topics",
];

/// What has to have been tried before a listener can be said to hold.
const DECISIVE: [&str; 5] = [
    "no certificate",
    "wrong CA",
    "expired",
    "revoked",
    "resumed session",
];

/// How often something is tried that is not answered, and how long after another.
const TRIES: u8 = 3;
const BETWEEN: Duration = Duration::from_secs(1);

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

impl Trial {
    /// Whether a listener cannot be said to hold, since this was not tried.
    pub fn leaves_open(&self) -> bool {
        self.outcome == Outcome::NotTried && DECISIVE.contains(&self.whom)
    }
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
        speaks_12: false,
    };
    let mut all = vec![
        weak::old_versions(listener).await,
        weak::weak_ciphers(listener).await,
        trust::trusted(listener, &papers.cas).await,
    ];
    let good = try_out.good().await?;
    let usable = good.outcome == Outcome::Held;
    all.push(good);
    all.push(try_out.refused("no certificate", None).await?);
    for (whom, shown) in [
        ("wrong CA", papers.foreign(clock)?),
        ("expired", papers.pair(&papers.expired)?),
        ("not yet valid", papers.pair(&papers.early)?),
        ("wrong EKU", papers.pair(&papers.server)?),
    ] {
        all.push(try_out.refused(whom, Some(&shown)).await?);
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
    /// Whether the good certificate gets in with TLS 1.2; if not, a refusal there says nothing of a certificate.
    speaks_12: bool,
}

impl Attempts<'_> {
    async fn connect(&self, shown: &Pair, tls: Tls) -> Result<Session, Seen> {
        let id = name(Some(shown));
        patiently(|| self.listener.connect(shown, &id, tls)).await
    }

    /// Gets in and leaves; whether by resuming a TLS session.
    async fn enter(&self, config: &Arc<ClientConfig>, id: &str, way: Way) -> Result<bool, Seen> {
        if way == Way::WebSocket {
            return patiently(|| self.listener.connect_web(config, id)).await;
        }
        let session = patiently(|| self.listener.connect_as(config, id)).await?;
        let resumed = session.resumed();
        session.leave().await;
        Ok(resumed)
    }

    /// What becomes of who shows this certificate, or none.
    async fn shows(&self, shown: Option<&Pair>, tls: Tls, way: Way) -> Result<Seen, Error> {
        let config = self.listener.client(shown, tls, false)?;
        let entered = self.enter(&config, &name(shown), way).await;
        Ok(entered.err().unwrap_or(Seen::Accepted))
    }

    async fn good(&mut self) -> Result<Trial, Error> {
        let pair = self.papers.pair(&self.papers.good)?;
        let mut words = "it was let in";
        let mut seen = self.shows(Some(&pair), Tls::Best, Way::Mqtt).await?;
        // What understands no MQTT may speak it over WebSocket; who is refused there is refused.
        if matches!(seen, Seen::Closed | Seen::Strange(_) | Seen::Unreachable(_))
            && self.shows(Some(&pair), Tls::Best, Way::WebSocket).await? == Seen::Accepted
        {
            words = "it was let in over WebSocket, all that this port speaks";
            self.way = Way::WebSocket;
            seen = Seen::Accepted;
        }
        if let Seen::Unreachable(why) = seen {
            return Err(Error::new(format!("nobody answers: {why}")));
        }
        if seen != Seen::Accepted {
            return Ok(wrong(GOOD, format!("it had to be let in: {seen}")));
        }
        self.speaks_12 = self.shows(Some(&pair), Tls::Only12, self.way).await? == Seen::Accepted;
        Ok(held(GOOD, words))
    }

    /// With every version that the listener speaks: they may be judged differently, and with TLS 1.2 the reason is certain.
    async fn refused(&self, whom: &'static str, shown: Option<&Pair>) -> Result<Trial, Error> {
        let newest = judged(whom, self.shows(shown, Tls::Best, self.way).await?);
        if newest.outcome != Outcome::Held || !self.speaks_12 {
            return Ok(newest);
        }
        Ok(judged(whom, self.shows(shown, Tls::Only12, self.way).await?))
    }

    /// Where the port speaks WebSocket, too, nobody may get in there who is refused otherwise.
    async fn web_socket(&self, clock: &Clock) -> Result<Trial, Error> {
        const WHOM: &str = "WebSocket";
        let good = self.papers.pair(&self.papers.good)?;
        let seen = self.shows(Some(&good), Tls::Best, Way::WebSocket).await?;
        if let Seen::Refused(_) = seen {
            return Ok(not_tried(
                WHOM,
                format!("a good certificate gets no session: {seen}"),
            ));
        }
        if seen != Seen::Accepted {
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
            let seen = self.shows(shown.as_ref(), Tls::Best, Way::WebSocket).await?;
            let trial = judged(WHOM, seen);
            match trial.outcome {
                Outcome::Held => {}
                Outcome::Wrong => return Ok(wrong(WHOM, format!("{words} is let in over WebSocket"))),
                Outcome::NotTried => return Ok(trial),
            }
        }
        Ok(held(WHOM, "nobody gets in there who is refused otherwise"))
    }
}

/// The client id that belongs to what is shown.
fn name(shown: Option<&Pair>) -> String {
    shown.map_or_else(
        || NOBODY.to_owned(),
        |shown| shown.leaf().common_name().unwrap_or_default(),
    )
}

/// A broker that takes up new lists, or has much to do, may leave an attempt unanswered; nothing follows from one.
async fn patiently<T, F: Future<Output = Result<T, Seen>>>(attempt: impl Fn() -> F) -> Result<T, Seen> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(Seen::Unreachable(_)) => tokio::time::sleep(BETWEEN).await,
            seen => return seen,
        }
    }
    attempt().await
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
