//! Trying a broker's listener as everybody does who must not get in, and as one who must.
//!
//! The certificates come from the CA that devices trust, carry the reserved names of canaries and live for minutes. Nothing
//! is changed at the broker: what is published goes to a canary's own topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_pki::cert::{self, Certificate, Pointers, Role, Template, Usages};
use muster_pki::key::PrivateKey;
use rustls::ClientConfig;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::listener::{Listener, Seen, Session, Tls};
use crate::local::{Pair, new_key};
use crate::{Clock, Error};

/// Between two looks at whether a revocation has come.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a message may take from one client to another.
const DELIVERY: Duration = Duration::from_millis(1500);

/// Certificates for one key, as the CA gives them to whoever tries a broker.
#[derive(Debug)]
pub struct Papers {
    /// The key of all of them.
    pub key: PrivateKey,
    /// The issuing CA.
    pub issuing: Certificate,
    /// Has to be let in.
    pub good: Certificate,
    /// Of another name; has to be let in.
    pub other: Certificate,
    /// Has ended.
    pub expired: Certificate,
    /// Has not begun.
    pub early: Certificate,
    /// Is a server's.
    pub server: Certificate,
    /// Is let in until it is revoked.
    pub revocable: Certificate,
}

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

/// Tries everything, in order. `revoke` has the CA revoke the one that can be; `patience` is how long the broker may then take.
pub async fn run<F: Future<Output = Result<(), Error>>>(
    listener: &Listener,
    papers: &Papers,
    revoke: impl FnOnce() -> F,
    patience: Duration,
    clock: &Clock,
) -> Result<Vec<Trial>, Error> {
    let try_out = Attempts { listener, papers };
    let good = try_out.good().await?;
    let usable = good.outcome == Outcome::Held;
    let mut all = vec![good, try_out.nobody().await?];
    let foreign = papers.foreign(clock)?;
    all.push(try_out.refused("wrong CA", &foreign).await);
    for (whom, certificate) in [
        ("expired", &papers.expired),
        ("not yet valid", &papers.early),
        ("wrong EKU", &papers.server),
    ] {
        all.push(try_out.refused(whom, &papers.pair(certificate)?).await);
    }
    if !usable {
        let rest = [
            "another's client id",
            "foreign topic",
            "revoked",
            "resumed session",
            "WebSocket",
        ];
        all.extend(rest.map(|whom| not_tried(whom, "a good certificate is not let in")));
        return Ok(all);
    }
    all.push(try_out.client_id().await?);
    all.push(try_out.topic().await?);
    all.extend(try_out.revoked(revoke, patience).await?);
    all.push(try_out.web_socket().await?);
    Ok(all)
}

impl Papers {
    fn pair(&self, leaf: &Certificate) -> Result<Pair, Error> {
        Ok(Pair {
            chain: vec![leaf.clone(), self.issuing.clone()],
            key: PrivateKey::from_pkcs8(Zeroizing::new(self.key.pkcs8().to_vec()))?,
        })
    }

    /// A certificate of the same name by a CA of the same name, made here for this once.
    fn foreign(&self, clock: &Clock) -> Result<Pair, Error> {
        let (ca_key, key) = (new_key()?, new_key()?);
        let now = clock();
        let hour = jiff::SignedDuration::from_hours(1);
        let name = self.issuing.common_name().unwrap_or_default();
        let made = |template: Template<'_>, issuer: Option<&cert::Issuer>| -> Result<Certificate, Error> {
            let to_be_signed = template.to_be_signed(issuer)?;
            let algorithm = ca_key.public().kind().signature_algorithm();
            let der = cert::assemble(&to_be_signed, algorithm, &ca_key.sign(&to_be_signed)?)?;
            Ok(Certificate::from_der(&der)?)
        };
        let pointers = Pointers::default();
        let template = |common_name, key, role| Template {
            serial: &[1],
            common_name,
            sans: &[],
            not_before: now - hour,
            not_after: now + hour,
            key,
            role,
            pointers: &pointers,
        };
        let ca = made(
            template(&name, ca_key.public(), Role::Authority { path_len: Some(0) }),
            None,
        )?;
        let role = Role::Leaf(Usages {
            client: true,
            server: false,
        });
        let name = self.good.common_name().unwrap_or_default();
        let leaf = made(template(&name, key.public(), role), Some(&ca.as_issuer()?))?;
        Ok(Pair {
            chain: vec![leaf, ca],
            key,
        })
    }
}

struct Attempts<'a> {
    listener: &'a Listener,
    papers: &'a Papers,
}

impl Attempts<'_> {
    async fn connect(&self, shown: &Pair, tls: Tls) -> Result<Session, Seen> {
        let id = shown.leaf().common_name().unwrap_or_default();
        self.listener.connect(shown, &id, tls).await
    }

    async fn good(&self) -> Result<Trial, Error> {
        let seen = self
            .connect(&self.papers.pair(&self.papers.good)?, Tls::Best)
            .await;
        Ok(match seen {
            Ok(session) => {
                session.leave().await;
                held("a good certificate", "it was let in")
            }
            Err(Seen::Unreachable(why)) => return Err(Error::new(format!("nobody answers: {why}"))),
            Err(seen) => wrong("a good certificate", format!("it had to be let in: {seen}")),
        })
    }

    async fn nobody(&self) -> Result<Trial, Error> {
        let config = self.listener.client(None, Tls::Best, false)?;
        let seen = self.listener.connect_as(&config, "muster-canary.nobody").await;
        Ok(judged("no certificate", seen.err().unwrap_or(Seen::Accepted)))
    }

    /// With TLS 1.2 the reason is certain; a broker that speaks no 1.2 is asked in 1.3.
    async fn refused(&self, whom: &'static str, shown: &Pair) -> Trial {
        let mut seen = self.connect(shown, Tls::Only12).await;
        if matches!(&seen, Err(Seen::Alert(rustls::AlertDescription::ProtocolVersion))) {
            seen = self.connect(shown, Tls::Best).await;
        }
        judged(whom, seen.err().unwrap_or(Seen::Accepted))
    }

    /// Somebody else asks for the client id of a session that is open.
    async fn client_id(&self) -> Result<Trial, Error> {
        const WHOM: &str = "another's client id";
        let (good, other) = self.both()?;
        let id = good.leaf().common_name().unwrap_or_default();
        let Ok(mut first) = self.connect(&good, Tls::Best).await else {
            return Ok(not_tried(WHOM, "the first session did not begin"));
        };
        let second = self.listener.connect(&other, &id, Tls::Best).await;
        let trial = match &second {
            Err(seen) => held(WHOM, seen.to_string()),
            Ok(_) if first.answers().await => held(WHOM, "the client id was taken from the certificate"),
            Ok(_) => wrong(
                WHOM,
                "it took the session over: any device can throw any other off",
            ),
        };
        if let Ok(second) = second {
            second.leave().await;
        }
        first.leave().await;
        Ok(trial)
    }

    /// Somebody reads what another publishes to its own topic.
    async fn topic(&self) -> Result<Trial, Error> {
        const WHOM: &str = "foreign topic";
        let (good, other) = self.both()?;
        let owner = other.leaf().common_name().unwrap_or_default();
        let topic = format!("fleet/{owner}/trial");
        let sessions = (
            self.connect(&good, Tls::Best).await,
            self.connect(&other, Tls::Best).await,
        );
        let (Ok(mut stranger), Ok(mut own)) = sessions else {
            return Ok(not_tried(WHOM, "a session did not begin"));
        };
        let subscribed = stranger.subscribe(&topic).await.is_ok() && own.subscribe(&topic).await.is_ok();
        let published = subscribed && own.publish(&topic).await.is_ok();
        if !published {
            return Ok(not_tried(
                WHOM,
                "the broker hung up on a subscription, as some do on what they do not allow",
            ));
        }
        let (reads, own_reads) = (stranger.receives(DELIVERY).await, own.receives(DELIVERY).await);
        stranger.leave().await;
        own.leave().await;
        Ok(match (reads, own_reads) {
            (true, _) => wrong(WHOM, format!("it reads {topic}, which is another's")),
            (false, true) => held(WHOM, "it does not read what another publishes to its own topic"),
            (false, false) => not_tried(
                WHOM,
                "here, not even its owner reads what it publishes below fleet/ and its name; try two devices of yours",
            ),
        })
    }

    fn both(&self) -> Result<(Pair, Pair), Error> {
        let papers = self.papers;
        Ok((papers.pair(&papers.good)?, papers.pair(&papers.other)?))
    }

    /// Revokes a certificate that was let in, and comes back: anew, and by resuming the TLS sessions from before.
    async fn revoked<F: Future<Output = Result<(), Error>>>(
        &self,
        revoke: impl FnOnce() -> F,
        patience: Duration,
    ) -> Result<Vec<Trial>, Error> {
        let pair = self.papers.pair(&self.papers.revocable)?;
        let id = pair.leaf().common_name().unwrap_or_default();
        let mut before: Vec<(&str, Arc<ClientConfig>)> = Vec::new();
        for (version, tls) in [("TLS 1.2", Tls::Only12), ("TLS 1.3", Tls::Best)] {
            let config = self.listener.client(Some(&pair), tls, true)?;
            if let Ok(session) = self.listener.connect_as(&config, &id).await {
                session.leave().await;
                before.push((version, config));
            }
        }
        if before.is_empty() {
            let why = "it was not let in before it was revoked";
            return Ok(["revoked", "resumed session"]
                .map(|whom| not_tried(whom, why))
                .into());
        }
        revoke().await?;
        let began = Instant::now();
        let mut seen = self.refused("revoked", &pair).await;
        while seen.outcome == Outcome::Wrong && began.elapsed() < patience {
            tokio::time::sleep(PAUSE).await;
            seen = self.refused("revoked", &pair).await;
        }
        if seen.outcome == Outcome::Wrong {
            seen.words = format!("{} s after its revocation it is still let in", patience.as_secs());
            let resumed = not_tried("resumed session", "what is revoked is let in anyway");
            return Ok(vec![seen, resumed]);
        }
        let mut resumed = held("resumed session", "it was refused as well");
        for (version, config) in before {
            if let Ok(session) = self.listener.connect_as(&config, &id).await {
                let how = if session.resumed() { "resumed" } else { "new" };
                resumed = wrong(
                    "resumed session",
                    format!("a {how} {version} session is let in after the revocation"),
                );
                session.leave().await;
            }
        }
        Ok(vec![seen, resumed])
    }

    /// Where the port speaks WebSocket, too, a revoked certificate has to be refused there as well.
    async fn web_socket(&self) -> Result<Trial, Error> {
        const WHOM: &str = "WebSocket";
        let speaks = self.upgraded(&self.papers.good).await?;
        if !speaks {
            return Ok(not_tried(WHOM, "this port speaks none"));
        }
        Ok(if self.upgraded(&self.papers.revocable).await? {
            wrong(WHOM, "a revoked certificate is let in over WebSocket")
        } else {
            held(WHOM, "a revoked certificate was refused")
        })
    }

    async fn upgraded(&self, leaf: &Certificate) -> Result<bool, Error> {
        let config = self
            .listener
            .client(Some(&self.papers.pair(leaf)?), Tls::Best, false)?;
        Ok(self.listener.upgrades(&config).await)
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
